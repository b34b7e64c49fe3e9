"""Divergences of many pairs: in order, the same bits from workers and from the driver, and not twice."""

from dataclasses import replace

import pytest
import ray
from tests.pipeline.workers.test_divergences import sums

from auditor.pipeline import measure
from auditor.pipeline.measure import Asked, divergences
from auditor.pipeline.progress import Silent
from auditor.profiles.profile import write_sketches
from auditor.storage.run_dir import RunDir
from schemas.config import ShardConfig, WorkersConfig
from tests.conftest import at as place


@pytest.fixture(scope="module", autouse=True)
def one_ray(quiet_ray):
    quiet_ray(2)
    yield
    ray.shutdown()


class Stages(Silent):
    def __init__(self):
        self.of = []

    def update(self, tally):
        self.of.append((tally.stage, tally.total))


def test_workers_and_driver_agree_to_the_bit(tmp_path, monkeypatch):
    run = RunDir(tmp_path)
    run.open()
    folder = run.profiles("test")
    for i in range(3):
        write_sketches(folder / f"{i}.npz", sums(i, 0.1 * i))
    asked = [
        Asked((i, modality), (folder / "0.npz",), (folder / f"{i}.npz",), modality, 5, 600, 5)
        for i in (2, 1)
        for modality in ("text", "response")
    ]
    stages = Stages()
    with place(run, "ray", WorkersConfig(), ShardConfig(), stages) as at:
        here = divergences(at, asked, 0.9)
        assert stages.of == [] and list(here) == [one.key for one in asked]  # too little for workers
        assert here[2, "text"].divergence.p_value < 0.01

        monkeypatch.setattr(measure, "WORTH_SECONDS", 0.0)
        assert divergences(at, asked, 0.9) == here and stages.of[-1] == ("divergences", 0)  # all were done
        for file in run.root.glob("measures/*/*.json"):
            if file.name != "identity.json":
                file.unlink()
        assert divergences(at, asked, 0.9) == here and stages.of[-1] == ("divergences", 4)


def test_what_work_is_worth_a_pool():
    asked = Asked("k", (), (), "text", 0, rows=240, dim=384)
    assert asked.seconds < 1 < replace(asked, rows=12_000, dim=768).seconds
