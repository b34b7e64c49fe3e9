"""This module computes EMI in other forms than the published one, and how answers differ in style, for every
scenario and model of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auditor.emi.comparison import EmiSums
from auditor.emi.forms import AnswerRows, Forms
from auditor.profiles.profile import GroupKey, Profile, having
from auditor.sketch.blocks import hash_blocks
from schemas.report import EmiForms, Style


@dataclass(frozen=True)
class Formed:
    """The forms of EMI of one scenario under one model, and what the comparison of models takes of them."""

    forms: EmiForms
    style: Style
    cross_fitted: EmiSums
    style_free: EmiSums


def formed(profiles: Mapping[GroupKey, Profile], seed: int) -> dict[GroupKey, Formed]:
    """Compute the forms over the sampled rows of every profile. The critics' pool is every scenario's correct
    answers, each once: those of the first model that has them. Nothing where the rows are too few."""
    rows = {key: found for key, profile in profiles.items() if (found := answer_rows(profile)) is not None}
    pool: dict[str, AnswerRows] = {}
    for key, found in rows.items():
        pool.setdefault(key.scenario, found)
    if not rows:
        return {}
    try:
        forms = Forms(list(pool.values()), list(rows.values()), seed=seed)
    except ValueError:  # too few groups to cross-fit
        return {}
    out = {}
    for key, found in rows.items():
        sums = forms.sums(found)
        out[key] = Formed(
            EmiForms(
                reference_trained=sums.reference_trained.value,
                cross_fitted=sums.cross_fitted.value,
                style_free=sums.style_free.value,
                cosine=sums.cosine,
            ),
            style(profiles[key], found),
            sums.cross_fitted,
            sums.style_free,
        )
    return out


def answer_rows(profile: Profile) -> AnswerRows | None:
    """Return the sampled rows that have a query, an answer and a correct answer; None: there are none."""
    sample = profile.sample
    if not profile.n or not {"response", "reference"} <= sample.rows.keys():
        return None
    used = having(sample, "x", "response", "reference")
    if not used.any():
        return None
    none = np.zeros((len(sample), 0), np.float32)
    return AnswerRows(
        sample.rows["x"][used],
        sample.rows.get("text", none)[used],
        sample.rows["response"][used],
        sample.rows["reference"][used],
        sample.rows.get("chars", np.zeros((len(sample), 2), np.float32))[used],
        hash_blocks(sample.groups[used]),
    )


def style(profile: Profile, rows: AnswerRows) -> Style:
    """Compare answers with correct answers in what is no content, over the same rows."""
    response, reference = rows.response.astype(np.float64), rows.reference.astype(np.float64)
    chars = rows.chars.astype(np.float64).mean(axis=0)
    echo = None
    if rows.question.shape[1] == response.shape[1]:
        asked = rows.question.astype(np.float64)
        echo = float((asked * response).sum(axis=1).mean() - (asked * reference).sum(axis=1).mean())
    facts, refusal = profile.facts, None
    if facts.get("answered") and facts.get("with_reference") and "refused" in facts:
        refusal = facts["refused"] / facts["answered"] - facts["references_refuse"] / facts["with_reference"]
    return Style(
        length=float(np.log2(chars[0] / chars[1])) if chars.min() > 0 else None,
        echo=echo,
        refusal=refusal,
        marginal=float(np.linalg.norm(response.mean(axis=0) - reference.mean(axis=0))),
    )


MOST_APART = {"length": 0.5, "echo": 0.05, "refusal": 0.05, "marginal": 0.1}
"""How much two models' styles may differ and still be called alike: half a doubling of length, five points
of cosine, five in a hundred answers, a tenth of a unit vector."""


def styles_apart(a: Style, b: Style) -> list[str]:
    """Return in words where two models' styles differ by more than `MOST_APART`."""
    words = {
        "length": "length of answers (factor {:.1f})",
        "echo": "echo of the question ({:+.2f} of cosine)",
        "refusal": "share of refusals ({:+.2f})",
        "marginal": "distance of the answers' mean from that of the correct ones ({:+.2f})",
    }
    apart = []
    for name, most in MOST_APART.items():
        one, other = getattr(a, name), getattr(b, name)
        if one is not None and other is not None and abs(one - other) > most:
            difference = one - other
            apart.append(words[name].format(2**difference if name == "length" else difference))
    return apart
