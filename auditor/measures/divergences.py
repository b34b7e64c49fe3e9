"""This module measures the divergences of Q from P, modality by modality, with their tests: in memory, and as
files that a worker leaves for whoever asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.divergences import joint_entropy, joint_rows, rjsd, rjsd_joint, von_neumann_entropy
from auditor.divergences.joint import EXACT_ROWS, joint_features, sketched
from auditor.errors import AuditError
from auditor.estimators.dependence import ReferenceScores
from auditor.measures.pairing import Sides, aligned
from auditor.profiles.profile import Profile, having
from auditor.significance import drift_test, holm
from auditor.significance.jackknife import Left
from auditor.significance.resampling import ReferenceRows
from auditor.sketch import Float
from auditor.sketch.blocks import deleted_together
from auditor.storage.run_dir import write_bytes
from schemas.report import Divergence


class Measured(NamedTuple):
    """This value is a divergence, and why it or a part of it is missing."""

    divergence: Divergence | None
    reason: str | None
    left: Left | None = None
    """RJSD of the row samples with each group of hash blocks left out, where rows suffice."""


@dataclass(frozen=True, eq=False)
class ReferenceFit:
    """This fit is what divergences need of P alone: fitted once, it serves every Q that P is compared
    with."""

    rows: Mapping[str, ReferenceRows]
    """image, text, response -> the sampled rows that have it; joint -> the sketched pairs of image and text,
    where they are so many that they are sketched whatever they are compared with"""
    entropies: Mapping[str, float]
    """The same -> S(C_P) of all rows (nats)"""
    joint: float | None
    """`joint_entropy` of the sampled rows that have an image and a text, while they are few enough"""

    @classmethod
    def fit(cls, p: Profile) -> ReferenceFit:
        """Fit P's sample and sketches: a few spectra a modality, and of its pairs."""
        masks = {name: having(p.sample, name) for name in ("image", "text", "response") if p.sketches[name].n}
        joint = None
        rows: dict[str, NDArray[np.floating[Any]]] = {
            name: p.sample.rows[name][has] for name, has in masks.items() if has.any()
        }
        if "image" in rows and "text" in rows:
            mask = masks["image"] & masks["text"]
            pairs = p.sample.rows["image"][mask], p.sample.rows["text"][mask]
            if 0 < mask.sum() < EXACT_ROWS:
                joint = joint_entropy(*pairs)
            if (sketched := _pairs(p)) is not None:
                rows["joint"], masks["joint"] = sketched, mask
        groups = {name: deleted_together(p.sample.groups[masks[name]]) for name in rows}
        return cls(
            {name: ReferenceRows.fit(of_name, groups[name]) for name, of_name in rows.items()},
            {name: von_neumann_entropy(p.sketches[name]) for name in masks if name != "joint"},
            joint,
        )

    @cached_property
    def scores(self) -> dict[tuple[str, int], ReferenceScores]:
        """Return what tests of how pairs go together keep of P, by their names and by what queries are made
        of: made when first asked for."""
        return {}

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz (never pickle), without P's rows."""
        return {
            **{f"entropy.{name}": np.array(value) for name, value in self.entropies.items()},
            **({} if self.joint is None else {"joint": np.array(self.joint)}),
            **{
                f"rows.{name}.{key}": a
                for name, reference in self.rows.items()
                for key, a in reference.to_arrays().items()
            },
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], p: Profile) -> ReferenceFit:
        """Read what `to_arrays` gave, with the P that it was fitted on. ValueError or KeyError where it
        cannot have been."""

        def under(prefix: str) -> dict[str, NDArray[Any]]:
            return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}

        rows = {}
        for name in dict.fromkeys(key.split(".")[0] for key in under("rows.")):
            vectors = _pairs(p) if name == "joint" else p.sample.rows[name][having(p.sample, name)]
            if vectors is None:
                raise ValueError("not the reference of these rows: their pairs are too few to be sketched")
            rows[name] = ReferenceRows.from_arrays(under(f"rows.{name}."), vectors)
        entropies = {name: float(a) for name, a in under("entropy.").items()}
        joint = float(arrays["joint"]) if "joint" in arrays else None
        if not np.isfinite([*entropies.values(), 0.0 if joint is None else joint]).all():
            raise ValueError("not a reference: an entropy is not finite")
        return cls(rows, entropies, joint)


JOINT_SEED = 0
"""The seed of the sketch of pairs: one for everything that is compared with P."""


def _pairs(p: Profile) -> Float | None:
    """Return (n, r) `joint_rows` of P's sampled rows that have an image and a text, where they are sketched
    whatever they are compared with."""
    mask = having(p.sample, "image", "text")
    v, t = p.sample.rows["image"][mask], p.sample.rows["text"][mask]
    return joint_features(v, t, JOINT_SEED) if sketched(v, t, int(mask.sum())) else None


