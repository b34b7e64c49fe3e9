"""This module chooses the grader of a run: the one that the config names, or by what the records hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from auditor.graders.grading import grader_name
from auditor.graders.registry import make_grader
from auditor.protocols import Grader
from auditor.records import read_run_columns
from auditor.registry import Settings, read_settings
from schemas.config import GraderConfig
from schemas.record import TRUTH_TAG
from schemas.report import Graded

SHORT_WORDS = 3
SHORT_CHARS = 24
"""References are short where their median has at most so many words and characters: then a whole match says
whether an answer is right."""
WAY_OUT = "give the records a `score`, or set `grader:`"
_LAB_TAG = "question:"


@dataclass(frozen=True)
class Choice:
    """A choice is the grader of a run."""

    config: GraderConfig
    """The grader by name; never `auto`."""
    why_none: str | None = None
    """Why nothing is graded, where nothing is."""

    def make(self) -> Grader:
        """Make the grader. Raises `BadInput` as `make_grader`."""
        return make_grader(self.config)

    def graded(self) -> Graded | None:
        """Return what reports say of the grader; None where nothing is graded."""
        if self.why_none is not None:
            return None
        grader = self.make()
        return Graded(name=grader_name(grader), identity=grader.identity, meaning=grader.meaning)

    def missing(self) -> str:
        """Return why there is no accuracy of rows that have no score, and the way out."""
        reason = self.why_none or f"no answer could be graded ({self.make().meaning})"
        return f"{reason}: {WAY_OUT}"


def check_named(config: GraderConfig) -> None:
    """Raise `BadInput` for an unknown grader or setting, before any work is done."""
    if config.name == "auto":
        read_settings(Settings, config.settings(), "grader auto")  # it takes none
    else:
        make_grader(config)


def choose(config: GraderConfig, records: Iterable[Path], models: Collection[str]) -> Choice:
    """Choose the grader of the answers of `models` to the records in these files of a run.

    `auto` takes the records' own scores where any record has one of these models; else the lab's grader where
    any has its truth in its tags; else `normalised` where references are short (SHORT_WORDS, SHORT_CHARS);
    else none. One pass over three columns.

    Raises:
        BadInput: an unknown grader or setting.
    """
    check_named(config)
    if config.name != "auto":
        return Choice(config, "`grader` is none" if config.name == "none" else None)
    contents = _scan(records, frozenset(models))
    if contents.scores:
        return Choice(GraderConfig(name="recorded"))
    if contents.lab:
        return Choice(GraderConfig(name="lab"))
    if not contents.words:
        return Choice(GraderConfig(name="none"), "no record has a score or a reference")
    typical = _median(contents.words)
    if typical <= SHORT_WORDS and _median(contents.chars) <= SHORT_CHARS:
        return Choice(GraderConfig(name="normalised"))
    return Choice(
        GraderConfig(name="none"),
        f"no record has a score, and references are long (median {typical} words), so that a whole match "
        "would say little",
    )


@dataclass
class _Contents:
    """These counts say what records hold that a grader can use."""

    scores: bool = False
    lab: bool = False
    words: Counter[int] = field(default_factory=Counter)
    """How many references have so many words."""
    chars: Counter[int] = field(default_factory=Counter)


def _scan(records: Iterable[Path], models: Collection[str]) -> _Contents:
    contents = _Contents()
    for path in records:
        for batch in read_run_columns(path, ["reference", "tags", "scores"]):
            if any(model in models for pairs in batch["scores"].to_pylist() for model, _ in pairs or ()):
                contents.scores = True
                return contents
            contents.lab = contents.lab or any(map(_of_lab, batch["tags"].to_pylist()))
            for reference in batch["reference"].to_pylist():
                if reference is not None:
                    contents.words[len(reference.split())] += 1
                    contents.chars[len(reference)] += 1
    return contents


def _of_lab(tags: list[str] | None) -> bool:
    """Return whether tags hold the lab's question and its right answer."""
    return bool(tags) and all(any(tag.startswith(p) for tag in tags or ()) for p in (_LAB_TAG, TRUTH_TAG))


def _median(counts: Counter[int]) -> int:
    """Return the lower median of what was counted."""
    seen, half = 0, (counts.total() + 1) // 2
    for value in sorted(counts):
        seen += counts[value]
        if seen >= half:
            return value
    raise ValueError("nothing was counted")
