"""This module says what profiles tell of EMID where nobody labelled Q: the methods of `auditor.risk`, and the
choice of the one that is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.estimators.crossfit import CrossFitted
from auditor.measures.pairing import apart
from auditor.profiles.profile import Profile, having
from auditor.risk import (
    Ceiling,
    Support,
    choose_method,
    identified_interval,
    measure_overlap,
    reweighted_emid,
)
from auditor.risk.identified import Codebooks, learn_codebooks
from auditor.risk.inputs import Inputs
from auditor.risk.overlap import LEAST_ROWS_P
from auditor.sketch import RowSample, as_rows
from auditor.sketch.blocks import hash_blocks
from schemas.report import LabelFree

Rows = NDArray[np.floating[Any]]
NO_DENSITY = (
    "The critics compare pairs of rows, so they give no reweighted estimate (those of critic.estimator club "
    "and gaussian do)."
)


class Unlabelled(NamedTuple):
    """These are sampled rows of P with their references, and of Q without."""

    inputs: Inputs
    blocks: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Hash blocks of P's and Q's groups."""
    groups: tuple[NDArray[np.str_], NDArray[np.str_]]
    """Which of P's rows, and of Q's, belong together."""
    parts: Mapping[str, tuple[Rows, Rows]]
    """Image and text rows of P and Q, of each modality that all of these rows have."""
    whole: bool
    """Whether P's rows are all that it has (not where Q is a perturbed copy of P: see `pairing.apart`)."""


@dataclass(frozen=True, eq=False)
class LabelledReference:
    """This fit is what label-free risk needs of P alone: fitted once, it serves every Q that P is compared
    with."""

    supports: Mapping[str, Support]
    """x, image, text -> of P's labelled rows, where all of these have it"""
    codebooks: Codebooks

    @classmethod
    def fit(cls, p: Profile, seed: int) -> LabelledReference | None:
        """Fit P's sampled rows that have a query, a response and a reference, O(n² d); None where they are
        too few, or in too few groups. `seed` is that of the codebooks, so that cells mean the same for every
        Q."""
        names = ("x", "response", "reference")
        if any(name not in p.sample.rows for name in names):
            return None
        mask = having(p.sample, *names)
        x, response, reference = (p.sample.rows[name][mask] for name in names)
        if len(x) < LEAST_ROWS_P:
            return None
        try:
            supports = {
                name: Support.fit(p.sample.rows[name][mask], p.sample.groups[mask])
                for name in ("x", "image", "text")
                if name == "x" or _all_have(p.sample, mask, name)
            }
        except ValueError:
            return None
        return cls(supports, learn_codebooks(x, reference, response, seed))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, for npz (never pickle), without P's rows."""
        return {
            "codebook.x": self.codebooks[0],
            "codebook.y": self.codebooks[1],
            **{
                f"support.{name}.{key}": a
                for name, support in self.supports.items()
                for key, a in support.to_arrays().items()
            },
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], p: Profile) -> LabelledReference:
        """Read what `to_arrays` gave, with the P that it was fitted on. ValueError or KeyError where it
        cannot have been."""
        mask = having(p.sample, "x", "response", "reference")
        names = {key.split(".")[1] for key in arrays if key.startswith("support.")}

        def under(name: str) -> dict[str, NDArray[Any]]:
            prefix = f"support.{name}."
            return {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)}

        supports = {
            name: Support.from_arrays(under(name), p.sample.rows[name][mask]) for name in sorted(names)
        }
        x, y = (as_rows(arrays[f"codebook.{name}"], f"codebook.{name}") for name in ("x", "y"))
        return cls(supports, (x.astype(np.float32), y.astype(np.float32)))


