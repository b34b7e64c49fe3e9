"""Scenarios are groups of records, with their sources, windows of traffic, and ranges of rows. May import the
rooms up to `graders`.

A new source is one file with `@reader("name")` above the function that lists its scenarios.
"""

from auditor.scenarios.files import file_source, records_source
from auditor.scenarios.groups import Grouping, group_records
from auditor.scenarios.perturbed import perturbed_source
from auditor.scenarios.registry import reader, sources
from auditor.scenarios.scenario import (
    ID,
    TRAFFIC,
    Given,
    Rows,
    Scenario,
    Source,
    check_recorded,
    gather,
    media_policy,
    records_of,
    sampled,
)

__all__ = [
    "ID",
    "TRAFFIC",
    "Given",
    "Grouping",
    "Rows",
    "Scenario",
    "Source",
    "check_recorded",
    "file_source",
    "gather",
    "group_records",
    "media_policy",
    "perturbed_source",
    "reader",
    "records_of",
    "records_source",
    "sampled",
    "sources",
]
