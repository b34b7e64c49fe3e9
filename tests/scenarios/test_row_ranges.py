"""Windows as parts of a record file: every row in one, told by its content, in memory of windows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from auditor.errors import AuditError, BadInput
from auditor.records import RecordWriter, read_run_rows, records_from_table
from auditor.scenarios.row_ranges import first_rows, part_tags, positions, read_unit, survey
from auditor.scenarios.windows import Clock, Window, by_rows, by_time, one_window
from schemas.record import Image, Record, Turn

DAY = datetime(2026, 3, 1, tzinfo=UTC)
IMAGE = Image(data=b"bytes", digest="0" * 64)


def record(i, **given):
    fields = {
        "query": f"what is {i}?",
        "responses": {"m": (f"it is {i}",)},
        "timestamp": DAY + timedelta(hours=i),
        "tags": (f"t{i % 3}",) if i % 2 else (),
    }
    return Record(f"r{i}", f"b{i}", **fields | given)


def written(path, records):
    with RecordWriter(path) as writer:
        for each in records:
            writer.write(each)
    return path


def ids(tables):
    return [row.record_id for table in tables for row in records_from_table(table)]


def test_windows_of_rows(tmp_path):
    found = survey(written(tmp_path / "r.parquet", map(record, range(45))), by_rows(20, 45), tmp_path, 8)
    assert [(p.window.name, p.n, list(p.units()), len(p.digests)) for p in found.parts] == [
        ("rows 0-19", 20, [(0, 8), (8, 16), (16, 20)], 3),
        ("rows 20-39", 20, [(0, 8), (8, 16), (16, 20)], 3),
        ("rows 40-44", 5, [(0, 5)], 1),
    ]
    assert found.models == ("m",) and not found.images and found.texts
    assert found.parts[0].times == (DAY, DAY + timedelta(hours=19))
    assert found.parts[0].window == Window("rows 0-19")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, (("m",), False, True)),
        ({"responses": {}}, ((), False, True)),
        ({"query": None, "responses": {}, "images": (IMAGE,)}, ((), True, False)),
        ({"query": None, "responses": {"b": (" ",), "a": ()}, "images": (IMAGE,)}, (("a", "b"), True, False)),
        ({"query": None, "responses": {}, "reference": "x", "images": (IMAGE,)}, ((), True, True)),
    ],
)
def test_what_the_records_have(tmp_path, given, said):
    found = survey(written(tmp_path / "r.parquet", [record(0, **given)]), one_window(), tmp_path, 8)
    assert (found.models, found.images, found.texts) == said


def test_every_row_is_in_its_window_in_the_order_of_the_file(tmp_path):
    """6,000 rows in no order, more than a batch and a group of rows, over 25 windows."""
    order = np.random.default_rng(0).permutation(6000)
    path = written(tmp_path / "r.parquet", (record(int(i) % 600, query=str(i)) for i in order))
    found = survey(path, by_time(Clock(timedelta(days=1))), tmp_path, 100)
    assert sum(part.n for part in found.parts) == 6000 and len(found.parts) == 25
    for part in found.parts:
        mine = [
            str(i)
            for i in order
            if part.window.start <= DAY + timedelta(hours=int(i) % 600) < part.window.end
        ]
        read = [row.query for table in first_rows(part) for row in records_from_table(table)]
        assert read == mine
        units = [
            [r.query for t in read_unit(path, part.positions, *unit, mark) for r in records_from_table(t)]
            for unit, mark in zip(part.units(), part.digests, strict=True)
        ]
        assert [query for unit in units for query in unit] == mine


def test_a_digest_is_of_content_alone(tmp_path):
    """Units before a change keep theirs: what was made of them stays."""

    def digests(name, records):
        (tmp_path / name).mkdir()
        path = written(tmp_path / f"{name}.parquet", records)
        return survey(path, one_window(), tmp_path / name, 10).parts[0].digests

    plain = digests("a", map(record, range(35)))
    assert digests("b", map(record, range(45)))[:3] == plain[:3]
    for field, value in (
        ("query", "other"),
        ("reference", "other"),
        ("responses", {"m": ("other",)}),
        ("history", (Turn("user", "other"),)),
        ("images", (IMAGE,)),
    ):
        changed = digests(field, (record(i, **({field: value} if i == 12 else {})) for i in range(35)))
        assert [a == b for a, b in zip(plain, changed, strict=True)] == [True, False, True, True], field
    # Where a row came from, and when, changes nothing that is embedded or counted.
    assert digests("tags", (record(i, tags=("x",)) for i in range(35))) == plain


def test_rows_that_changed_are_told(tmp_path):
    path = written(tmp_path / "r.parquet", map(record, range(20)))
    (part,) = survey(path, one_window(), tmp_path, 20).parts
    written(path, (record(i, query="other" if i == 19 else f"what is {i}?") for i in range(20)))
    with pytest.raises(AuditError, match="rows changed while they were read"):
        list(read_unit(path, part.positions, 0, 20, part.digests[0]))


def test_tags_of_some(tmp_path):
    path = written(tmp_path / "r.parquet", map(record, range(20)))
    (part,) = survey(path, one_window(), tmp_path, 20).parts
    assert part_tags(part, {"r1", "r2", "r5", "other"}) == {"r1": ("t1",), "r5": ("t2",)}


def test_rows_by_position(tmp_path):
    path = written(tmp_path / "r.parquet", map(record, range(3000)))
    wanted = np.array([0, 1023, 1024, 2999])
    assert ids(read_run_rows(path, wanted)) == ["r0", "r1023", "r1024", "r2999"]
    assert ids(read_run_rows(path, wanted[:0])) == []
    with pytest.raises(BadInput, match="has 3000 rows, not one at 3000"):
        list(read_run_rows(path, np.array([2, 3000])))
    (tmp_path / "1.i64").write_bytes(np.arange(100, 110, dtype="<i8").tobytes())
    assert positions(tmp_path / "1.i64", 3, 6).tolist() == [103, 104, 105]
