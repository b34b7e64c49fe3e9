"""`auditor doctor`: does this machine, and the cluster, have what an audit needs? Findings with a way out.

python -m jobs.doctor [--config FILE.yaml] [--out DIR]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from auditor.errors import AuditError, BadInput, needed_for
from auditor.pipeline.checks import cluster_address, record_files
from auditor.profiles.baseline import load
from auditor.records import MediaPolicy
from auditor.records.sources import fingerprint, shown
from jobs.doctor import environment
from jobs.doctor.environment import NEEDS_HUB, Check, guarded
from jobs.run.settings import job_of, load_config
from schemas.config import (
    AuditConfig,
    DriftConfig,
    EncoderConfig,
    EncodersConfig,
    LearningConfig,
    ModelConfig,
    WorkersConfig,
)

if TYPE_CHECKING:
    from actors.cluster import Resources

CLUSTER_SECONDS = 90.0
"""How long a cluster may take to answer; it is asked in a process that can be ended."""


@dataclass(frozen=True, slots=True)
class Needs:
    """A config asks this of the machine."""

    files: tuple[str, ...] = ()
    media_root: str | None = None
    encoders: tuple[tuple[str, EncoderConfig], ...] = ()
    """(modality, encoder)"""
    models: tuple[ModelConfig, ...] = ()
    workers: WorkersConfig = field(default_factory=WorkersConfig)
    threads: int = 1

    @property
    def generating(self) -> tuple[ModelConfig, ...]:
        return tuple(model for model in self.models if model.generator is not None)


def examine(config: Path | None, overrides: Sequence[str], out: Path) -> list[Check]:
    """Return all findings. Raises `BadInput` where the config itself is wrong."""
    needs = _needs(config, overrides)
    checks = guarded("packages", environment.packages)
    checks += guarded("processors", environment.processors)
    checks += guarded("faiss", environment.faiss_kind)
    vllm = any(model.generator == "vllm" for model in needs.models)
    checks += guarded("vllm", lambda: environment.vllm_presence(vllm))
    checks += guarded("weights", environment.weights_cache)
    of_config = guarded("config", lambda: _weights(needs))
    asks_hub = any(check.way_out == NEEDS_HUB for check in of_config)
    checks += guarded("model hub", lambda: environment.hub_reachability(asks_hub))
    checks += of_config
    checks += guarded("data", lambda: _data(needs))
    checks += guarded("disk", lambda: environment.disk(out))
    checks += guarded("store", lambda: environment.store(out))
    checks += guarded("ray", lambda: _tokens(needs.workers))
    checks += guarded("cluster", lambda: _cluster(needs, out))
    return checks


def exit_code(checks: Iterable[Check]) -> int:
    """Return 2 where something is missing without which nothing can be audited, else 0."""
    return 2 if any(check.status == "fail" for check in checks) else 0


def table(checks: Iterable[Check]) -> Table:
    """Return the findings as a table for a terminal."""
    shown_as = {"ok": "[green]ok", "warn": "[yellow]warn", "fail": "[red]fail"}
    out = Table(title="auditor doctor", title_justify="left", box=None)
    for column in ("", "what", "found", "way out"):
        out.add_column(column, overflow="fold")  # a path is of use only whole
    for check in checks:
        out.add_row(shown_as[check.status], *map(escape, (check.name, check.found, check.way_out)))
    return out


# The config


def _needs(path: Path | None, overrides: Sequence[str]) -> Needs:
    if path is None:
        return Needs()
    config = load_config(job_of(path), path, overrides)
    files, folder = record_files(config), config.data.media_root or config.data.root
    if isinstance(config, DriftConfig):
        learned: LearningConfig = load(Path(config.baseline)).manifest.config
    else:
        assert isinstance(config, LearningConfig)
        learned = config
    models = config.models if isinstance(config, AuditConfig) else ()
    known = _encoders(learned.encoders)
    return Needs(tuple(files), folder, known, models, config.workers, learned.shards.threads)


def _encoders(config: EncodersConfig) -> tuple[tuple[str, EncoderConfig], ...]:
    image = (("image", config.image),) if config.image is not None else ()
    return (*image, ("text", config.text))


def _weights(needs: Needs) -> Iterator[Check]:
    for modality, config in needs.encoders:
        yield from environment.weights(config.name, f"{modality} encoder {config.name}")
    for model in needs.generating:
        if model.generator != "endpoint":
            yield from environment.weights(model.path or model.name, f"model {model.name}")


def _data(needs: Needs) -> Iterator[Check]:
    for file in needs.files:
        try:
            count = len(fingerprint(file).splitlines())  # looks at each of them
            yield Check("records", "ok", f"{shown(file)}: {count} files")
        except BadInput as error:
            yield Check("records", "fail", str(error), "correct the path in the config")
    if needs.media_root is not None:
        try:
            MediaPolicy(needs.media_root)
            yield Check("media", "ok", shown(needs.media_root))
        except BadInput as error:
            yield Check("media", "fail", str(error), "correct data.media_root")


# Ray


def _tokens(workers: WorkersConfig) -> Iterator[Check]:
    """Check whether connections to Ray carry a token, as far as this process's surroundings say."""
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(path) if path else Path.home() / ".ray" / "auth_token"
    source = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else str(file) if file.is_file() else None
    joins = cluster_address(workers)
    generate = "ray get-auth-token --generate, the same token on every node, and RAY_AUTH_MODE=token"
    if mode and mode != "token":
        problem = f"RAY_AUTH_MODE is {mode}: whoever reaches the cluster's ports runs what he likes"
        yield Check("ray token", "warn", problem, f"unset RAY_AUTH_MODE; {generate}")
    elif source is not None:
        yield Check("ray token", "ok", f"on, the token is in {source}")
    elif joins or mode:
        problem = "no token in RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"
        yield Check("ray token", "warn", f"{problem}: a cluster that asks for one refuses us", generate)
    else:
        yield Check("ray token", "ok", "on; a local Ray makes its own")