def unlabelled(p: Profile, q: Profile) -> Unlabelled | str:
    """Return the rows that label-free risk is made of, or why there are none."""
    for side, sample in (("in-distribution", p.sample), ("new", q.sample)):
        if "x" not in sample.rows or "response" not in sample.rows:
            return f"no {side} row has a query and a response"
    half_p, half_q = apart(p.sample, q.sample)
    of_p = having(p.sample, "x", "response", "reference") & half_p
    of_q = having(q.sample, "x", "response") & half_q
    if not of_p.any():
        return "no in-distribution row has a query, a response and a reference"
    if not of_q.any():
        return "no new row has a query and a response"
    if p.sample.rows["x"].shape[1] != q.sample.rows["x"].shape[1]:
        return "one side lacks a modality that the other has"
    return Unlabelled(
        Inputs(
            p.sample.rows["x"][of_p],
            p.sample.rows["reference"][of_p],
            p.sample.rows["response"][of_p],
            q.sample.rows["x"][of_q],
            q.sample.rows["response"][of_q],
        ),
        (hash_blocks(p.sample.groups[of_p]), hash_blocks(q.sample.groups[of_q])),
        (p.sample.groups[of_p], q.sample.groups[of_q]),
        {
            name: (p.sample.rows[name][of_p], q.sample.rows[name][of_q])
            for name in ("image", "text")
            if _all_have(p.sample, of_p, name) and _all_have(q.sample, of_q, name)
        },
        bool(half_p.all()),
    )


def label_free(
    p: Profile,
    q: Profile,
    critics: Sequence[CrossFitted],
    *,
    bound: Ceiling | None,
    seed: int,
    level: float,
    reference: LabelledReference | None = None,
) -> tuple[LabelFree | None, str | None]:
    """Return EMID of Q without its labels (nats) by the method that is reported, or why there is none.

    The references of Q are not used. `bound`: the report's own `sound_label_free`, for where no estimate is
    reported. `reference`: what was fitted on P before; its codebooks are used instead of those of `seed`.
    The reweighted estimate is the mean over the critics, as EMID is.
    """
    rows = unlabelled(p, q)
    if isinstance(rows, str):
        return None, rows
    fitted = reference.supports if reference is not None and rows.whole else {}
    codebooks = None if reference is None else reference.codebooks
    try:
        coverage = measure_overlap(fitted.get("x", rows.inputs.x_p), rows.inputs.x_q, seed, *rows.groups)
        parts = {
            name: measure_overlap(fitted.get(name, p_rows), q_rows, seed, *rows.groups)
            for name, (p_rows, q_rows) in rows.parts.items()
        }
    except ValueError as error:
        return None, str(error)
    choice = choose_method(coverage, bound, parts)
    gaussian = [critic for critic in critics if critic.gaussian]
    no_density = choice.method == "reweighted" and len(critics) > 0 and not gaussian
    notes = [choice.reason]
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    if choice.method == "reweighted" and gaussian:
        emids = [
            reweighted_emid(
                critic, *rows.inputs, seed, *rows.groups, level=level, overlap=coverage, blocks=rows.blocks
            )
            for critic in gaussian
        ]
        estimate, low, high = (
            float(np.mean([getattr(emid, name) for emid in emids])) for name in ("value", "low", "high")
        )
    elif choice.method in ("reweighted", "identified"):
        interval = identified_interval(*rows.inputs, codebooks, level, seed, *rows.groups, overlap=coverage)
        estimate, low, high = interval.estimate, interval.low, interval.high
        notes.append(f"It is of inputs on {interval.k_x} cells and answers on {interval.k_y}.")
    elif bound is not None and choice.method == "sound":
        high = bound.value
    if no_density:
        notes.append(NO_DENSITY)
    method = "identified" if choice.method == "reweighted" and not gaussian else choice.method
    return LabelFree(
        voice=method,
        estimate=estimate,
        low=low,
        high=high,
        outside=coverage.outside,
        overlap=coverage.overlap,
        moved=coverage.moved,
        effective=coverage.effective,
        auc=coverage.auc,
        reason=" ".join(notes),
    ), None


def _all_have(sample: RowSample, mask: NDArray[np.bool_], name: str) -> bool:
    return name in sample.rows and bool(having(sample, name)[mask].all())
