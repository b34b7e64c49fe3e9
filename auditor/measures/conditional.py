"""This module estimates the conditional divergences of Theorem 4.6 between two scenarios' sampled rows."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.divergences import ConditionalDivergence, conditional_divergence
from auditor.measures.pairing import apart
from auditor.profiles.profile import Profile, having

TABLE = "Conditional divergences"
NEIGHBOURS = 30
TERMS = {
    "d_t_given_v": ("image", "text"),
    "d_v_given_t": ("text", "image"),
    "d_y_quarter": ("x", "reference"),
}
"""Name in the bound -> what is given, and what its law is compared of."""


@dataclass(frozen=True)
class Conditionals:
    """These are the terms as they were estimated, and why some were not."""

    divergences: dict[str, ConditionalDivergence]
    missing: dict[str, str]

    @property
    def terms(self) -> dict[str, float]:
        """Return the terms of the bound: D̄ (nats), and of the answers E_P D^¼; never below 0."""
        known = {
            name: divergence.quarter if name == "d_y_quarter" else divergence.value
            for name, divergence in self.divergences.items()
        }
        return {name: max(0.0, value) for name, value in known.items() if value is not None}

    def table(self, scenario: str) -> list[dict[str, str | float | int | None]]:
        """Return the report's table, a row a term."""
        return [
            {
                "scenario": scenario,
                "term": name,
                "given": condition,
                "of": content,
                "value": divergence.value if divergence else None,
                "error": divergence.error if divergence else None,
                "fourth root": divergence.quarter if divergence else None,
                "outside": divergence.outside if divergence else None,
                "anchors": divergence.n_anchors if divergence else None,
                "why not": self.missing.get(name),
            }
            for name, (condition, content) in TERMS.items()
            for divergence in [self.divergences.get(name)]
        ]


def conditionals(p: Profile, q: Profile, seed: int) -> Conditionals:
    """Estimate D̄(X_t|X_v), D̄(X_v|X_t) and E_P D^¼(Y|x) of sampled rows that have what is needed (Theorem
    4.6); about a second each. Estimator, assumptions and limits: `auditor.divergences.conditional`.

    Where Q is a perturbed copy of P half of the records stand for P, the other half for Q: beside its own
    copy a row is nearer than chance, and what is taken off for chance would be too much (by 0.2).
    """
    half_p, half_q = apart(p.sample, q.sample)
    divergences: dict[str, ConditionalDivergence] = {}
    missing: dict[str, str] = {}
    for name, (condition, content) in TERMS.items():
        if any(key not in profile.sample.rows for profile in (p, q) for key in (condition, content)):
            missing[name] = f"no row has {condition} and {content}"
            continue
        mask_p = having(p.sample, condition, content) & half_p
        mask_q = having(q.sample, condition, content) & half_q
        condition_p, content_p = (p.sample.rows[key][mask_p] for key in (condition, content))
        condition_q, content_q = (q.sample.rows[key][mask_q] for key in (condition, content))
        if min(mask_p.sum(), mask_q.sum()) <= NEIGHBOURS:
            missing[name] = f"fewer than {NEIGHBOURS + 1} rows of a side have {condition} and {content}"
            continue
        try:
            divergence = conditional_divergence(
                condition_p, content_p, condition_q, content_q, NEIGHBOURS, seed=seed
            )
        except ValueError as error:
            missing[name] = str(error)
            continue
        if divergence.value is None:
            missing[name] = divergence.reason or "not estimated"
        else:
            divergences[name] = divergence
    return Conditionals(divergences, missing)
