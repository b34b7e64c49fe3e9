"""Upper bounds on EMID by name, and the entropies that they need (nats). May import the rooms up to
`estimators`."""

from auditor.bounds.formulas import FORMS, bound_terms, emid_bound, entropy_change_bound, missing_terms

__all__ = [
    "FORMS",
    "bound_terms",
    "emid_bound",
    "entropy_change_bound",
    "missing_terms",
]
