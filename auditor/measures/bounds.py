"""This module computes every bound on EMID over the terms that are known, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from auditor.bounds import NULL_CENTRED, bound_terms, emid_bound, missing_terms
from auditor.bounds.entropies import ON_CELLS, choose
from auditor.bounds.formulas import JS_TERMS
from auditor.measures.answers import AnswerTerms, Grouped
from auditor.measures.divergences import Divergences
from auditor.measures.pairing import aligned
from auditor.profiles.profile import Profile
from auditor.risk import Ceiling
from auditor.significance.jackknife import Left, Shares, moments, profile_interval
from auditor.sketch.blocks import deleted_together, group_shares
from schemas.report import Bound, Divergence, Interval

FORMS = (
    "scaled",
    "partial",
    "theorem_4_5",
    "theorem_4_5_split",
    "joint",
    "measured",
    "sound",
    "sound_label_free",
)


def bounds(
    divergences: Mapping[str, Divergence],
    d_x: float | None,
    answers: AnswerTerms,
    groups: Groups | None = None,
    conditional: Mapping[str, float] | None = None,
) -> tuple[dict[str, Bound], dict[str, str]]:
    """Compute every form of bound over the terms that are there, and say why a term is missing. With `groups`
    also intervals, from the jackknife of all estimates in a form together; Ĥ and (B) are held fixed.

    After them the null-centred forms: of divergences less what chance alone gives, without an interval. With
    `conditional` (terms of Theorem 4.6, see `auditor.measures.conditional`) that bound, too, without an
    interval."""
    inputs = {
        "d_v": divergences["image"].value if "image" in divergences else None,
        "d_t": divergences["text"].value if "text" in divergences else None,
        "d_x": d_x,
        **(conditional or {}),
    }
    by_form, missing, no_interval = {}, {}, []
    for form in FORMS if conditional is None else (*FORMS, "theorem_4_6"):
        entropies = choose(form, answers.known)
        if entropies.reason is not None:
            by_form[form] = Bound(value=None, terms=[], complete=False, entropy_source=entropies.source)
            missing[f"bounds.{form}.value"] = entropies.reason
            continue
        on_cells = form in ON_CELLS
        of_answers = {
            "delta_p": answers.p.cells if on_cells else answers.p.delta,
            "delta_q": answers.q.cells if on_cells else answers.q.delta,
            "h_model_p": answers.p.varying,
            "h_model_q": answers.q.varying,
        }
        values: dict[str, float | None] = {
            **inputs,
            **{
                name: None if statistic is None else statistic.value for name, statistic in of_answers.items()
            },
            **entropies.terms,
        }
        absent = missing_terms(form, values)
        named = dict.fromkeys((*bound_terms(form), *entropies.terms))
        terms = {name: value for name in named if (value := values.get(name)) is not None}
        try:
            value = _within_range(form, terms, incomplete=bool(absent))
        except ValueError:
            by_form[form] = Bound(value=None, terms=[], complete=False)
            missing[f"bounds.{form}.value"] = f"none of its terms is known ({', '.join(absent)})"
            continue
        interval = None
        if groups is not None and form != "theorem_4_6":
            varying = {name: left for name, left in groups.terms(of_answers).items() if name in terms}
            known = {name: left for name, left in varying.items() if left is not None}
            if len(known) < len(varying):
                no_interval.append(form)
            else:
                interval = groups.interval(form, terms, known)
        by_form[form] = Bound(
            value=value,
            terms=list(terms),
            complete=not absent,
            entropy=entropies.entropy,
            entropy_source=entropies.source,
            interval=interval,
        )
        if absent:
            missing[f"bounds.{form}"] = f"incomplete: without {', '.join(absent)}"
    by_form |= _null_centred(by_form, excesses(divergences), answers)
    if no_interval:
        missing["bounds.interval"] = f"too few rows for an interval of {', '.join(no_interval)}"
    return by_form, missing


def _within_range(form: str, terms: Mapping[str, float], suffix: str = "", *, incomplete: bool) -> float:
    """Return the bound, and of answers on K cells 2 log K where it is above: no EMID of these is larger."""
    value = emid_bound(form + suffix, **terms, incomplete=incomplete)  # type: ignore[arg-type]
    return min(value, 2 * log(terms["symbols"])) if form in ON_CELLS else value


def excesses(divergences: Mapping[str, Divergence]) -> dict[str, float | None]:
    """Return the divergences of the inputs less what chance alone gives; where only one modality is there,
    that of the inputs together is its own."""
    d_v, d_t, d_x = (divergences[m].excess if m in divergences else None for m in ("image", "text", "joint"))
    both = "image" in divergences and "text" in divergences
    return {"d_v": d_v, "d_t": d_t, "d_x": d_x if both else d_v if "image" in divergences else d_t}


def _null_centred(
    by_form: Mapping[str, Bound], inputs: Mapping[str, float | None], answers: AnswerTerms
) -> dict[str, Bound]:
    """Return the null-centred form of each bound that could be computed and whose divergences all have an
    excess."""
    out = {}
    for form, bound in by_form.items():
        on_cells = form in ON_CELLS
        gaps = {
            "delta_p": answers.p.cells if on_cells else answers.p.delta,
            "delta_q": answers.q.cells if on_cells else answers.q.delta,
        }
        known = {**inputs, **{name: None if gap is None else gap.excess for name, gap in gaps.items()}}
        plain = {
            **choose(form, answers.known).terms,
            "h_model_p": None if answers.p.varying is None else answers.p.varying.value,
            "h_model_q": None if answers.q.varying is None else answers.q.varying.value,
        }
        terms = {name: known.get(name, plain.get(name)) for name in bound.terms}
        if bound.value is None or any(value is None for value in terms.values()):
            continue
        value = _within_range(form, terms, NULL_CENTRED, incomplete=not bound.complete)  # type: ignore[arg-type]
        out[form + NULL_CENTRED] = bound.model_copy(update={"value": value, "interval": None})
    return out


@dataclass(frozen=True)
class Groups:
    """Intervals of bounds are made of these: groups of records, and the inputs' divergences without each."""

    shares: Shares
    inputs: Mapping[str, Left | None]
    """d_v, d_t, d_x; None where rows are too few"""
    level: float

    def terms(self, of_answers: Mapping[str, Grouped | None]) -> dict[str, Left | None]:
        """Return every estimate in a bound; those of the answers vary with the rows of their own side."""
        terms = dict(self.inputs)
        for name, statistic in of_answers.items():
            if statistic is None or statistic.without is None:
                terms[name] = None
                continue
            sides = ("both", name[-1])
            terms[name] = Left(
                statistic.value,
                {(s, g): statistic.without.get(g, statistic.value) for s, g in self.shares if s in sides},
            )
        return terms

    def interval(self, form: str, terms: Mapping[str, float], varying: Mapping[str, Left]) -> Interval | None:
        """Return the interval of the bound over `terms`, of which those of `varying` are estimates; the
        others are held fixed."""
        names = list(varying)

        def bound(values: NDArray[np.float64]) -> float:
            varied = dict(zip(names, values.tolist(), strict=True))
            kept = {
                **terms,
                **{name: min(value, log(2)) if name in JS_TERMS else value for name, value in varied.items()},
            }
            return _within_range(form, kept, incomplete=True)

        try:
            return profile_interval(bound, moments(list(varying.values()), self.shares), self.level)
        except ValueError:  # rows of too few records
            return None


def grouped(p: Profile, q: Profile, divergences: Divergences, level: float) -> Groups:
    """Return the groups of sampled rows, and of `divergences` those of the inputs (image, text, joint)."""
    sides = aligned(p.sample, q.sample)
    groups_p = deleted_together(p.sample.groups[sides.at_p])
    groups_q = deleted_together(sides.groups_q)
    v, t = (divergences.left.get(name) for name in ("image", "text"))
    has_joint = "image" in divergences.found and "text" in divergences.found
    return Groups(
        group_shares(groups_p, groups_q, sides.related),
        {"d_v": v, "d_t": t, "d_x": divergences.left.get("joint") if has_joint else v or t},
        level,
    )


def ceiling(by_form: Mapping[str, Bound], answers: AnswerTerms) -> Ceiling | None:
    """Return `sound_label_free` as the report has it; None where a term of it is missing."""
    bound = by_form.get("sound_label_free")
    if bound is None or bound.value is None or not bound.complete or answers.known.symbols is None:
        return None
    return Ceiling(bound.value, answers.known.symbols)
