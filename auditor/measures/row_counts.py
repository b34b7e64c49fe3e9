"""This module counts the rows that numbers are of, the groups that they are in, and how much they tell."""

from __future__ import annotations

import numpy as np

from auditor.profiles.profile import Profile
from auditor.significance.design_effect import effective_rows
from auditor.sketch import RowSample
from schemas.report import RowCounts


def row_counts(rows: Profile) -> RowCounts | None:
    """Return the counts of a profile's usable rows; None where there are none.

    The design effect is that of the sampled rows' inputs. It is taken to hold for all rows.
    """
    sample = rows.sample
    if not len(sample) or "x" not in sample.rows:
        return None
    labels = np.unique(sample.groups, return_inverse=True)[1].astype(np.int64)
    effective = effective_rows(sample.rows["x"], labels) / len(sample)
    return RowCounts(used=rows.n, groups=count_groups(sample), effective_n=rows.n * effective)


def count_groups(sample: RowSample) -> int:
    """Return how many groups the rows are in that a sample was drawn from.

    Of a complete sample they are counted. Else the sample has the groups with the smallest hashes, and the
    largest of these tells how densely hashes lie: (groups - 1) / (that hash / 2^64), whose relative error is
    about 1/√groups (Bar-Yossef et al., Counting distinct elements in a data stream, 2002). Where no two
    sampled rows share a group, each row is taken to be its own.
    """
    groups = len(np.unique(sample.groups))
    if sample.complete:
        return groups
    if groups == len(sample):
        return sample.seen
    share = (float(sample.hashes[-1, 0]) + 1) / 2.0**64
    return int(np.clip(round((groups - 1) / share), groups, sample.seen))
