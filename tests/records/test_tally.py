"""Rows counted by file."""

import json

from auditor.records import MediaPolicy, Quarantine, Tally, admit, read_many
from schemas.record import Record


def gathered(paths, expected=()):
    tally, quarantine = Tally("s"), Quarantine()
    kept = list(quarantine.sift(admit(tally.counted(read_many(list(paths))), MediaPolicy(), scenario="s")))
    quarantine = tally.dated(quarantine)
    return kept, quarantine, tally.files(quarantine, expected)


def line(i, **given):
    row = {"record_id": str(i), "query": "q", "timestamp": f"2026-04-0{i % 9 + 1}T00:00:00Z", **given}
    return json.dumps(row) + "\n"


def test_each_file_has_its_counts(tmp_path):
    good, bad, cut, empty = (
        tmp_path / name for name in ("good.jsonl", "bad.jsonl", "cut.jsonl", "empty.jsonl")
    )
    good.write_text(line(1) + line(2, responses={"m": ""}) + line(1))
    bad.write_text("x;y\nz\n")
    cut.write_text(line(3) + "nonsense\n" + line(4) + line(5)[:20])
    empty.write_text("")
    names = [str(path) for path in (good, bad, cut, empty)]
    kept, quarantine, files = gathered(names, names)
    assert [record.record_id for record in kept] == ["1", "2", "3", "4"]
    found = {file.name: (file.rows, file.left_out, file.broken) for file in files}
    assert found == {
        str(good): (3, {"duplicate_id": 1}, False),  # a lost answer costs no row
        str(bad): (2, {"unreadable_line": 2}, True),
        str(cut): (4, {"unreadable_line": 2}, True),
        str(empty): (0, {}, False),
    }
    assert sum(not row.model for row in quarantine) + len(kept) == 9


def test_a_row_without_a_moment_has_that_of_the_row_before_it(tmp_path):
    path, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_text("first\n" + line(3) + "second\n" + line(5, image="gone.png") + line(6, images=[None]))
    other.write_text("third\n")
    _, quarantine, _ = gathered([str(path), str(other)])
    days = [row.timestamp and row.timestamp.day for row in quarantine]
    assert days == [4, 4, 6, 7, None]  # another file says nothing of it


def test_rows_from_no_file_are_of_their_source():
    tally, quarantine = Tally("lab"), Quarantine()
    rows = [Record("a", "a", query="q"), Record("b", "b", query=" "), Record("c", "c", query="q")]
    kept = list(quarantine.sift(admit(tally.counted(rows), MediaPolicy(), scenario="lab")))
    assert len(kept) == 2
    (file,) = tally.files(quarantine)
    assert (file.name, file.rows, file.left_out, file.broken) == ("lab", 3, {"missing_input": 1}, False)
