"""Measures as units of work: the same bits in this process and from workers, kept, and made anew only where
something is new."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from actors import executor as ray_side
from auditor.measures.assessment import Settings
from auditor.measures.judgement import of_windows
from auditor.pipeline import measure
from auditor.pipeline.measure import Comparison, Measuring
from auditor.pipeline.progress import Silent, Tally
from auditor.profiles.profile import GroupKey, Profile, write_profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows, descriptors, joined
from auditor.storage.run_dir import RunDir
from schemas.config import BoundsConfig, ShardConfig, ThresholdsConfig, WorkersConfig
from schemas.record import Record
from tests.conftest import at as place

D = 6


@pytest.fixture(scope="module")
def one_ray(quiet_ray: Callable[[int], None]) -> Iterator[None]:
    quiet_ray(2)
    yield
    ray.shutdown()


class Stages(Silent):
    def __init__(self) -> None:
        self.of: list[tuple[str, int]] = []

    def update(self, tally: Tally) -> None:
        if tally.done == tally.total and self.of[-1:] != [(tally.stage, tally.total)]:  # it is told again
            self.of.append((tally.stage, tally.total))


def rows_of(seed: int, move: float, n: int) -> Profile:
    rng = np.random.default_rng(seed)
    there, none = np.ones(n, dtype=bool), np.zeros((n, 0), np.float32)

    def unit(z: Any) -> Any:
        return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)

    text = unit(rng.normal(size=(n, D)) + move)
    ids = tuple(f"{seed}-{i}" for i in range(n))
    rows = Rows(
        ids,
        ids,
        none,
        text,
        joined(none, text, ~there, there),
        unit(text + 0.3 * rng.normal(size=(n, D))),
        unit(text + 0.2 * rng.normal(size=(n, D))),
        {"image": ~there, "text": there, "response": there, "reference": there},
    )
    facts = descriptors([Record(i, i, query="why?", reference="so") for i in ids], [("so",)] * n)
    return replace(sketch_rows(rows, np.ones((n, 4), np.float32), [], 500), facts=facts)


class World:
    """A run directory with the profiles of a baseline and some windows."""

    def __init__(self, out: Path) -> None:
        self.run = RunDir(out)
        self.run.open()
        self.folder = self.run.profiles("test")
        write_profile(self.folder / "p.npz", rows_of(0, 0.0, 300))

    def window(self, name: str, move: float) -> Comparison:
        path = self.folder / f"{name}.npz"
        if not path.exists():
            write_profile(path, rows_of(len(name), move, 120))
        return Comparison(GroupKey(name, "m"), (self.folder / "p.npz",), (path,), 420, {"text": D})

    def measured(self, at: Any, comparisons: list[Comparison]) -> Any:
        measuring = Measuring(
            of_windows(ThresholdsConfig(), 0), Settings(0.9, BoundsConfig(), no_critic="none"), (), None
        )
        divergences = measure.divergences(at, comparisons, measuring)
        assessments = measure.assessments(at, comparisons, {}, divergences, measuring)
        return divergences.judged(measuring.judgement.family), assessments


def test_measures_are_kept_and_a_new_window_is_measured_alone(tmp_path: Path) -> None:
    world, stages = World(tmp_path), Stages()
    one, two = world.window("a", 0.0), world.window("bb", 1.0)
    with place(world.run, "serial", WorkersConfig(cpu=1), ShardConfig(), stages) as at:
        found, assessed = world.measured(at, [one])
        assert stages.of == [("divergences", 4), ("measures", 1)]
        assert found[one.key].found["text"].p_value > 0.01 and assessed[one.key].measures.n == 120

        stages.of.clear()
        assert world.measured(at, [one]) == (found, assessed) and stages.of == []

        both, _ = world.measured(at, [one, two])
        assert stages.of == [("divergences", 4), ("measures", 1)]
        assert both[one.key] == found[one.key]  # windows do not depend on one another
        assert both[two.key].found["text"].p_adjusted < 0.01


def test_threads_and_workers_agree_with_a_plain_loop(
    one_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_side, "WORTH_SECONDS", 0.0)
    found = []
    for name, cpu in (("serial", 1), ("serial", 3), ("ray", 2)):
        world = World(tmp_path / f"{name}-{cpu}")
        with place(world.run, name, WorkersConfig(cpu=cpu), ShardConfig()) as at:
            found.append(world.measured(at, [world.window("a", 0.0), world.window("bb", 1.0)]))
    assert found[0] == found[1] == found[2]
