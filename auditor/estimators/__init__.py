"""Estimators of mutual information (nats). Each is an `auditor.interface.MIEstimator`."""

from auditor.estimators.club import CLUB
from auditor.estimators.club_sums import ClubSums

__all__ = ["CLUB", "ClubSums"]
