"""Upper bounds on EMID by name, and the entropies that they need (nats). May import the rooms up to
`estimators`."""

from auditor.bounds.formulas import (
    FORMS,
    NULL_CENTRED,
    bound_terms,
    emid_bound,
    entropy_change_bound,
    missing_terms,
)

__all__ = [
    "FORMS",
    "NULL_CENTRED",
    "bound_terms",
    "emid_bound",
    "entropy_change_bound",
    "missing_terms",
]
