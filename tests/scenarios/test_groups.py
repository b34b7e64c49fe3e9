"""Which records belong together, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.records import RecordWriter
from auditor.scenarios import Scenario, group_records
from auditor.scenarios.groups import Keys, components
from auditor.scenarios.windows import by_rows
from schemas.config import DataConfig
from schemas.record import Image, Record


def scenario(path: Path, name: str, records: list[Record]) -> Scenario:
    with RecordWriter(path / f"{name}.parquet") as writer:
        for record in records:
            writer.write(record)
    return Scenario(name, "natural", path / f"{name}.parquet", len(records))


def record(i: int, *, base: str = "", picture: str = "", **given: Any) -> Record:
    images = (Image(path=f"{picture}.png", digest=picture),) if picture else ()
    return Record(f"r{i}", base or f"r{i}", images, f"query {i}", **given)


def group_ids(scenario: Scenario) -> list[str]:
    return [r.group_id for batch in scenario.batches() for r in batch]


def found(path: Path, records: list[Record], **data: Any) -> tuple[list[str], str, tuple[str, ...]]:
    of = scenario(path, "s", records)
    grouping = group_records([of], DataConfig(**data))
    return group_ids(of), grouping.source, grouping.notes


ROWS = st.lists(
    st.tuples(st.integers(0, 12), st.lists(st.integers(0, 8), max_size=3)), min_size=1, max_size=25
)


@settings(max_examples=100, deadline=None)
@given(ROWS, ROWS)
def test_components_are_those_of_the_graph(
    first: list[tuple[int, list[int]]], second: list[tuple[int, list[int]]]
) -> None:
    """Records are nodes; those that share a base id or a key are joined, across scenarios."""
    nodes = [(s, i) for s, rows in enumerate((first, second)) for i in range(len(rows))]
    ties = {
        (s, i): {("base", base), *(("key", key) for key in keys)}
        for s, rows in enumerate((first, second))
        for i, (base, keys) in enumerate(rows)
    }
    expected = {node: k for k, node in enumerate(nodes)}
    for _ in nodes:  # the least number of those that it shares something with, until nothing changes
        expected = {a: min(expected[b] for b in nodes if ties[a] & ties[b]) for a in nodes}
    bases = [np.array([base for base, _ in rows], np.uint64) for rows in (first, second)]
    keys = [
        [
            Keys(
                np.array([i for i, (_, own) in enumerate(rows) for _ in own], np.int64),
                np.array([100 + key for _, own in rows for key in own], np.uint64),
            )
        ]
        for rows in (first, second)
    ]
    labels = components(bases, keys)
    assert [len(of) for of in labels] == [len(first), len(second)]
    pairs = {(expected[s, i], int(label)) for s, of in enumerate(labels) for i, label in enumerate(of)}
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)


def test_no_record_is_in_a_group(tmp_path: Path) -> None:
    ids, source, notes = found(tmp_path, [record(i, picture=f"p{i}") for i in range(5)])
    assert ids == [""] * 5 and source.startswith("each record stands by itself") and notes == ()
    assert [len(of) for of in components([], [])] == []


def test_what_the_records_declare_goes_first(tmp_path: Path) -> None:
    declared = [
        record(0, group=("ann", "monday"), conversation_id="c"),
        record(1, group=("bob",), conversation_id="c"),
        record(2, group=("bob", "monday")),
        record(3, picture="p"),
        record(4, picture="p"),
    ]
    ids, source, _ = found(tmp_path, declared)
    assert ids == ["group:ann"] * 3 + [""] * 2 and source == "the field `group` of the records"
    ids, source, _ = found(tmp_path, declared, group_by="conversation_id")
    assert ids == ["conversation_id:c"] * 2 + [""] * 3 and "conversation_id" in source
    ids, source, _ = found(tmp_path, declared, group_by=["image", "conversation_id"])
    assert ids == ["conversation_id:c"] * 2 + [""] + ["image:p"] * 2
    assert source == "pictures that several records share and the field `conversation_id` of the records"
    chats = [record(i, conversation_id=f"c{i % 2}", picture="p") for i in range(4)]
    assert found(tmp_path, chats)[0] == ["conversation_id:c0", "conversation_id:c1"] * 2
    assert found(tmp_path, declared, group_by="base_id")[0] == [""] * 5  # what stood there is taken away


def test_base_ids_go_before_pictures(tmp_path: Path) -> None:
    rows = [record(i, base=f"b{i // 2}", picture="p" if i < 2 else f"p{i}") for i in range(6)]
    ids, source, _ = found(tmp_path, rows)
    assert ids == [""] * 6 and source == "base ids that several records share"
    rows = [record(i, picture=f"p{i // 2}") for i in range(6)]
    ids, source, _ = found(tmp_path, rows)
    assert ids == [f"image:p{i // 2}" for i in range(6)] and source == "pictures that several records share"


def test_a_copy_is_in_the_group_of_its_original(tmp_path: Path) -> None:
    """Its picture is another one: blurred, say."""
    p = scenario(tmp_path, "id", [record(i, picture=f"p{i // 3}") for i in range(9)])
    copies = [record(100 + i, base=f"r{i}", picture=f"blurred p{i // 3}") for i in range(9)]
    q = scenario(tmp_path, "blur", copies)
    alone = scenario(tmp_path, "other", [record(200 + i, picture=f"other {i}") for i in range(3)])
    group_records([p, q, alone], DataConfig())
    assert group_ids(p) == group_ids(q) == [f"image:p{i // 3}" for i in range(9)]
    assert group_ids(alone) == [""] * 3


def test_one_picture_of_most_records_ties_none_of_them(tmp_path: Path) -> None:
    stock = [record(i, picture="logo") for i in range(8)]
    rows = [*stock, record(8, picture="p"), record(9, picture="p"), record(10)]
    ids, _, notes = found(tmp_path, rows)
    assert ids == [""] * 8 + ["image:p"] * 2 + [""]
    (note,) = notes
    assert "one picture is in 8 of 10 records with pictures" in note and "data.group_by: image" in note
    ids, _, notes = found(tmp_path, rows, group_by="image")
    assert ids == ["image:logo"] * 8 + ["image:p"] * 2 + [""]
    (note,) = notes
    assert note.startswith("s: one group holds 8 of 11 records")


def test_a_picture_that_a_record_shows_twice_is_no_common_one(tmp_path: Path) -> None:
    twice = Record("a", "a", (Image(digest="p"), Image(digest="p")), "q")
    assert found(tmp_path, [twice, record(1, picture="q")])[2] == ()


def test_files_are_written_where_something_changes_and_only_then(tmp_path: Path) -> None:
    of = scenario(tmp_path, "s", [record(i, group=(f"g{i % 3}",)) for i in range(3_000)])
    before = [r for batch in of.batches() for r in batch]
    group_records([of], DataConfig())
    written = of.path.stat().st_mtime_ns
    after = [r for batch in of.batches() for r in batch]
    assert [r.group_id for r in after] == [f"group:g{i % 3}" for i in range(3_000)]
    assert [r.record_id for r in after] == [r.record_id for r in before]
    assert {r.group for r in after} == {("g0",), ("g1",), ("g2",)}
    group_records([of], DataConfig())
    assert of.path.stat().st_mtime_ns == written


def test_a_source_that_is_none() -> None:
    with pytest.raises(ValueError, match="group_by"):
        DataConfig(group_by="user")


def test_windows_have_groups_of_their_own(tmp_path: Path) -> None:
    """Whatever else is in the traffic, a window's records have the same groups: pictures that come again in
    another window tie nothing, nor does a picture of half of one window."""
    first = [record(i, picture=f"p{i // 2}") for i in range(8)]
    second = [record(8 + i, picture=f"p{i}") for i in range(5)] + [
        record(13 + i, picture="logo") for i in range(7)
    ]
    alone = found(tmp_path, first)[0]
    assert len(set(alone)) == 4
    both = scenario(tmp_path, "both", first + second)
    grouping = group_records([both], DataConfig(), by_rows(8, 20))
    names = group_ids(both)
    assert names[:8] == alone and grouping.source == "pictures that several records share"
    # Rows 8-15 are five pictures and three times the logo, rows 16-19 the logo alone.
    assert names[8:13] == [""] * 5 and len(set(names[13:16])) == 1
    assert names[16:] == [""] * 4 and "of one window" in " ".join(grouping.notes)
    assert found(tmp_path, second[:5])[0] == [""] * 5
