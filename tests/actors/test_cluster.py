"""Joining, starting and sizing; and a cluster that loses a node in the middle of the work."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster

from actors.cluster import PoolSize, connect, pool_size, worker_env
from actors.pool import run_shards
from auditor.errors import BadInput
from auditor.pipeline.workers.embeddings import EmbedSettings, EmbedWorker
from auditor.storage.embedding_store import EmbeddingStore
from auditor.storage.work_units import cut, text_item
from schemas.config import WorkersConfig

cloudpickle.register_pickle_by_value(sys.modules[__name__])
NODES = [{"CPU": 8.0}, {"CPU": 3.0, "GPU": 2.0}]


@pytest.mark.parametrize(
    ("config", "threads", "share", "expected"),
    [
        ({}, 1, 0.0, PoolSize(11, 1, 0.0)),
        ({}, 2, 0.0, PoolSize(5, 2, 0.0)),  # 4 and 1: a worker does not span nodes
        ({"cpu": 3}, 2, 0.0, PoolSize(3, 2, 0.0)),
        ({}, 1, 1.0, PoolSize(2, 1, 1.0)),
        ({}, 1, 0.5, PoolSize(3, 1, 0.5)),  # four halves, but CPUs for three
        ({"gpu": 1}, 1, 0.5, PoolSize(2, 1, 0.5)),
        ({"gpu": 0}, 1, 0.5, PoolSize(11, 1, 0.0)),
        ({}, 1, 2.0, PoolSize(1, 1, 2.0)),
        ({}, 1, 0.6, PoolSize(2, 1, 0.6)),  # one a GPU: a share lies on one
    ],
)
def test_a_pool_takes_what_is_free(config, threads, share, expected):
    found = pool_size(NODES, WorkersConfig(**config), threads, share)
    assert found == expected and found.device == ("cuda" if found.gpus else "cpu")


@pytest.mark.parametrize(
    ("config", "threads", "share", "message"),
    [
        ({}, 9, 0.0, r"needs 9 CPUs on one node; the cluster has 11 CPUs .* at most 8 CPUs on one"),
        ({"cpu": 12}, 1, 0.0, r"asks for 12 workers of 1 CPUs, 11 fit: the cluster has 11 CPUs"),
        ({"gpu": 3}, 1, 1.0, r"workers\.gpu asks for 3 GPUs, the cluster has 2 free"),
        ({}, 4, 1.0, r"needs 4 CPUs and 1 of a GPU on one node"),
        ({"gpu": 0}, 1, 2.0, r"needs 2 GPUs, workers\.gpu lets it have 0"),
        ({"gpu": 1}, 1, 2.0, r"needs 2 GPUs, workers\.gpu lets it have 1"),
        ({}, 1, 3.0, r"needs 1 CPUs and 3 GPUs on one node; .* at most 8 CPUs and 2 GPUs on one"),
    ],
)
def test_what_cannot_fit_is_refused_with_the_numbers(config, threads, share, message):
    with pytest.raises(BadInput, match=message):
        pool_size(NODES, WorkersConfig(**config), threads, share)


def test_replicas_are_what_is_asked_for_or_refused():
    assert pool_size(NODES, WorkersConfig(), 1, 0.5, 2) == PoolSize(2, 1, 0.5)
    assert pool_size(NODES, WorkersConfig(gpu=0), 1, 1.0, 4) == PoolSize(4, 1, 0.0)
    for workers, replicas, fit in (({}, 4, 3), ({"gpu": 1}, 3, 2), ({"cpu": 2, "gpu": 0}, 3, 2)):
        with pytest.raises(BadInput, match=rf"{replicas} replicas of .* do not fit: {fit} do; the cluster"):
            pool_size(NODES, WorkersConfig(**workers), 1, 0.5, replicas)


def test_one_gpu_is_no_must_where_there_are_none_but_two_are():
    assert pool_size([{"CPU": 4.0}], WorkersConfig(), 1, 1.0) == PoolSize(4, 1, 0.0)
    with pytest.raises(BadInput, match="needs 1 CPUs and 2 GPUs on one node"):
        pool_size([{"CPU": 4.0}], WorkersConfig(), 1, 2.0)


def test_a_busy_cluster_is_refused():
    with pytest.raises(BadInput, match="the cluster has 0 CPUs"):
        pool_size([{"CPU": 0.0}], WorkersConfig(), 1)


def test_workers_start_with_fixed_threads_and_our_packages(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/mine")
    env = worker_env(3)
    assert env["OMP_NUM_THREADS"] == env["OPENBLAS_NUM_THREADS"] == env["MKL_NUM_THREADS"] == "3"
    root = Path(__file__).resolve().parents[2]
    assert env["PYTHONPATH"].split(os.pathsep) == [str(root), "/mine"]


def test_a_cluster_that_is_not_there_is_bad_input(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "nowhere:1:2")
    with (
        pytest.raises(BadInput, match=r"cluster at nowhere:1:2 .* check RAY_ADDRESS"),
        connect(WorkersConfig()),
    ):
        pass


class Projection:
    """Byte counts through a fixed random matrix; slow enough to be caught in the middle."""

    modality, dim, identity = "text", 8, "projection"

    def encode(self, contents):
        matrix = np.random.default_rng(0).normal(size=(256, 8)).astype(np.float32)
        counts = [np.bincount(np.frombuffer(t.encode(), np.uint8), minlength=256) for t in contents]
        (self.delay or (lambda: None))()
        return np.array(counts, np.float32) @ matrix

    delay = None


def slow():
    import time

    encoder = Projection()
    encoder.delay = partial(time.sleep, 0.3)
    return encoder


def test_a_node_that_dies_costs_only_time(tmp_path):
    """kill -9 of the raylet that holds a worker: every row is there once, with the bits of a plain loop."""
    shards = cut([text_item(f"text {i}") for i in range(64)], 4, "p")
    (tmp_path / "plain").mkdir()
    plain = EmbedWorker(EmbedSettings(Projection, tmp_path / "plain"))
    for shard in shards:
        plain.run(shard)
    health = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 500,
        "health_check_timeout_ms": 500,
    }
    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": 100 * 2**20, "_system_config": health},
    )
    try:
        other = nodes.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        out, killed = tmp_path / "out", []
        out.mkdir()

        def kill(result):
            if not killed:
                killed.append(other.all_processes["raylet"][0].process.pid)
                os.kill(killed[0], signal.SIGKILL)

        with connect(WorkersConfig(address=nodes.address)) as cluster:
            assert not cluster.started and len(cluster.free) == 2
            size = cluster.pool(1)
            assert size.workers == 2
            tally = run_shards(
                EmbedWorker, EmbedSettings(slow, out), shards, size, stage="embed", on_done=kill
            )
        assert not ray.is_initialized()
    finally:
        nodes.shutdown()
    assert killed and tally.done == 64
    for shard in shards:
        name = f"{shard.name}.arrow"
        assert (out / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert len(EmbeddingStore(out)) == 64


LOST = """
import importlib.util, os, signal, sys, time
from ray.cluster_utils import Cluster
spec = importlib.util.spec_from_file_location("cluster_tests", sys.argv[1])
tests = importlib.util.module_from_spec(spec); sys.modules["cluster_tests"] = tests
spec.loader.exec_module(tests)
from jobs.cli import _guarded
import actors.cluster
actors.cluster.LOST_SECONDS = 8.0  # instead of 30, which says no more
actors.cluster.Pulse.__init__.__defaults__ = (8.0,)
head = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
nodes = Cluster(initialize_head=True, head_node_args=head)
processes = [nodes.head_node.all_processes[k][0].process.pid for k in ("raylet", "gcs_server")]