def _cluster(needs: Needs, out: Path) -> Iterator[Check]:
    with needed_for("the executor ray"):
        from actors.cluster import OBJECT_STORE_BYTES
    address = cluster_address(needs.workers)
    if not address:
        cpus = float(len(os.sched_getaffinity(0)))
        free: list[Resources] = [{"CPU": max(cpus, _wanted_cpus(needs)), "GPU": _local_gpus()}]
        yield Check("cluster", "ok", f"none named; a local Ray with {free[0]['CPU']:g} CPUs will be started")
        shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else 0
        if shared < OBJECT_STORE_BYTES:
            problem = f"/dev/shm has {shared / 2**20:.0f} MiB free, the object store wants "
            problem += f"{OBJECT_STORE_BYTES / 2**20:.0f}: Ray falls back to disk"
            yield Check(
                "shared memory", "warn", problem, "docker run --shm-size=1g, or an emptyDir of medium Memory"
            )
        yield from _pools(needs, free)
        return
    answer = _survey(address, out)
    if "error" in answer:
        way_out = "check workers.address or RAY_ADDRESS, the token and the versions of Ray and Python"
        yield Check("cluster", "fail", answer["error"], way_out)
        return
    nodes = answer["nodes"]
    yield Check("cluster", "ok", f"{address}: {len(nodes)} nodes, Ray {answer['ray']}")
    for node in nodes:
        have = ", ".join(f"{node[key]:g} {key}s" for key in ("CPU", "GPU"))
        yield Check(f"node {node['address']}", "ok", f"{have}, {node['memory'] / 2**30:.0f} GiB")
    if answer["shared"] is None:
        yield Check("shared storage", "ok", f"{out.absolute()} is one folder on all nodes")
    elif answer["shared"]:
        yield Check("shared storage", "fail", answer["shared"], "put --out where every node sees it")
    yield from _pools(needs, answer["free"])


def _wanted_cpus(needs: Needs) -> float:
    return float(needs.threads * (1 if needs.workers.cpu == "auto" else max(1, needs.workers.cpu)))


def _local_gpus() -> float:
    try:
        import torch
    except ModuleNotFoundError:
        return 0.0
    return float(torch.cuda.device_count())


def _pools(needs: Needs, free: Sequence[Resources]) -> Iterator[Check]:
    """Check whether the workers of each stage that may use a GPU fit."""
    from actors.cluster import pool_size

    stages: list[tuple[str, float, Any]] = [
        (f"workers of {modality} encoder", config.gpus, "auto") for modality, config in needs.encoders
    ]
    stages += [(f"workers of {model.name}", model.gpus, model.replicas) for model in needs.generating]
    for name, gpus, replicas in stages:
        try:
            size = pool_size(free, needs.workers, needs.threads, gpus, replicas)
        except BadInput as error:
            yield Check(name, "fail", str(error), "see examples and docs/deploy: models.replicas, workers")
            continue
        worker = f"{size.threads} CPUs" + (f" and {size.gpus:g} GPUs" if size.gpus else "")
        yield Check(name, "ok", f"{size.workers} of {worker}")


def _survey(address: str, out: Path) -> dict[str, Any]:
    """Return what `survey` says, from a process that can be ended: joining a cluster that does not answer may
    take for ever."""
    from actors.cluster import worker_env

    command = [
        sys.executable,
        "-c",
        "from jobs.doctor.checks import survey; survey()",
        address,
        str(out.absolute()),
    ]
    environ = {**os.environ, "PYTHONPATH": worker_env(1).get("PYTHONPATH", "")}
    try:
        process = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=CLUSTER_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"error": f"{address} did not answer within {CLUSTER_SECONDS:g} s"}
    lines = process.stdout.strip().splitlines()
    try:
        answer: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        reason = " ".join(process.stderr.split())[-200:]
        return {"error": f"{address} could not be asked (exit {process.returncode}: {reason})"}
    return answer


def survey() -> None:
    """Print, as JSON, what the cluster at `sys.argv[1]` is, and whether its nodes share `sys.argv[2]`."""
    from actors.cluster import connect
    from actors.storage import check_shared, working_nodes

    address, out = sys.argv[1], Path(sys.argv[2])
    try:
        with connect(WorkersConfig(address=address)) as cluster:
            import ray

            nodes = [
                {"address": node["NodeManagerAddress"]}
                | {name: node["Resources"].get(name, 0.0) for name in ("CPU", "GPU", "memory")}
                for node in ray.nodes()
                if node["Alive"]
            ]
            shared: str | None = ""
            if len(nodes) > 1:
                was_there = out.exists()
                try:
                    check_shared(out, working_nodes())
                    shared = None
                except BadInput as error:
                    shared = str(error)
                if not was_there:
                    shutil.rmtree(out, ignore_errors=True)
            free = [dict(node) for node in cluster.free]
            answer = {"nodes": nodes, "free": free, "ray": cluster.versions["ray"], "shared": shared}
    except AuditError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))
