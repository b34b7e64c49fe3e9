"""The contract of a reader: ours keep it, and each broken one is named."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from auditor.scenarios import Source, reader
from auditor.testing import check_reader
from schemas.config import AuditConfig
from schemas.record import Record


def config(data: dict[str, Any]) -> AuditConfig:
    encoders = {"image": None, "text": "lab"}
    return AuditConfig.model_validate({"data": data, "encoders": encoders, "models": ["m"]})


def test_files_keep_it(tmp_path: Path) -> None:
    rows = [{"record_id": f"r{i}", "query": f"what is {i}?"} for i in range(5)]
    lines = [*map(json.dumps, rows), "no json", json.dumps({"query": "no id"})]
    for name in ("id", "new"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    check_reader(
        config(
            {
                "id": str(tmp_path / "id.jsonl"),
                "scenarios": {
                    "new": str(tmp_path / "new.jsonl"),
                    "typos": {"shifts": [{"shift": "keyboard", "severity": 2}]},
                },
            }
        ),
        tmp_path / "out",
    )


def test_the_lab_keeps_it(tmp_path: Path) -> None:
    scenarios = {
        "german": {"language": "de"},
        "pool": {"pool": "natural"},
        "b": {"shifts": [{"shift": "blur"}]},
    }
    check_reader(config({"reader": "lab", "n": 4, "scenarios": scenarios}), tmp_path)


COUNT = itertools.count()


def source(
    name: str = "id", family: str = "id", mark: str = "x", rows: Callable[[], Any] | None = None
) -> Source:
    return Source(name, family, mark, rows or (lambda: [Record("r", "r", query="q")]))


def lost() -> Iterator[Record]:
    raise KeyError("image")
    yield


@pytest.mark.parametrize(
    ("read", "word"),
    [
        (lambda config, run: [], "no scenarios"),
        (lambda config, run: [source(family="text")], "not 'id'"),
        (lambda config, run: [source(mark=str(next(COUNT)))], "differ from one look"),
        (lambda config, run: [source(), source("b")], "the same fingerprint"),
        (lambda config, run: [source(), source("b", mark="1"), source("b", mark="2")], "the same name"),
        (lambda config, run: [source(rows=lambda: [{"record_id": "r"}])], "gives a dict"),
        (lambda config, run: [source(rows=lost)], "reading id raises"),
        (lambda config, run: [source(rows=list)], "has no record"),
        (
            lambda config, run: [source(rows=lambda: [Record(str(next(COUNT)), "r", query="q")])],
            "from one reading to the next",
        ),
        (lambda config, run: [source(rows=lambda: [Record("r", "r")])], "can be admitted"),
    ],
)
def test_a_broken_one_is_named(read: Callable[..., Any], word: str, tmp_path: Path) -> None:
    reader("broken")(read)
    with pytest.raises(AssertionError, match=f"reader broken: .*{word}"):
        check_reader(config({"reader": "broken"}), tmp_path)


def test_a_small_one_keeps_it(tmp_path: Path) -> None:
    reader("small")(lambda config, run: [source(), source("b", "text", "y")])
    check_reader(config({"reader": "small"}), tmp_path)
