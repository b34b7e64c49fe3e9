"""Logs of Inspect, which its own library reads."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from auditor.errors import BadInput
from auditor.records import read_many
from schemas.record import Record

SAMPLE = Path(__file__).parents[1] / "formats" / "samples" / "inspect.eval"
HERE = importlib.util.find_spec("inspect_ai") is not None
needs_library = pytest.mark.skipif(not HERE, reason="the package inspect_ai is not installed")


@needs_library
def test_samples_with_their_pictures_answers_and_marks(tmp_path: Path) -> None:
    shutil.copy(SAMPLE, tmp_path)
    rows = read_many(str(tmp_path))
    records = [row for row in rows if isinstance(row, Record)]
    assert [row.query for row in records] == [f"What colour is square {i}?" for i in range(3)]
    assert [row.reference for row in records] == ["red", "blue", "green"]
    assert [row.scores["mockllm/model"] for row in records] == [1.0, 1.0, 0.0]
    assert records[2].responses == {"mockllm/model": ("It is grey.",)}
    assert all(row.images[0].data is not None for row in records)
    assert set(rows.progress.formats.values()) == {"inspect"}


@needs_library
def test_a_log_that_breaks_off(tmp_path: Path) -> None:
    (tmp_path / "a.eval").write_bytes(SAMPLE.read_bytes()[:2000])
    with pytest.raises(BadInput, match="no readable log of Inspect"):
        list(read_many(str(tmp_path / "a.eval")))


@pytest.mark.skipif(HERE, reason="the package inspect_ai is installed")
def test_without_the_library_the_extra_is_named() -> None:
    with pytest.raises(BadInput, match=r"needs inspect_ai; pip install 'shift-auditor\[inspect\]'"):
        list(read_many(str(SAMPLE)))