def kill(result):
    while processes:
        os.kill(processes.pop(), signal.SIGKILL)

def job():
    with tests.connect(tests.WorkersConfig(address=nodes.address)):
        shards = tests.cut([tests.text_item(f"text {i}") for i in range(4_000)], 4, "p")
        settings = tests.EmbedSettings(tests.slow, tests.Path(sys.argv[2]))
        if sys.argv[3] == "driver":
            kill(None)
            until = time.monotonic() + 150
            while time.monotonic() < until:
                sum(range(100_000))
        tests.run_shards(
            tests.EmbedWorker, settings, shards, tests.PoolSize(1, 1, 0.0), stage="embed", on_done=kill
        )

sys.exit(_guarded(job))
"""


@pytest.mark.parametrize(("busy", "how"), [("pool", "SIG_DFL"), ("driver", "SIG_DFL"), ("driver", "SIG_IGN")])
def test_a_cluster_that_is_lost_ends_the_command_with_its_own_code(tmp_path, busy, how):
    """kill -9 of the control service and the raylet, while a pool or the driver alone is at work (also in
    a shell's background, where Ctrl-C is ignored): Ray would end the process with 1, which is a verdict."""
    done = subprocess.run(
        [sys.executable, "-c", LOST, __file__, str(tmp_path), busy],
        preexec_fn=lambda: signal.signal(signal.SIGINT, getattr(signal, how)),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=200,
    )
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "has not answered for" in error and "run the same command" in error
    assert done.returncode == 3
    assert bool(list(tmp_path.glob("*.arrow"))) == (busy == "pool")
