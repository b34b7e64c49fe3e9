"""Estimators of mutual information (nats): the critics, their training, and cross-fitting. May import the
rooms up to `significance`.

Each file that registers a critic holds it whole; `registry` makes the one that a config names.
"""

from auditor.estimators.club import CLUB
from auditor.estimators.club_sums import ClubSums
from auditor.estimators.gaussian import Gaussian
from auditor.estimators.infonce import InfoNCE
from auditor.estimators.mine import MINE
from auditor.estimators.nwj import NWJ
from auditor.estimators.registry import critic, load_critic, make_critic, read_sums

__all__ = [
    "CLUB",
    "MINE",
    "NWJ",
    "ClubSums",
    "Gaussian",
    "InfoNCE",
    "critic",
    "load_critic",
    "make_critic",
    "read_sums",
]
