"""Whether a difference is more than chance: two-sample tests, permutation, resampling, and the jackknife.
May import the rooms up to `divergences`."""

from auditor.significance.two_sample import (
    FAR_MORE,
    PERMUTATIONS,
    DriftTest,
    benjamini_hochberg,
    drift_test,
    holm,
    rows_suffice,
)

__all__ = [
    "FAR_MORE",
    "PERMUTATIONS",
    "DriftTest",
    "benjamini_hochberg",
    "drift_test",
    "holm",
    "rows_suffice",
]
