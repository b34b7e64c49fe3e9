"""Whether a difference is more than chance: two-sample tests, permutation, resampling, and the jackknife.
May import the rooms up to `divergences`."""

from auditor.significance.two_sample import (
    PERMUTATIONS,
    DriftTest,
    benjamini_hochberg,
    drift_test,
    holm,
    rows_needed,
)

__all__ = [
    "PERMUTATIONS",
    "DriftTest",
    "benjamini_hochberg",
    "drift_test",
    "holm",
    "rows_needed",
]
