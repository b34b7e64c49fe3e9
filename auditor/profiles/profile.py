"""A profile is the one mergeable value that is kept of a group of rows under one model.

A group is a scenario, a window of traffic or a baseline. Its profile holds sums (sketches, critics' sums,
norms), the row sample, the sample of answers, plain facts, graded scores, and the quarantined rows. `merge`
is addition: work over many workers, windows over time, baselines and resumed runs are all merges. Everything
that a report says of the group is a function of its profile. One file format serves them all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.errors import AuditError, BadInput
from auditor.estimators.registry import read_sums
from auditor.profiles.answer_sample import AnswerSample
from auditor.profiles.rows import joined
from auditor.protocols import Sums
from auditor.sketch import Float, RowSample, Sketch
from auditor.sketch.blocks import HASH_BLOCKS, hash64
from auditor.sketch.merge_tree import tree_merge
from auditor.storage.npz import opened, write_arrays
from schemas.record import Quarantined, Reason

FORMAT = 2
"""Version of the file format of profiles."""
INPUTS = "inputs"
"""Folder, beside profiles, of what several of them share (see `write_profile`)."""
OF_INPUTS = ("sample.rows.image", "sample.rows.text", "sketch.image.", "sketch.text.", "sketch.x.")
"""Arrays that are of images and queries, and so the same whichever model answered."""
SMALL_BYTES = 512
"""Arrays of fewer bytes are written as often as they occur."""
CONTENTS = ("image", "text", "response", "reference")
"""Contents of a row; the order of the columns `has` and `norm` of a row sample."""
SKETCHED = ("image", "text", "x", "response", "reference")
PAIRS = ("model", "emi_model", "emi_reference")
"""Sums kept per critic: of (x, answer) over every answered row, and of (x, answer) and (x, reference) over
the rows that have both, so that EMI compares the two over the same inputs."""

_SET_ASIDE = ("source", "row", "reason", "detail", "record_id", "scenario", "model")
"""What is kept of a quarantined row: it lies in its group, and so needs no moment to be placed by."""

Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")


class GroupKey(NamedTuple):
    """This key says which rows a profile is of."""

    scenario: str
    """Name of the scenario or window."""
    model: str
    """Whose answers; empty: nobody's."""


@dataclass(frozen=True, eq=False)
class Norms:
    """The norms are sums over the lengths that vectors had before they were normalised, a column a
    content."""

    n: Float
    """(4,)"""
    sums: Float
    """(4,) Σ‖v‖"""
    squares: Float
    """(4,) Σ‖v‖²"""

    @classmethod
    def empty(cls) -> Norms:
        """Return the neutral element."""
        return cls(*(np.zeros(len(CONTENTS)) for _ in range(3)))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, ArrayLike]) -> Norms:
        """Read norms from their arrays by name. Raises KeyError or ValueError where they are missing, or are
        no such sums."""
        got = {name: np.asarray(arrays[name], dtype=np.float64) for name in ("n", "sums", "squares")}
        for name, values in got.items():
            if values.shape != (len(CONTENTS),) or not np.isfinite(values).all() or values.min() < 0:
                raise ValueError(f"{name}: not {len(CONTENTS)} finite numbers of at least 0")
        return cls(**got)

    def merge(self, other: Norms) -> Norms:
        return Norms(self.n + other.n, self.sums + other.sums, self.squares + other.squares)

    def descriptors(self) -> dict[str, float | None]:
        """Return the mean and standard deviation of each content's norms; None where no row has it."""
        out: dict[str, float | None] = {}
        for i, name in enumerate(CONTENTS):
            n = self.n[i]
            mean = float(self.sums[i] / n) if n else None
            out[f"{name}_norm"] = mean
            out[f"{name}_norm_std"] = (
                None if mean is None else float(np.sqrt(max(self.squares[i] / n - mean**2, 0.0)))
            )
        return out


