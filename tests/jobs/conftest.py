"""What tests of jobs share: the command line run in this process, and a small local Ray."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import ray

from jobs.cli import main


@pytest.fixture(scope="session")
def run() -> Callable[..., int]:
    """`run(monkeypatch, *words)`: the exit code of `auditor WORDS`."""

    def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["auditor", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        code = stopped.value.code
        assert isinstance(code, int)
        return code

    return command


@pytest.fixture(scope="session")
def quiet_ray() -> Callable[[int], None]:
    """`quiet_ray(cpus)`: a local Ray that tells nothing; who starts it shuts it down."""

    def start(cpus: int) -> None:
        ray.init(
            address="local",  # whatever else runs on the machine
            num_cpus=cpus,
            object_store_memory=150 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=40,
        )

    return start
