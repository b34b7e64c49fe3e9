"""What came for a scenario or a window, what of it was used, and what is missing beside the reference rows.

Each share (rows left out, repeats, rows with an image, a query, an answer, a correct answer, answers that
refuse, queries of a script) is tested against that of the reference, and so is the commonest image, query and
answer; all tests of a group of rows are one family (Holm).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from auditor.measures.contents import KEPT, NAMES, Contents, contents, counted, groups_by_mark
from auditor.measures.shares import Counted, more_test, share_test
from auditor.profiles.profile import Profile
from auditor.profiles.rows import SCRIPT
from auditor.significance import holm
from schemas.record import Quarantined, Reason
from schemas.report import Census, Finding

LEFT_OUT, REPEATS = "left_out", "repeats"
EXPECTED = 5
"""Rows with an answer that the reference's share would give, from which on it says something to have none."""
MOST, MORE = 0.5, 0.25
"""One and the same content is remarked where it stands in this share of those of its kind, and in this much
more than in the reference."""
_HAVE = {
    "image": "have an image",
    "query": "have a query",
    "answer": "have an answer",
    "reference": "have a correct answer",
}
_OF = {"image": "images", "query": "queries", "answer": "answers"}


@dataclass(frozen=True)
class Came:
    """This is what came for one group of rows."""

    where: str
    """Name of the window or scenario."""
    phrase: str
    """The same in a sentence: "On 2025-06-02", "In blur-5"."""
    used: int
    contents: Contents = field(default_factory=Contents)
    set_aside: Sequence[Quarantined] = ()
    """Its quarantined rows and single answers."""

    @property
    def left_out(self) -> dict[str, int]:
        """Return reason -> rows that could not be used, but for repeats."""
        counts = Counter(row.reason for row in self.set_aside if not row.model)
        del counts[Reason.DUPLICATE_ID]
        return {reason.value: counts[reason] for reason in Reason if counts[reason]}

    @property
    def repeats(self) -> int:
        return sum(row.reason is Reason.DUPLICATE_ID and not row.model for row in self.set_aside)

    @property
    def rows_in(self) -> int:
        return self.used + sum(self.left_out.values()) + self.repeats

    def census(self) -> Census:
        """Return the counts as reports have them."""
        lost = Counter(row.reason for row in self.set_aside if row.model)
        having = self.contents.having
        return Census(
            rows_in=self.rows_in,
            used=self.used,
            left_out=self.left_out,
            repeats=self.repeats,
            lost_answers={reason.value: lost[reason] for reason in Reason if lost[reason]},
            answered=having.get("answer"),
            with_image=having.get("image"),
            with_query=having.get("query"),
            with_reference=having.get("reference"),
            refused=having.get("refusal"),
            scripts={k.removeprefix(SCRIPT): n for k, n in having.items() if k.startswith(SCRIPT)},
            distinct={name: commonest.distinct for name, commonest in self.contents.commonest.items()},
        )