@dataclass(frozen=True, eq=False)
class Profile:
    """A profile is everything kept of a group of rows under one model. O(d²) memory, whatever the number of
    rows is."""

    moments: Mapping[str, Sketch] = field(default_factory=dict)
    """SKETCHED -> sums over the usable rows that have it, where there are more rows than the sample holds.
    Until then the sample is all of them, and `sketches` are made of it when they are asked for."""
    critic_sums: Mapping[str, tuple[Sums, ...]] = field(default_factory=dict)
    """PAIRS -> sums over the hash blocks, one a critic"""
    norms: Norms = field(default_factory=Norms.empty)
    sample: RowSample = field(default_factory=RowSample.empty)
    """Its rows: SKETCHED -> (m, d), zeros where a row has none; `has` (m, 4) of 0 and 1; `norm` (m, 4);
    `chars` (m, 2) of answer and reference, where they are known"""
    answers: AnswerSample | None = None
    """The sampled answers that entropies are taken from; None: none are kept."""
    facts: Mapping[str, int] = field(default_factory=dict)
    """Sums of plain facts (see `rows.descriptors`) over all rows, usable or not."""
    scores: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """Scores of the graded answers (a mean alone does not tell how well it is known)."""
    score_groups: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    """`group_marks` of their records: answers of one group are not independent of each other."""
    set_aside: tuple[Quarantined, ...] = ()
    """The quarantined rows and single answers."""
    again: tuple[int, ...] = ()
    """Rows, counted within the group, that failed for a reason that may have gone in the next run."""
    units: int = 1
    """Units of work that it is of."""
    made_with: str = ""
    """The digest of the encoders and critics that it was made with; empty where that is not known."""

    @classmethod
    def empty(cls) -> Profile:
        """Return the neutral element: of no rows."""
        return cls(units=0)

    @property
    def n(self) -> int:
        """Return the number of usable rows."""
        return self.sample.seen

    @cached_property
    def sketches(self) -> Mapping[str, Sketch]:
        """Return SKETCHED -> the sketch of the usable rows that have it; empty where no row is usable. Of a
        whole sample they are taken in its order, so that their bits do not depend on how the work was cut."""
        if not self.n or not self.sample.complete:
            return self.moments
        return {name: sketch_of(self.sample, name) for name in SKETCHED}

    def __repr__(self) -> str:
        rows = zip(CONTENTS, self.norms.n, strict=True)
        having = ", ".join(f"{name} {round(n):,}" for name, n in rows if self.n)
        quarantined = f"; {len(self.set_aside):,} set aside" if self.set_aside else ""
        return f"<Profile of {self.n:,} rows{f' ({having})' if having else ''}{quarantined}>"

    def merge(self, other: Profile) -> Profile:
        """Return the profile of both groups of rows.

        Raises `BadInput` where they were made with other encoders, critics or sample sizes.
        """
        try:
            return self._merge(other)
        except ValueError as error:
            raise BadInput(
                f"profiles can be merged where they were made with one baseline and one row_sample: {error}"
            ) from error

    def _merge(self, other: Profile) -> Profile:
        filled = self if self.n or not other.n else other
        if not self.n or not other.n:
            moments, sums, norms, sample = filled.moments, filled.critic_sums, filled.norms, filled.sample
        else:
            if self.made_with and other.made_with and self.made_with != other.made_with:
                raise ValueError("these have other encoders or critics")
            if {p: len(c) for p, c in self.critic_sums.items()} != {
                p: len(c) for p, c in other.critic_sums.items()
            }:
                raise ValueError("these have other numbers of critics")
            norms, sample = self.norms.merge(other.norms), self.sample.merge(other.sample)
            moments = {}
            if not sample.complete:
                moments = {name: sketch.merge(other.sketches[name]) for name, sketch in self.sketches.items()}
            sums = {
                pair: tuple(a.merge(b) for a, b in zip(critics, other.critic_sums[pair], strict=True))
                for pair, critics in self.critic_sums.items()
            }
        answers = other.answers if self.answers is None else self.answers
        if self.answers is not None and other.answers is not None:
            answers = self.answers.merge(other.answers)
        return Profile(
            moments,
            sums,
            norms,
            sample,
            answers,
            {n: self.facts.get(n, 0) + other.facts.get(n, 0) for n in {**self.facts, **other.facts}},
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.score_groups, other.score_groups]),
            (*self.set_aside, *other.set_aside),
            (*self.again, *other.again),
            self.units + other.units,
            filled.made_with or other.made_with,
        )

    def save(self, path: str | Path) -> None:
        """Write the profile whole (npz). See `write_profile`."""
        write_profile(Path(path), self)

    @classmethod
    def load(cls, path: str | Path) -> Profile:
        """Read what `save` wrote. See `read_profile`."""
        return read_profile(Path(path))

    def to_arrays(self) -> Arrays:
        """Return plain arrays, for npz (never pickle); what is no array as JSON in `profile`."""
        head = {
            "format": FORMAT,
            "facts": dict(self.facts),
            "set_aside": [{name: getattr(row, name) for name in _SET_ASIDE} for row in self.set_aside],
            "again": self.again,
            "units": self.units,
            "critics": len(next(iter(self.critic_sums.values()), ())),
            "rows": self.n,
            "made_with": self.made_with,
        }
        parts: list[tuple[str, Mapping[str, ArrayLike]]] = []
        if self.n:
            parts = [
                *((f"sketch.{name}.", sketch.to_arrays()) for name, sketch in self.moments.items()),
                *(
                    (f"critic.{pair}.{i}.", sums.to_arrays())
                    for pair, critics in self.critic_sums.items()
                    for i, sums in enumerate(critics)
                ),
                ("norms.", {"n": self.norms.n, "sums": self.norms.sums, "squares": self.norms.squares}),
                ("sample.", {n: a for n, a in self.sample.to_arrays().items() if n != "rows.x"}),
            ]
        if self.answers is not None:
            parts.append(("answers.", self.answers.to_arrays()))
        arrays: Arrays = {prefix + name: np.asarray(a) for prefix, part in parts for name, a in part.items()}
        arrays, head["same"] = _share_equal(arrays)
        header = np.frombuffer(json.dumps(head).encode(), np.uint8)
        return {"profile": header, "scores": self.scores, "score_groups": self.score_groups, **arrays}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Profile:
        """Read what `to_arrays` gave. Raises ValueError, KeyError or TypeError, which name what is wrong,
        where arrays are missing, do not fit together, or hold numbers that are not finite."""
        head = _head(arrays["profile"])
        arrays = {**arrays, **{str(name): arrays[first] for name, first in head["same"].items()}}

        def part(name: str, make: Callable[[Arrays], T]) -> T:
            fields = {k.removeprefix(name): a for k, a in arrays.items() if k.startswith(name)}
            try:
                return make(fields)
            except KeyError as error:
                raise KeyError(f"{name}{error.args[0]}") from error
            except (ValueError, TypeError, OverflowError) as error:
                raise ValueError(f"{name.removesuffix('.')}: {error}") from error

        scores = np.asarray(arrays["scores"], dtype=np.float64)
        if scores.ndim != 1 or not np.isfinite(scores).all():
            raise ValueError("scores: not a list of finite numbers")
        groups = np.asarray(arrays["score_groups"], dtype=np.uint64)
        if groups.shape != scores.shape:
            raise ValueError(f"score_groups: {groups.shape} of {len(scores)} scores")
        answered = any(name.startswith("answers.") for name in arrays)
        profile = cls(
            answers=part("answers.", AnswerSample.from_arrays) if answered else None,
            facts={str(name): _count(value, f"facts.{name}") for name, value in dict(head["facts"]).items()},
            scores=scores,
            score_groups=groups,
            set_aside=tuple(map(_quarantined, head["set_aside"])),
            again=tuple(_count(row, "again") for row in head["again"]),
            units=_count(head["units"], "units"),
            made_with=str(head.get("made_with", "")),
        )
        if not _count(head["rows"], "rows"):
            return profile
        critics = range(_count(head["critics"], "critics"))
        if len(critics) > len(arrays):
            raise ValueError(f"critics: {len(critics)} are more than there are sums of")
        sample = part("sample.", RowSample.from_arrays)
        _check_sample(sample, head["rows"])
        sample = replace(sample, rows={**sample.rows, "x": _join_inputs(sample)})
        moments = {}
        if not sample.complete:
            moments = {name: part(f"sketch.{name}.", Sketch.from_arrays) for name in SKETCHED}
        whole = replace(
            profile,
            moments=moments,
            critic_sums={
                pair: tuple(part(f"critic.{pair}.{i}.", read_sums) for i in critics) for pair in PAIRS
            },
            norms=part("norms.", Norms.from_arrays),
            sample=sample,
        )
        _check(whole, head["rows"])
        return whole


