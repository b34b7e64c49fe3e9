"""Groups of records: scenarios with their sources, windows of traffic, and ranges of rows. May import the
rooms up to `graders`."""

from auditor.scenarios.scenario import (
    MOST_ADMITTING,
    Scenario,
    Source,
    check_recorded,
    gather,
    media_policy,
    records_of,
    sampled,
    sources,
)

__all__ = [
    "MOST_ADMITTING",
    "Scenario",
    "Source",
    "check_recorded",
    "gather",
    "media_policy",
    "records_of",
    "sampled",
    "sources",
]