@dataclass(frozen=True)
class Standard:
    """This is what the reference rows hold, which others are held against."""

    name: str
    """What sentences call them."""
    contents: Contents
    marks: Mapping[str, Mapping[str, int]]
    """KEPT -> mark -> groups of the sampled rows that have it."""
    left_out: Counted | None = None
    """Of the rows that came, but for repeats; None where that is not known."""
    repeats: Counted | None = None
    windows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What each of its windows holds: see `window_counts`; empty where it is not cut as the others are."""

    @classmethod
    def of(
        cls,
        name: str,
        profile: Profile,
        left_out: Counted | None = None,
        repeats: Counted | None = None,
        windows: Mapping[str, Mapping[str, int]] | None = None,
    ) -> Standard:
        """Make the standard of the reference rows of a profile."""
        marks = {kind: groups_by_mark(profile, kind) for kind in KEPT}
        return cls(name, contents(profile), marks, left_out, repeats, windows or {})

    def windows_with(self, name: str) -> list[Counted]:
        """Return how many rows have something, window by window."""
        of = _base_name(name)
        return [Counted(w.get(name, 0), w.get(of, 0)) for w in self.windows.values()]


@dataclass(frozen=True)
class Rules:
    """By these rules it is judged what is missing."""

    level: float
    """The level of the tests of one group of rows together."""
    max_left_out: float
    least_rows: int = 0
    """Rows that a verdict needs."""
    scripts: bool = True
    """Whether another script of the queries is remarked."""
    labelled: bool = True
    """Whether rows are expected to have correct answers, as those of the reference have."""


Kind = Literal["left_out", "repeats", "share", "constant"]


class _Test(NamedTuple):
    p_value: float
    kind: Kind
    sentence: str
    status: Literal["warn", "fail"] = "warn"


def findings(came: Came, standard: Standard, rules: Rules) -> list[Finding]:
    """Return what is missing or spoilt: what is plain by itself first, then what the tests say."""
    if came.rows_in and not came.used:
        return [_nothing_usable(came)]
    found: list[Finding] = []
    if sum(came.left_out.values()) > rules.max_left_out * (came.rows_in - came.repeats):
        allowed = f", more than the {_percent(rules.max_left_out)} of thresholds.max_left_out"
        said = _left_out(came, standard, allowed)
        found.append(Finding(where=came.where, kind="left_out", status="fail", because=said))
    if (unanswered := _unanswered(came, standard)) is not None:
        found.append(unanswered)
    plain = {finding.kind for finding in found}
    tests = [
        *(_lost(came, standard) if "left_out" not in plain else ()),
        *_shares(came, standard, rules, answers="nothing" not in plain),
        *_commonest(came, standard),
    ]
    adjusted = holm([test.p_value for test in tests]) if tests else []
    for test, p in zip(tests, adjusted, strict=True):
        if p <= rules.level:
            said = f"{test.sentence} (p={p:.2g})"
            found.append(Finding(where=came.where, kind=test.kind, status=test.status, because=said))
    return found


def _nothing_usable(came: Came) -> Finding:
    if not came.left_out:
        said = f"{came.phrase} all {_rows(came.repeats)} are repeats of rows before them"
        return Finding(where=came.where, kind="repeats", status="warn", because=said)
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in came.left_out.items())
    said = f"{came.phrase} nothing was usable: {_rows(came.rows_in)} came ({reasons})"
    return Finding(where=came.where, kind="left_out", status="fail", because=said)


def _left_out(came: Came, standard: Standard, allowed: str = "") -> str:
    """Say how many rows were left out, and why, and of how many that is `allowed`."""
    lost, new = sum(came.left_out.values()), came.rows_in - came.repeats
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in came.left_out.items())
    beside = allowed
    if standard.left_out is not None:
        beside += f"; {_percent(standard.left_out.share)} in {standard.name}"
    return (
        f"{came.phrase} {lost:,} of {_rows(new)} ({_percent(lost / new)}) were left out ({reasons}){beside}"
    )


def _unanswered(came: Came, standard: Standard) -> Finding | None:
    """Return the finding that no row has an answer, where those of the reference have some."""
    usual, rows = standard.contents.share("answer"), came.contents.rows
    if usual is None or came.contents.having.get("answer") != 0 or usual * rows < EXPECTED:
        return None
    said = f"{came.phrase} none of {_rows(rows)} has an answer; {_percent(usual)} in {standard.name}"
    return Finding(where=came.where, kind="nothing", status="fail", because=said)


def _lost(came: Came, standard: Standard) -> Iterator[_Test]:
    """Yield the tests of the rows that were left out, and of repeats. These rows are taken to tell as much as
    others."""
    told = _plain(came.contents)
    if standard.left_out is not None:
        q = Counted(sum(came.left_out.values()), came.rows_in - came.repeats, told)
        p = share_test(standard.left_out, q, standard.windows_with(LEFT_OUT))
        if p is not None and q.share > standard.left_out.share:
            yield _Test(p, "left_out", _left_out(came, standard))
    if standard.repeats is not None:
        q = Counted(came.repeats, came.rows_in, told)
        p = share_test(standard.repeats, q, standard.windows_with(REPEATS))
        if p is not None and q.share > standard.repeats.share:
            said = f"{came.phrase} {q.k:,} of {_rows(q.n)} are repeats of rows before them"
            yield _Test(p, "repeats", f"{said}; {_percent(standard.repeats.share)} in {standard.name}")


def _shares(came: Came, standard: Standard, rules: Rules, answers: bool) -> Iterator[_Test]:
    """Yield the tests of what rows have; of `answers` where it is not said yet that there are none."""
    p, q = standard.contents, came.contents
    scripts = {name for name in (*p.having, *q.having) if name.startswith(SCRIPT)} if rules.scripts else set()
    left = {*(() if answers else ("answer", "refusal")), *(() if rules.labelled else ("reference",))}
    for name in [*NAMES, "refusal", *sorted(scripts)]:
        written = name in scripts
        if name in left or not (written or (name in p.having and name in q.having)):
            continue
        of_p, of_q = (
            Counted(side.having.get(name, 0), side.base(name), side.independent.get(name, _plain(side)))
            for side in (p, q)
        )
        value = share_test(of_p, of_q, standard.windows_with(name))
        if value is None:
            continue
        counts, percent = f"{of_q.k:,} of {of_q.n:,}", _percent(of_q.share)
        if written:
            said = f"{counts} queries ({percent}) are in {_script(name)} script"
        elif name == "refusal":
            said = f"{counts} answers ({percent}) refuse"
        else:
            said = f"{counts} rows ({percent}) {_HAVE[name]}"
        yield _Test(value, "share", f"{came.phrase} {said}; {_percent(of_p.share)} in {standard.name}")


def _commonest(came: Came, standard: Standard) -> Iterator[_Test]:
    """Yield the tests of the commonest contents. Each is the largest of many, and its p-value that of one
    content times their number (Bonferroni)."""
    for name in KEPT:
        q, p = came.contents.commonest.get(name), standard.contents.commonest.get(name)
        if q is None or p is None:
            continue
        of_q = Counted(q.groups, q.of)
        of_p = Counted(standard.marks[name].get(q.mark, 0), p.of)
        usual = Counted(p.groups, p.of).share
        if of_q.share < MOST or of_q.share < usual + MORE:
            continue
        value = min(1.0, more_test(of_p, of_q) * (q.distinct + p.distinct))
        said = (
            f"all {_OF[name]} are one and the same"
            if q.distinct == 1
            else f"one and the same stands for {_percent(of_q.share)} of the {_OF[name]}"
        )
        beside = f"the commonest has {_percent(usual)} in {standard.name}"
        status: Literal["warn", "fail"] = "fail" if q.distinct == 1 else "warn"
        yield _Test(value, "constant", f"{came.phrase} {said}; {beside}", status)


def _plain(side: Contents) -> float:
    return side.independent.get("rows", 1.0)


def _base_name(name: str) -> str:
    if name in (LEFT_OUT, REPEATS):
        return "new" if name == LEFT_OUT else "rows_in"
    if name == "refusal":
        return "answer"
    return "query" if name.startswith(SCRIPT) else "rows"


def window_counts(facts: Mapping[str, int], set_aside: Sequence[Quarantined]) -> dict[str, int]:
    """Return what a window of the reference holds (see `Standard.windows`), from its plain facts and the rows
    that were set aside before these were taken."""
    rows = facts.get("n", 0)
    came = Came("", "", rows, set_aside=set_aside)
    return {
        "rows": rows,
        "rows_in": came.rows_in,
        "new": came.rows_in - came.repeats,
        LEFT_OUT: sum(came.left_out.values()),
        REPEATS: came.repeats,
        **counted(facts),
    }


def _script(name: str) -> str:
    plain = name.removeprefix(SCRIPT)
    return "Han" if plain == "cjk" else plain.capitalize()


def _rows(n: int) -> str:
    return f"{n:,} row" if n == 1 else f"{n:,} rows"


def _percent(share: float) -> str:
    """Return a share in percent: whole ones, but never 0% of some nor 100% of less than all."""
    if 0 < share < 0.01 or 0.99 < share < 1:
        return f"{share:.2%}"
    return f"{share:.0%}"
