"""The conditional divergences of Theorem 4.6 between two scenarios' sampled rows."""

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
    """Each term as it was estimated, or why it was not."""

    found: dict[str, ConditionalDivergence]
    missing: dict[str, str]

    @property
    def terms(self) -> dict[str, float]:
        """For the bound: D̄ (nats), and of the answers E_P D^¼; never below 0."""
        known = {name: of.quarter if name == "d_y_quarter" else of.value for name, of in self.found.items()}
        return {name: max(0.0, value) for name, value in known.items() if value is not None}

    def table(self, scenario: str) -> list[dict[str, str | float | int | None]]:
        """For the report, a row a term."""
        return [
            {
                "scenario": scenario,
                "term": name,
                "given": given,
                "of": other,
                "value": of.value if of else None,
                "error": of.error if of else None,
                "fourth root": of.quarter if of else None,
                "outside": of.outside if of else None,
                "anchors": of.n_anchors if of else None,
                "why not": self.missing.get(name),
            }
            for name, (given, other) in TERMS.items()
            for of in [self.found.get(name)]
        ]


def conditionals(p: Profile, q: Profile, seed: int) -> Conditionals:
    """D̄(X_t|X_v), D̄(X_v|X_t) and E_P D^¼(Y|x) of sampled rows that have what is needed (Theorem 4.6); about
    a second each. Estimator, assumptions and limits: `auditor.divergences.conditional`.

    Where Q is a perturbed copy of P half of the records stand for P, the other half for Q: beside its own
    copy a row is nearer than chance, and what is taken off for chance would be too much (by 0.2).
    """
    half_p, half_q = apart(p.sample, q.sample)
    found: dict[str, ConditionalDivergence] = {}
    missing: dict[str, str] = {}
    for name, (given, other) in TERMS.items():
        if any(of not in each.sample.rows for each in (p, q) for of in (given, other)):
            missing[name] = f"no row has {given} and {other}"
            continue
        at_p, at_q = having(p.sample, given, other) & half_p, having(q.sample, given, other) & half_q
        given_p, other_p = (p.sample.rows[of][at_p] for of in (given, other))
        given_q, other_q = (q.sample.rows[of][at_q] for of in (given, other))
        if min(at_p.sum(), at_q.sum()) <= NEIGHBOURS:
            missing[name] = f"fewer than {NEIGHBOURS + 1} rows of a side have {given} and {other}"
            continue
        try:
            of = conditional_divergence(given_p, other_p, given_q, other_q, NEIGHBOURS, seed=seed)
        except ValueError as error:
            missing[name] = str(error)
            continue
        if of.value is None:
            missing[name] = of.reason or "not estimated"
        else:
            found[name] = of
    return Conditionals(found, missing)
