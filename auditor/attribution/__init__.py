"""Attribution says where a difference lies: the share of every row, tag and cluster in a divergence. May
import the rooms up to `measures`."""

from auditor.attribution.shares import rjsd_shares

__all__ = [
    "rjsd_shares",
]
