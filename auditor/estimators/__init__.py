"""Estimators of mutual information (nats): the critics, their training, and cross-fitting. May import the
rooms up to `significance`."""

from auditor.estimators.club import CLUB
from auditor.estimators.club_sums import ClubSums
from auditor.estimators.infonce import InfoNCE
from auditor.estimators.mine import MINE
from auditor.estimators.nwj import NWJ

__all__ = ["CLUB", "MINE", "NWJ", "ClubSums", "InfoNCE"]
