"""Groups of records: scenarios with their sources, windows of traffic, ranges of rows. May import records,
shifts and storage."""

from auditor.scenarios.scenario import (
    MOST_ADMITTING,
    Scenario,
    Source,
    check_recorded,
    gather,
    media_policy,
    records_of,
    reference_source,
    sampled,
    sources,
    traffic_source,
)

__all__ = [
    "MOST_ADMITTING",
    "Scenario",
    "Source",
    "check_recorded",
    "gather",
    "media_policy",
    "records_of",
    "reference_source",
    "sampled",
    "sources",
    "traffic_source",
]
