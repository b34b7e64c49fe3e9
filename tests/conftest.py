"""What tests of several folders share: a cluster one node of which lacks the driver's disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

RAY = Path(sys.executable).with_name("ray")


@pytest.fixture(scope="session")
def node_apart() -> Callable[[Path], object]:
    """`node_apart(folder)`: a context manager that gives the address of a cluster of two nodes of a CPU each.
    The second one's raylet lives in a mount namespace of its own, with an empty file system over `folder`."""

    @contextmanager
    def start(folder: Path) -> Iterator[str]:
        from ray.cluster_utils import Cluster

        from actors.cluster import connect
        from actors.storage import working_nodes
        from schemas.config import WorkersConfig

        probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
            pytest.skip("no right to make a mount namespace")
        store = 100 * 2**20
        head = {"num_cpus": 1, "object_store_memory": store}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        join = f"{RAY} start --address {nodes.address} --num-cpus 1 --object-store-memory {store} --block"
        apart = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs tmpfs {folder} && exec {join}"],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with connect(WorkersConfig(address=nodes.address)):
                deadline = time.monotonic() + 120
                while len(working_nodes()) < 2:
                    assert apart.poll() is None and time.monotonic() < deadline
                    time.sleep(0.2)
            yield nodes.address
        finally:
            os.killpg(apart.pid, signal.SIGTERM)
            apart.wait(60)
            nodes.shutdown()

    return start
