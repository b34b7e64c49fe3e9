"""These checks find what the nodes of a cluster share: a folder that all write and read, directories that are
the same on all, images that all can open. Every node that may hold a worker is asked before the work starts.
No wait is without a limit, and what is wrong names the node and the path."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.cluster import worker_env
from auditor.errors import AuditError, BadInput, RowError
from auditor.records.media import MediaPolicy, load_image
from auditor.storage.run_dir import write_bytes
from schemas.record import Image

ANSWER_SECONDS = 120.0
"""How long a node may take to answer: starting a process on a busy node is most of it."""
SEEN_SECONDS = 20.0
"""How long a file that another node has written may take to be seen."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Node:
    """This node may hold workers."""

    id: str
    address: str

    def __str__(self) -> str:
        return f"node {self.address} ({self.id[:8]})"


def working_nodes() -> tuple[Node, ...]:
    """Return the living nodes that have CPUs to give, in a fixed order."""
    nodes = [
        Node(node["NodeID"], node["NodeManagerAddress"])
        for node in ray.nodes()
        if node["Alive"] and node.get("Resources", {}).get("CPU", 0) > 0
    ]
    return tuple(sorted(nodes, key=lambda node: (node.address, node.id)))


def check_shared(folder: Path, nodes: Sequence[Node], wait_seconds: float = ANSWER_SECONDS) -> None:
    """Check that every node writes a token into `folder`, and reads what this process and all others wrote.

    Raises `BadInput`, with node and path, where one does not.
    """
    probe = folder / f".probe-{secrets.token_hex(8)}"
    tokens = {"driver": secrets.token_hex(16)} | {node.id: secrets.token_hex(16) for node in nodes}
    try:
        probe.mkdir(parents=True)
        write_bytes(probe / "driver", tokens["driver"].encode())
        wrote = ask(nodes, _write, [(str(probe), node.id, tokens[node.id]) for node in nodes], wait_seconds)
        _check_answers(wrote, folder, "write into")
        read = ask(nodes, _read, [(str(probe), tokens, SEEN_SECONDS)] * len(nodes), wait_seconds)
        _check_answers(read, folder, "read")
        if (problem := _read(str(probe), tokens, SEEN_SECONDS)) is not None:
            raise BadInput(f"this process cannot read {folder} as the nodes do: {problem}; {_WAY_OUT}")
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(probe, ignore_errors=True)


_WAY_OUT = "put --out on storage that every node mounts at the same path (NFS, EFS, Filestore, Lustre, ...)"


def _check_answers(answers: Mapping[Node, str | None], folder: Path, action: str) -> None:
    bad = [(node, reason) for node, reason in answers.items() if reason is not None]
    if bad:
        node, reason = bad[0]
        rest = f" (nor do {len(bad) - 1} other nodes)" if len(bad) > 1 else ""
        raise BadInput(f"{node} does not {action} {folder}: {reason}{rest}; {_WAY_OUT}")


def _write(folder: str, name: str, token: str) -> str | None:
    try:
        write_bytes(Path(folder) / name, token.encode())
    except OSError as error:
        return error.strerror or str(error)
    return None


def _read(folder: str, tokens: Mapping[str, str], seconds: float) -> str | None:
    """Return what is wrong with the first token that is not seen within `seconds` in all."""
    deadline = time.monotonic() + seconds
    for name, token in tokens.items():
        while True:
            try:
                text = (Path(folder) / name).read_text(encoding="utf-8")
                problem = None if text == token else "another content than was written"
            except OSError as error:
                problem = error.strerror or str(error)
            if problem is None:
                break
            if time.monotonic() > deadline:
                writer = "this job's driver" if name == "driver" else f"node {name[:8]}"
                return f"the file that {writer} wrote is not seen ({problem})"
            time.sleep(0.2)
    return None


def check_directory(path: Path, nodes: Sequence[Node], wait_seconds: float = ANSWER_SECONDS) -> None:
    """Check that every node has the directory `path` (of weights), with files of the same names and sizes.
    Raises `BadInput` where one has not."""
    listings = ask(nodes, _listing, [(str(path),)] * len(nodes), wait_seconds)
    way_out = "put it on storage that every node mounts, or copy it to all of them"
    for node, listing in listings.items():
        if listing is None:
            raise BadInput(f"{node} has no directory {path}; {way_out}")
    if len(set(listings.values())) > 1:
        first, *rest = listings
        different = next(node for node in rest if listings[node] != listings[first])
        raise BadInput(f"{path} does not hold the same files on {first} and {different}; {way_out}")


def _listing(path: str) -> str | None:
    if not Path(path).is_dir():
        return None
    files = sorted(
        (os.path.relpath(file, path), file.stat().st_size) for file in Path(path).rglob("*") if file.is_file()
    )
    return hashlib.sha256(repr(files).encode()).hexdigest()


def all_can_open(
    images: Sequence[Image], policy: MediaPolicy, nodes: Sequence[Node], wait_seconds: float = ANSWER_SECONDS
) -> bool:
    """Return whether every node opens those of `images` that this process opens (one that has gone since it
    was admitted tells nothing about the nodes)."""
    readable = [image for image in images if _opens(image, policy)]
    if not readable:
        return True
    return all(ask(nodes, _open_all, [(readable, policy)] * len(nodes), wait_seconds).values())


def _open_all(images: Sequence[Image], policy: MediaPolicy) -> bool:
    return all(_opens(image, policy) for image in images)


def _opens(image: Image, policy: MediaPolicy) -> bool:
    try:
        load_image(image, policy)
    except RowError:
        return False
    return True


def ask(
    nodes: Sequence[Node],
    function: Callable[..., T],
    arguments: Sequence[tuple[Any, ...]],
    wait_seconds: float,
) -> dict[Node, T]:
    """Call `function(*arguments[i])` on node i, on all at once. Raises `AuditError` that names the node where
    one does not answer within `wait_seconds`, or dies."""
    calls = {
        ray.remote(function)
        .options(
            num_cpus=0,  # nodes are asked although their CPUs are taken
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            runtime_env={"env_vars": worker_env(1)},
        )
        .remote(*values): node
        for node, values in zip(nodes, arguments, strict=True)
    }
    _, late = ray.wait(list(calls), num_returns=len(calls), timeout=wait_seconds)
    if late:
        for reference in late:
            ray.cancel(reference, force=True)
        raise AuditError(f"{calls[late[0]]} did not answer within {wait_seconds:g} s; is it well?")
    answers: dict[Node, T] = {}
    for reference, node in calls.items():
        try:
            answers[node] = ray.get(reference)
        except RayError as error:
            why = " ".join(str(error).split())[:200]
            raise AuditError(f"{node} could not be asked what it sees ({why})") from error
    return answers
