from __future__ import annotations

from pathlib import Path

import pytest

from auditor.errors import BadInput
from auditor.records import Quarantine
from schemas.record import Quarantined, Reason, Record


def test_counts_and_round_trip(tmp_path: Path) -> None:
    rows = [
        Quarantined("a.jsonl", 3, Reason.MISSING_ID, "`record_id` is blank"),
        Quarantined("a.jsonl", 4, Reason.EMPTY_RESPONSE, "blank", "x", "blur", "m"),
        Quarantined("b.jsonl", 1, Reason.MISSING_ID),
    ]
    record = Record("x", "x", query="q")
    kept = Quarantine()
    assert list(kept.sift([rows[0], record, *rows[1:]])) == [record]
    assert kept.counts() == {"missing_id": 2, "empty_response": 1}
    kept.write(tmp_path / "quarantine.parquet")
    read = Quarantine.read(tmp_path / "quarantine.parquet")
    assert list(read) == rows and len(read) == 3
    assert read.describe() == [
        "missing_id: 2, first a.jsonl:3 (`record_id` is blank)",
        "empty_response: 1, first a.jsonl:4 (blank)",
    ]
    assert read.why_empty() == "; ".join(read.describe())
    assert Quarantine().why_empty() == "the files hold no rows"


def test_nothing_long_or_hidden_in_details(tmp_path: Path) -> None:
    kept = Quarantine(
        [
            Quarantined(
                "a\udcff", 1, Reason.IMAGE_MISSING, "x\x1b[31m\n" + "y" * 500, "\ud800" * 5000, "", "\udc00"
            )
        ]
    )
    (row,) = kept
    assert len(row.detail) == 200 and row.detail.isprintable()
    assert row.record_id is not None and len(row.record_id) == 1000
    kept.write(tmp_path / "q.parquet")
    assert list(Quarantine.read(tmp_path / "q.parquet")) == [row]


def test_empty_and_unreadable(tmp_path: Path) -> None:
    Quarantine().write(tmp_path / "q.parquet")
    assert Quarantine.read(tmp_path / "q.parquet").counts() == {}
    (tmp_path / "q.parquet").write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"q\.parquet"):
        Quarantine.read(tmp_path / "q.parquet")
