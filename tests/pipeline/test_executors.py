"""A job's report is the same to the bit on every executor and with any number of workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from auditor.lab.world import lab_items
from auditor.pipeline.audit import audit
from auditor.pipeline.bars import Bars
from auditor.pipeline.baseline import build
from auditor.pipeline.drift import drift
from schemas.config import AuditConfig, BaselineConfig, DriftConfig

N = 60
EVERY = [(executor, count) for executor in ("serial", "ray") for count in (1, 2, 3)]
ENCODERS = {"image": {"name": "lab"}, "text": {"name": "lab"}}
CRITIC = {"hidden": 8, "steps": 20, "batch": 64, "seeds": 2}
SMALL = {"embed": 32, "stream": 16}
HOW = ("executor", "seconds", "created")
"""What a report says of how and when the work was done."""


@pytest.fixture(scope="module")
def cluster(quiet_ray: Callable[[int], None]) -> Iterator[None]:
    quiet_ray(3)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions of the lab with images and recorded answers; others on the day after."""
    root = tmp_path_factory.mktemp("world")
    (root / "media").mkdir()
    items = list(lab_items(2 * N, seed=5))
    rows = []
    for i, item in enumerate(items):
        (root / "media" / f"{i}.png").write_bytes(item.image)
        answers = [item.reference, items[i - 1].reference, "I cannot tell."][i % 3 :]
        rows.append(
            {
                "record_id": item.record_id,
                "image": f"{i}.png",
                "query": item.query if i < 90 else f"Please write a poem: {item.query}",
                "responses": {"m": answers * 2},
                "reference": item.reference,
                "timestamp": f"2026-03-0{1 + i // 90}T12:00:00+00:00",
            }
        )
    for name, some in (("id", rows[:N]), ("new", rows[N:])):
        (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return root


def report(out: Path) -> dict[str, Any]:
    """All but how, and on how many workers, the work was done."""
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    assert set(HOW) <= found["run"].keys()
    for name in HOW:
        del found["run"][name]
    del found["run"]["config"]["workers"]
    return found


def workers(executor: str, count: int) -> dict[str, Any]:
    return {"workers": {"executor": executor, "cpu": count}}


@pytest.mark.parametrize(("train_on", "where"), [("pool", EVERY), ("sample", [EVERY[0], EVERY[1], EVERY[4]])])
def test_an_audit(
    cluster: None, world: Path, tmp_path: Path, train_on: str, where: list[tuple[str, int]]
) -> None:
    """Of recorded answers."""
    found = []
    for executor, count in where:
        config = {
            "data": {
                "id": str(world / "id.jsonl"),
                "media_root": str(world / "media"),
                "scenarios": {"new": str(world / "new.jsonl")},
            },
            "encoders": ENCODERS,
            "models": ["m"],
            "critic": CRITIC | {"train_on": train_on},
            "bounds": {"symbols": 4},
            "shards": SMALL,
            **workers(executor, count),
        }
        out = tmp_path / f"{executor}-{count}"
        audit(AuditConfig.model_validate(config), out, Bars())
        found.append(report(out))
    assert [row["n"] for row in found[0]["scenarios"]] == [N, N]
    assert [other == found[0] for other in found] == [True] * len(where)


def test_a_baseline_and_drift(cluster: None, world: Path, tmp_path: Path) -> None:
    """Baselines hold the same files, named by their content; windows are the same."""
    digests, found = [], []
    for executor, count in EVERY:
        of = tmp_path / f"baseline-{executor}-{count}"
        reference = {
            "data": {"id": str(world / "id.jsonl"), "media_root": str(world / "media")},
            "encoders": ENCODERS,
            "critic": CRITIC | {"cross_fit": 2},
            "shards": SMALL,
            **workers(executor, count),
        }
        digests.append(build(BaselineConfig.model_validate(reference), of, Bars()).manifest.digests)
        config = {
            "baseline": str(tmp_path / "baseline-serial-1"),
            "data": {"traffic": str(world / "new.jsonl"), "media_root": str(world / "media")},
            "window": "1d",
            "bounds": {"symbols": 4},
            **workers(executor, count),
        }
        out = tmp_path / f"drift-{executor}-{count}"
        drift(DriftConfig.model_validate(config), out, Bars())
        found.append(report(out))
    assert [other == digests[0] for other in digests] == [True] * len(EVERY)
    assert [row["n"] for row in found[0]["windows"]] == [30, 30]
    assert [other == found[0] for other in found] == [True] * len(EVERY)
