"""GPU placement on Ray's declared logical GPUs: no GPU is here, but Ray gives device ids out as if."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster as Nodes

from actors import placement
from actors.cluster import Cluster, connect
from actors.placement import placed
from actors.pool import identify, run_shards
from auditor.errors import AuditError, BadInput
from auditor.pipeline.answer import memory_utilization
from auditor.pipeline.executor import ShardResult
from auditor.pipeline.progress import Silent
from auditor.storage.work_units import cut, text_item
from schemas.config import WorkersConfig

cloudpickle.register_pickle_by_value(sys.modules[__name__])
MIB = 2**20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without GPUs and two nodes of four."""
    head = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 100 * MIB}
    nodes = Nodes(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            nodes.add_node(num_cpus=8, num_gpus=4, object_store_memory=100 * MIB)
        with connect(WorkersConfig(address=nodes.address)) as joined:
            yield joined
    finally:
        nodes.shutdown()


def free_gpus() -> float:
    return ray.available_resources().get("GPU", 0.0)


def wait_for_gpus(wanted: float, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while free_gpus() != wanted:
        assert time.monotonic() < deadline, f"{free_gpus():g} of {wanted:g} GPUs free"
        time.sleep(0.2)


@dataclass(frozen=True)
class Sees:
    """What a worker says about itself: node, process and devices, one file each."""

    folder: Path
    together: int = 0
    """Workers that wait for one another, so that each of them gets some shards."""
    die_in: str | None = None
    """Shard at which the worker kills itself, the first time."""


class Seer:
    def __init__(self, settings: Sees) -> None:
        self._settings = settings
        self.identity = os.environ.get("CUDA_VISIBLE_DEVICES", "")

    def run(self, shard):
        mark = self._settings.folder / "died"
        if shard.name == self._settings.die_in and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        node = ray.get_runtime_context().get_node_id()
        name = self._settings.folder / f"{node}:{os.getpid()}"
        name.write_text(self.identity)
        deadline = time.monotonic() + 120
        while len(seen_by(self._settings.folder)) < self._settings.together and time.monotonic() < deadline:
            time.sleep(0.1)
        return ShardResult(shard.name, len(shard), 0, 0.1)


def seen_by(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if ":" in file.name]


def seen(folder: Path, size, shards: int = 24, die_in: int | None = None) -> list[tuple[str, list[str]]]:
    """(node, devices) of each worker process of a pool that worked through some shards."""
    todo = cut([text_item(f"text {i}") for i in range(shards)], 1, "placement")
    settings = Sees(folder, size.workers, None if die_in is None else todo[die_in].name)
    assert run_shards(Seer, settings, todo, size, stage="see").done == shards
    return [(file.name.partition(":")[0], file.read_text().split(",")) for file in seen_by(folder)]


def test_each_replica_has_a_gpu_of_its_own(cluster: Cluster, tmp_path: Path) -> None:
    size = cluster.pool(1, 1.0, 6)
    assert (size.workers, size.device) == (6, "cuda")
    with placed(size, 60.0) as there:
        wait_for_gpus(2)
        found = seen(tmp_path, there)
    assert len(found) == 6 and len({(node, *ids) for node, ids in found}) == 6
    assert all(len(ids) == 1 for _, ids in found)
    wait_for_gpus(8)


def test_a_tensor_parallel_group_is_on_one_node_and_nobody_elses(cluster: Cluster, tmp_path: Path) -> None:
    """Three GPUs a worker: one worker a node, though eight GPUs would make two and a half."""
    size = cluster.pool(1, 3.0)
    assert size.workers == 2
    with placed(size, 60.0) as there:
        assert len(identify(Seer, Sees(tmp_path), there).split(",")) == 3
        found = seen(tmp_path, there, 8)
    assert {node for node, _ in found} == {node for node, ids in found if len(set(ids)) == 3}
    assert len({node for node, _ in found}) == 2
    wait_for_gpus(8)


def test_two_groups_of_a_node_are_disjoint(cluster: Cluster, tmp_path: Path) -> None:
    with placed(cluster.pool(1, 2.0), 60.0) as there:
        assert there.workers == 4
        found = seen(tmp_path, there, 16)
    assert len(found) == 4
    for node in {node for node, _ in found}:
        ids = [i for at, group in found if at == node for i in group]
        assert sorted(ids) == ["0", "1", "2", "3"]


def test_shares_of_a_gpu_lie_side_by_side(cluster: Cluster, tmp_path: Path) -> None:
    size = cluster.pool(1, 0.5, 6)
    with placed(size, 60.0) as there:
        wait_for_gpus(5)
        found = seen(tmp_path, there, 18)
    assert len(found) == 6 and all(len(ids) == 1 for _, ids in found)
    devices = [(node, ids[0]) for node, ids in found]
    assert {devices.count(device) for device in devices} == {2}


def test_a_worker_that_dies_is_replaced_in_its_place(cluster: Cluster, tmp_path: Path) -> None:
    with placed(cluster.pool(1, 4.0), 60.0) as there:
        assert there.workers == 2  # every GPU is taken: there is no other place
        found = seen(tmp_path, there, 8, die_in=5)
    assert (tmp_path / "died").exists()
    assert len(found) >= 2 and all(sorted(ids) == ["0", "1", "2", "3"] for _, ids in found)
    wait_for_gpus(8)


def test_gpus_are_given_back_after_an_error_and_after_the_driver_died(
    cluster: Cluster, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError), placed(cluster.pool(1, 1.0), 60.0):
        wait_for_gpus(0)
        _ = 1 / 0
    wait_for_gpus(8)
    script = """
import sys, time
from actors.cluster import connect
from actors.placement import placed
from schemas.config import WorkersConfig
with connect(WorkersConfig(address=sys.argv[1])) as cluster, placed(cluster.pool(1, 2.0), 60.0):
    print("placed", flush=True)
    time.sleep(600)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", script, ray.get_runtime_context().gcs_address]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None and driver.stdout.readline() == "placed\n"
        wait_for_gpus(0)
        driver.kill()
    wait_for_gpus(8)


def test_gpus_that_another_job_took_are_waited_for_and_then_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Heard(Silent):
        def waiting(self, what: str) -> None:
            said.append(what)

    said: list[str] = []
    monkeypatch.setattr(placement, "TICK_SECONDS", 1)
    size = cluster.pool(1, 4.0)
    with placed(size, 60.0):
        with pytest.raises(AuditError) as told, placed(size, 2.5, Heard()):
            pass
        assert "2 workers of 4 GPUs and 1 CPUs each found no room in " in str(told.value)
        assert "and 0 GPUs free on 3 nodes, at most" in str(told.value) and "models.replicas" in str(
            told.value
        )
        assert said and "waiting for room for 2 workers of 4 GPUs" in said[0]
    wait_for_gpus(8)


@pytest.mark.parametrize(
    ("gpus", "replicas", "message"),
    [
        (5.0, "auto", r"needs 1 CPUs and 5 GPUs on one node; the cluster has 17 CPUs and 8 GPUs free on 3"),
        (3.0, 3, r"3 replicas of 3 GPUs and 1 CPUs do not fit: 2 do"),
        (0.6, 9, r"9 replicas of 0\.6 GPUs and 1 CPUs do not fit: 8 do"),
        (1.5, "auto", r"1\.5 GPUs: above one, only whole"),
    ],
)
def test_what_cannot_fit_is_refused_before_anything_starts(
    cluster: Cluster, gpus: float, replicas: int, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        cluster.pool(1, gpus, replicas)


def test_without_a_gpu_nothing_is_reserved(cluster: Cluster) -> None:
    size = cluster.pool(1)
    with placed(size, 1.0) as there:
        assert there is size and there.group is None
        wait_for_gpus(8)


@pytest.mark.parametrize(("gpus", "whole", "expected"), [(0.5, 0.9, 0.45), (1, 0.9, 0.9), (4, 0.8, 0.8)])
def test_memory_is_shared_as_the_gpu_is(gpus: float, whole: float, expected: float) -> None:
    assert memory_utilization(gpus, whole) == pytest.approx(expected)


def test_no_share_is_no_memory() -> None:
    with pytest.raises(ValueError, match="no share of memory"):
        memory_utilization(0.0, 0.9)
