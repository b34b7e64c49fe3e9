"""Records in and out: readers, writers, which files and addresses may be opened, and which rows were
quarantined. May import the rooms up to `storage`.

quarantine = Quarantine()
rows = read_many("traffic/*.jsonl")
for record in quarantine.sift(admit(rows, MediaPolicy(root="images"), scenario="monday")):
    ...
rows.progress.coercions, rows.progress.files, quarantine.counts()
"""

from auditor.records.admit import admit
from auditor.records.collection import Records, read
from auditor.records.limits import DEFAULT_LIMITS, Limits
from auditor.records.llavabench import LlavaBench
from auditor.records.media import MediaPolicy, decode, load_image, thumbnail
from auditor.records.quarantine import Quarantine
from auditor.records.readers import read_many, read_records
from auditor.records.rows import Progress, Rows
from auditor.records.writer import (
    RecordWriter,
    read_run_columns,
    read_run_records,
    read_run_rows,
    read_run_tags,
    records_from_table,
    records_table,
    write_records,
    write_run_groups,
)

__all__ = [
    "DEFAULT_LIMITS",
    "Limits",
    "LlavaBench",
    "MediaPolicy",
    "Progress",
    "Quarantine",
    "RecordWriter",
    "Records",
    "Rows",
    "admit",
    "decode",
    "load_image",
    "read",
    "read_many",
    "read_records",
    "read_run_columns",
    "read_run_records",
    "read_run_rows",
    "read_run_tags",
    "records_from_table",
    "records_table",
    "thumbnail",
    "write_records",
    "write_run_groups",
]