def divergence(
    p: Profile, q: Profile, modality: str, *, seed: int, level: float, reference: ReferenceFit | None = None
) -> Measured:
    """Measure the distance of Q from P in one modality (image, text, joint or response), and why a part of it
    is missing.

    `value` is of all rows (from the sketches); null, excess, corrected and p-value are of the row samples.
    `reference`: what was fitted on P before; the numbers are the same to 1e-9.
    """
    names = ("image", "text") if modality == "joint" else (modality,)
    for name in names:
        if name not in p.sample.rows or name not in q.sample.rows:
            return Measured(None, f"no row has {article(name)}")
        if min(p.sketches[name].n, q.sketches[name].n) == 0:
            return Measured(None, f"no row has {article(name)}")
    sides = aligned(p.sample, q.sample)
    of_sides = sides.rows(*names)
    rows_p, rows_q = of_sides.p, of_sides.q
    if min(len(rows_p[0]), len(rows_q[0])) == 0:
        return Measured(None, f"no row has {' and '.join(map(article, names))}")
    one_p: NDArray[np.floating[Any]] = rows_p[0]
    one_q: NDArray[np.floating[Any]] = rows_q[0]
    # Where Q is a perturbed copy of P, only the rows that have a partner are compared.
    fitted = None if reference is None or sides.related else reference.rows.get(modality)
    if modality == "joint" and fitted is None:
        one_p, one_q = joint_rows(*rows_p, *rows_q, seed=JOINT_SEED)
    elif modality == "joint":
        one_q = joint_features(rows_q[0], rows_q[1], JOINT_SEED)
    test = drift_test(
        one_p if fitted is None else fitted,
        one_q,
        seed=seed,
        paired=sides.paired,
        level=level,
        blocks_p=of_sides.blocks_p,
        blocks_q=of_sides.blocks_q,
        groups_p=of_sides.groups_p,
        groups_q=of_sides.groups_q,
        shared=of_sides.shared,
    )
    value = test.value
    if modality != "joint" and (len(one_p), len(one_q)) != (p.sketches[modality].n, q.sketches[modality].n):
        entropy_p = None if reference is None else reference.entropies.get(modality)
        value = rjsd(p.sketches[modality], q.sketches[modality], entropy_p=entropy_p)
    return Measured(
        Divergence(
            value=value,
            excess=test.excess,
            null_mean=test.null_mean,
            null_std=test.null_std,
            corrected=test.corrected,
            interval=test.interval,
            mmd2=test.mmd2,
            p_value=test.p_value,
            n_id=len(one_p),
            n=len(one_q),
            paired=sides.paired,
            n_copies=len(one_q) if sides.paired else test.copies,
        ),
        test.reason,
        test.left,
    )


@dataclass(frozen=True)
class Divergences:
    """This value holds, by modality, what was found, why it or a part of it is missing, and RJSD without each
    group of rows."""

    found: dict[str, Divergence] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    left: dict[str, Left | None] = field(default_factory=dict)

    def __or__(self, other: Divergences) -> Divergences:
        """Return the divergences of the modalities of both."""
        return Divergences(self.found | other.found, self.missing | other.missing, self.left | other.left)


def article(name: str) -> str:
    return f"an {name}" if name == "image" else f"a {name}"


def input_divergence(
    p: Profile, q: Profile, *, seed: int, reference: ReferenceFit | None = None
) -> float | None:
    """Measure D_X (nats): the divergence of image and text together, over sampled rows that have both, or of
    the only one there.

    `reference`: what was fitted on P before; it changes no bit.
    """
    present = [
        name
        for name in ("image", "text")
        if name in p.sample.rows and name in q.sample.rows and min(p.sketches[name].n, q.sketches[name].n)
    ]
    if len(present) < 2:
        if not present:
            return None
        name = present[0]
        entropy_p = None if reference is None else reference.entropies.get(name)
        return rjsd(p.sketches[name], q.sketches[name], entropy_p=entropy_p)
    everything = np.arange(len(p.sample)), np.arange(len(q.sample))
    pairs = Sides(p.sample, q.sample, *everything, paired=False).rows(*present)
    rows_p, rows_q = pairs.p, pairs.q
    if min(len(rows_p[0]), len(rows_q[0])) == 0:
        return None
    entropy_p = None if reference is None else reference.joint
    return rjsd_joint(*rows_p, *rows_q, seed=seed, entropy_p=entropy_p)


def check_comparable(p: Profile, q: Profile) -> None:
    """Raise `AuditError` where two sets were made by encoders of other dimensions."""
    for name, sketch_p in p.sketches.items():
        sketch_q = q.sketches[name]
        if sketch_p.dim and sketch_q.dim and sketch_p.dim != sketch_q.dim:
            raise AuditError(
                f"{name}: rows of {sketch_q.dim} numbers cannot be compared with rows of {sketch_p.dim}"
            )


def adjust(divergences: Sequence[Divergence | None]) -> list[Divergence | None]:
    """Apply Holm's adjustment over one family of tests; those without a p-value stay as they are."""
    tested = [d for d in divergences if d is not None and d.p_value is not None]
    adjusted = iter(holm([d.p_value for d in tested if d.p_value is not None]))
    return [
        d.model_copy(update={"p_adjusted": next(adjusted)}) if d is not None and d.p_value is not None else d
        for d in divergences
    ]


# As files.

FORMAT = 3
"""The format of the file and of its intervals: a file of another format is measured anew."""


def write_measured(path: Path, measured: Measured) -> None:
    """Write a measured divergence whole (JSON; floats come back as they were)."""
    left = measured.left
    tree = {
        "divergence": None if measured.divergence is None else measured.divergence.model_dump(),
        "reason": measured.reason,
        "left": None
        if left is None
        else {
            "value": left.value,
            "without": [[*key, value] for key, value in left.without.items()],
            "quadratic": left.quadratic,
        },
    }
    write_bytes(path, json.dumps(tree).encode())


def read_measured(path: Path) -> Measured:
    """Read what `write_measured` wrote. Raises `AuditError` where the file is none."""
    try:
        tree = json.loads(path.read_bytes())
        measured, left = tree["divergence"], tree["left"]
        return Measured(
            None if measured is None else Divergence.model_validate(measured),
            tree["reason"],
            None
            if left is None
            else Left(
                left["value"],
                {(side, group): value for side, group, value in left["without"]},
                left["quadratic"],
            ),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AuditError(f"{path}: not readable ({error}); delete it and run again") from error
