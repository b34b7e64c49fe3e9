"""Upper bounds on EMID by name, and the entropies that go into them (nats). May import sketch."""

from auditor.bounds.formulas import FORMS, bound_terms, emid_bound, entropy_change_bound, missing_terms

__all__ = [
    "FORMS",
    "bound_terms",
    "emid_bound",
    "entropy_change_bound",
    "missing_terms",
]