def group_marks(groups: Iterable[str]) -> NDArray[np.uint64]:
    """Return (n,) 64-bit hashes that stand for the names of groups, since names take more memory."""
    return np.array([hash64(group, b"score") for group in groups], dtype=np.uint64)


def _head(array: NDArray[Any]) -> dict[str, Any]:
    head = json.loads(np.asarray(array, dtype=np.uint8).tobytes())
    version = head.get("format") if isinstance(head, dict) else None
    if version != FORMAT:
        raise ValueError(f"it has format {version} of profiles, this program reads format {FORMAT}")
    return dict(head)


def _quarantined(row: Any) -> Quarantined:
    quarantined = Quarantined(**{**row, "reason": Reason(row["reason"])})
    _count(quarantined.row, "set_aside.row")
    texts = (
        quarantined.source,
        quarantined.detail,
        quarantined.record_id or "",
        quarantined.scenario,
        quarantined.model,
    )
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("set_aside: names are no texts")
    return quarantined


def _count(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{name}: {str(value)[:40]} is no count")
    return value


def _share_equal(arrays: Arrays) -> tuple[Arrays, dict[str, str]]:
    """Return the arrays without those that are equal to another one, and which one that is: critics share the
    sums of the answers, and where every answered row is labelled two of three pairs are the same."""
    kept: Arrays = {}
    same: dict[str, str] = {}
    first: dict[str, str] = {}
    for name, array in arrays.items():
        if array.nbytes < SMALL_BYTES or array.dtype.hasobject:
            kept[name] = array
            continue
        mark = _content_digest(array)
        if mark in first:
            same[name] = first[mark]
        else:
            first[mark], kept[name] = name, array
    return kept, same


def _check_sample(sample: RowSample, rows: int) -> None:
    """Raise ValueError where a row sample is not one of so many rows."""
    if sample.seen != rows or not sample.whole:
        raise ValueError(f"sample: {len(sample)} of {sample.seen} rows do not fit {rows} usable rows")
    for name in ("has", "norm"):
        if name not in sample.rows or sample.rows[name].shape != (len(sample), len(CONTENTS)):
            raise ValueError(f"sample.rows.{name}: missing, or of another shape")
    unknown = set(sample.rows) - {*CONTENTS, "has", "norm", "chars"}
    if unknown:
        raise ValueError(f"sample.rows.{min(unknown)}: no content of a row")
    if "chars" in sample.rows and sample.rows["chars"].shape[1] != 2:
        raise ValueError("sample.rows.chars: not two columns")
    for i, name in enumerate(CONTENTS):
        if name not in sample.rows and sample.rows["has"][:, i].any():
            raise ValueError(f"sample.rows.{name}: missing, though rows have it")


def _check(profile: Profile, rows: int) -> None:
    """Raise ValueError where the parts do not fit together."""
    sample, norms = profile.sample, profile.norms
    if norms.n.max() > rows:
        raise ValueError(f"norms: of more than {rows} rows")
    for name, sketch in profile.moments.items():
        if sketch.n > rows:
            raise ValueError(f"sketch.{name}: {sketch.n} rows are more than the {rows} usable ones")
        dim = sample.rows[name].shape[1] if name in sample.rows else 0
        if dim != sketch.dim:
            raise ValueError(f"sample.rows.{name}: {dim} dimensions, sketch.{name} has {sketch.dim}")
    for pair, critics in profile.critic_sums.items():
        for sums in critics:
            if len(sums.n) != HASH_BLOCKS or sums.n.min() < 0 or sums.n.sum() > rows + 0.5:
                raise ValueError(f"critic.{pair}: sums of other blocks, or of more than {rows} rows")


def _join_inputs(sample: RowSample) -> NDArray[np.float32]:
    """Return (m, d_x) the queries of a sample, which its file leaves out: they are made of the images and
    texts."""
    none = np.zeros((len(sample), 0), np.float32)
    image, text = sample.rows.get("image", none), sample.rows.get("text", none)
    has = sample.rows["has"] > 0
    return joined(image, text, has[:, 0], has[:, 1])


def sketch_of(sample: RowSample, name: str) -> Sketch:
    """Return the sketch of the sampled rows that have a content (or, of x, an image or a text)."""
    if name not in sample.rows or not sample.rows[name].shape[1]:
        return Sketch.empty(0)
    return Sketch.from_rows(sample.rows[name][having(sample, name)])


def write_profile(path: Path, profile: Profile, *, inputs_apart: bool = False) -> None:
    """Write a profile whole (npz). `inputs_apart`: what is of images and queries goes to files of its own in
    `INPUTS` beside it, named by their content, so that the profiles of several models share them."""
    arrays, compressed = profile.to_arrays(), profile.sample.complete
    if inputs_apart:
        folder, apart = path.parent / INPUTS, {}
        for name in [name for name in arrays if name.startswith(OF_INPUTS)]:
            if arrays[name].nbytes < SMALL_BYTES:
                continue
            array = arrays.pop(name)
            apart[name] = _content_digest(array)
            file = folder / f"{apart[name]}.npz"
            if not file.exists():
                folder.mkdir(exist_ok=True)
                write_arrays(file, {"array": array}, compressed=compressed)
        head = json.loads(arrays["profile"].tobytes()) | {"apart": apart}
        arrays["profile"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    write_arrays(path, arrays, compressed=compressed)


def read_profile(path: Path) -> Profile:
    """Read what `write_profile` wrote. Raises `AuditError`, with the file and what is wrong in it, where the
    file is none, is damaged, or is of another format."""
    with opened(path) as file:
        arrays = dict(file)
        for name, content in _input_files(_head(arrays["profile"])).items():
            with opened(path.parent / INPUTS / f"{content}.npz", delete=str(path.parent)) as part:
                arrays[name] = part["array"]
            if _content_digest(arrays[name]) != content:
                raise ValueError(f"{name}: not what the file of its name should hold")
        return Profile.from_arrays(arrays)


def sweep_inputs(folder: Path) -> None:
    """Delete what `inputs_apart` has written for profiles of this folder that are no longer there."""
    unused = set((folder / INPUTS).glob("*.npz"))
    if not unused:
        return
    for path in folder.glob("*.npz"):
        with opened(path) as file:
            unused -= {
                folder / INPUTS / f"{content}.npz"
                for content in _input_files(_head(file["profile"])).values()
            }
    for path in unused:
        path.unlink(missing_ok=True)


def _input_files(head: Mapping[str, Any]) -> dict[str, str]:
    """Return array -> the content that names its file."""
    contents = dict(head.get("apart", {}))
    for name, content in contents.items():
        if not (name.startswith(OF_INPUTS) and re.fullmatch("[0-9a-f]{32}", str(content))):
            raise ValueError(f"apart: {str(name)[:40]} is nothing that lies in a file of its own")
    return contents


def _content_digest(array: NDArray[Any]) -> str:
    """Return the digest of an array: its type, shape and numbers."""
    state = blake2b(f"{array.dtype.str} {array.shape}".encode(), digest_size=16)
    state.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def failed_rows(path: Path) -> tuple[int, ...]:
    """Read `Profile.again` of a file, without the rest of it. Raises as `read_profile`."""
    with opened(path) as file:
        return tuple(_count(row, "again") for row in _head(file["profile"])["again"])


def read_facts(path: Path) -> dict[str, int]:
    """Read `Profile.facts` of a file, without the rest of it. Raises as `read_profile`."""
    with opened(path) as file:
        facts = _head(file["profile"])["facts"]
        return {str(name): _count(value, f"facts.{name}") for name, value in facts.items()}


def profile_mark(path: Path) -> str:
    """Return the digest of what the file says of its rows but for sums over them: facts, quarantined rows,
    which rows failed. A file keeps its name where rows that failed are done anew; it does not keep this.
    Raises as `read_profile`."""
    with opened(path) as file:
        return blake2b(np.asarray(file["profile"]).tobytes(), digest_size=16).hexdigest()


def folded(paths: Iterable[Path]) -> Profile:
    """Merge the files' profiles in this order (in another the last bits differ). Raises `AuditError` where
    they cannot be read, or were not made alike."""
    paths = list(paths)
    try:
        total = tree_merge((profile.units, profile) for profile in map(read_profile, paths))
    except BadInput as error:
        raise AuditError(f"{paths[0].parent}: profiles do not fit together ({error}); delete it") from error
    return Profile.empty() if total is None else total


def having(sample: RowSample, *names: str) -> NDArray[np.bool_]:
    """Return (m,) which sampled rows have every one of `names`: contents, or x, the query (an image or a
    text)."""
    has = {name: sample.rows["has"][:, i] > 0 for i, name in enumerate(CONTENTS)}
    has["x"] = has["image"] | has["text"]
    return np.asarray(np.logical_and.reduce([has[name] for name in names]))
