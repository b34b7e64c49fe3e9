"""What tests of several packages share: the command line run in this process, a small local Ray, the place of
a job, a server of chat completions that does as it is told, a node that sees another root."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

SLOW = (
    "actors/",
    "estimators/test_club.py::test_the_same_call_gives_the_same_bits",
    "estimators/test_club.py::test_trained_critic_comes_near_the_closed_form",
    "estimators/test_crossfit.py",
    "estimators/test_lower_bounds.py",
    "estimators/test_sweep.py",
    "examples/",
    "jobs/doctor/test_checks.py",
    "jobs/test_blindness.py",
    "jobs/test_compare.py",
    "jobs/test_full_disk.py",
    "jobs/test_golden.py",
    "jobs/test_graders.py",
    "jobs/test_submit.py",
    "jobs/test_train_lab.py",
    "pipeline/test_audit.py",
    "pipeline/test_audit_vllm.py",
    "pipeline/test_drift.py",
    "pipeline/test_drift_foreign.py",
    "pipeline/test_drift_windows.py",
    "pipeline/test_endpoint_audit.py",
    "pipeline/test_executors.py",
    "pipeline/test_many_nodes.py",
    "pipeline/test_measure.py",
    "pipeline/test_partition.py",
    "pipeline/test_streaming.py",
    "pipeline/test_streaming_again.py",
    "records/formats/test_round_trip.py::test_the_profiles_are_equal_to_the_bit",
    "risk/test_identified.py::test_it_covers_the_exact_truth_of_new_mixes",
    "risk/test_reweighted.py::test_a_critic_cross_fitted_on_the_labelled_rows_comes_nearer",
    "risk/test_reweighted.py::test_new_mixes_are_estimated_and_covered",
    "significance/test_two_sample.py::test_excess_is_0_without_a_shift[90-90-256]",
    "significance/test_two_sample.py::test_the_interval_reaches_the_excess_where_a_long_tail_keeps_its_bias",
    "significance/test_two_sample.py::test_without_a_shift_the_interval_holds_zero_about_as_often_as_it_says",
)
"""Folders, modules and tests that start clusters, train models, run whole jobs or simulate for long; the rest
(`-m "not slow"`) still has tests of every room."""

CLUSTER = (
    "tests/actors/",
    "tests/jobs/doctor/",
    "tests/jobs/test_submit.py",
    "tests/pipeline/test_audit.py",
    "tests/pipeline/test_executors.py",
    "tests/pipeline/test_many_nodes.py",
    "tests/test_api.py",
)
"""Folders and modules that mostly test clusters. With several workers (`-n 2`) one of them runs all of them,
one after the other, so that few clusters take each other's cores; the others do the rest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    root = Path(__file__).parent
    for item in items:
        if f"{item.path.relative_to(root).as_posix()}::{item.name}".startswith(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ClustersTogether(LoadScopeScheduling):
        """The tests of CLUSTER are one piece of work, each other test is one by itself."""

        def _split_scope(self, nodeid: str) -> str:
            return "clusters" if nodeid.startswith(CLUSTER) else nodeid

    return ClustersTogether(config, log)


@pytest.fixture(scope="session")
def registered() -> Iterator[list[Callable[[], None]]]:
    """What undoes each registration of another package's name, in the order of the registrations."""
    from auditor.registry import Registry

    undo: list[Callable[[], None]] = []
    add = Registry.add

    def noted(self: Any, name: str, value: Any, home: Any, shown: str | None = None) -> None:
        before = [dict(part) for part in (self._values, self._homes, self._shown)]
        add(self, name, value, home, shown)
        if not self.ours(name):

            def back() -> None:
                for part, was in zip((self._values, self._homes, self._shown), before, strict=True):
                    part.pop(name, None)
                    part.update({name: was[name]} if name in was else {})

            undo.append(back)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "add", noted)
        yield undo


@pytest.fixture(autouse=True)
def names_go_with_their_test(registered: list[Callable[[], None]]) -> Iterator[None]:
    """What a test registers is gone after it; what a test's module registers while it is imported stays."""
    yield
    while registered:
        registered.pop()()


@dataclass
class Reply:
    """What the server sends. `how`: as HTTP wants it, never, or cut off in the middle of the body."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    how: Literal["whole", "hang", "reset"] = "whole"

    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: Any


def chat(*texts: str | None, logprobs: list[float] | None = None, **choice: Any) -> dict[str, Any]:
    """A reply with these answers; `logprobs` of the tokens of each."""
    given = None if logprobs is None else {"content": [{"token": "t", "logprob": v} for v in logprobs]}
    return {
        "object": "chat.completion",
        "choices": [
            {
                "index": i,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
                "logprobs": given,
                **choice,
            }
            for i, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3},
    }


class ChatServer:
    """A real HTTP server on this machine. `answer` is called with each body of a chat (in a server's thread)
    and says what to send; `requests` holds what came."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[dict[str, Any]], Reply] = lambda body: Reply(chat(*["yes"] * body["n"]))
        self.models = Reply({"data": [{"id": "m", "owned_by": "us", "root": "m-7", "created": 1}]})
        self.version = Reply({"version": "0.32.0"})
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The bodies of the chats, in the order in which they came."""
        return [request.body for request in self.requests if request.path == "/v1/chat/completions"]

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _reply(self, request: Request) -> Reply:
        if request.path == "/v1/chat/completions":
            return self.answer(request.body)
        return {"/v1/models": self.models, "/version": self.version}.get(request.path, Reply(status=404))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._serve(None)

            def do_POST(self) -> None:
                self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _serve(self, body: Any) -> None:
                request = Request(self.path, dict(self.headers), body)
                with server.lock:
                    server.requests.append(request)
                    server.under_way += 1
                    server.most_under_way = max(server.most_under_way, server.under_way)
                try:
                    self._send(server._reply(request))
                except OSError:  # the client has gone, as some tests want it to
                    self.close_connection = True
                finally:
                    with server.lock:
                        server.under_way -= 1

            def _send(self, reply: Reply) -> None:
                if reply.how == "hang":
                    server.ended.wait(30)
                    self.close_connection = True
                    return
                data = reply.data()
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(data)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if reply.how == "reset":
                    self.wfile.write(data[: len(data) // 2])
                    self.wfile.flush()
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    self.close_connection = True
                    return
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        return Handler


@contextmanager
def workplace_at(
    run: Any, name: str, workers: Any, shards: Any, progress: Any = None, media: Any = None
) -> Iterator[Any]:
    """A `Workplace` in the folder of `run`, on the executor of this name."""
    from auditor.pipeline.choice import find
    from auditor.pipeline.progress import Silent, Stopwatch
    from auditor.pipeline.workplace import Workplace
    from auditor.records import MediaPolicy

    watch = Stopwatch(progress or Silent())
    with find(name)(workers, shards.threads, watch) as executor:
        yield Workplace(run, executor, shards, watch, media or MediaPolicy())


@pytest.fixture
def chat_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A `ChatServer`; with `.reply(...)` and `.chat(...)` to say what it sends."""
    monkeypatch.setenv("no_proxy", "*")
    server: Any = ChatServer()
    server.reply, server.chat = Reply, chat
    yield server
    server.close()


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


@pytest.fixture(scope="session")
def run() -> Callable[..., int]:
    """`run(monkeypatch, *words)`: the exit code of `auditor WORDS`."""

    from jobs.cli import main

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

    import ray

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
