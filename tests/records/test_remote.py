"""Images from URLs, against a real HTTP server that does what servers of strangers do."""

from __future__ import annotations

import contextlib
import gzip
import io
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from auditor.errors import RowError
from auditor.records import MediaPolicy, admit, load_image, remote
from auditor.records.remote import is_public
from schemas.record import Image, Quarantined, Reason, Record


def encoded(image: Pillow.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


PNG = encoded(Pillow.new("RGB", (8, 6), "red"))
BOMB = encoded(Pillow.new("1", (20_000, 20_000)))
"""400 million pixels in 50 kB."""


class Images:
    """The server: what it does at a path (given its connection), and which paths were asked for."""

    def __init__(self, behaviours: dict[str, Callable[[Any], None]]) -> None:
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.ended = threading.Event()
        images = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                images.asked.append(self.path)
                images.headers.append(dict(self.headers))
                with contextlib.suppress(OSError):  # the client may have had enough
                    behaviours.get(self.path, lambda h: h.send_error(404))(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def port(self) -> int:
        return self.server.server_port

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self.ended.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def send(data: bytes, status: int = 200, **headers: str) -> Callable[[Any], None]:
    def behave(handler: Any) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)

    return behave


def drip(data: bytes, pause: float) -> Callable[[Any], None]:
    """One byte after another, for ever."""

    def behave(handler: Any) -> None:
        handler.wfile.write(data)
        while True:
            handler.wfile.write(b"x")
            time.sleep(pause)

    return behave


def endless(handler: Any) -> None:
    send(b"")(handler)
    for _ in range(4096):
        handler.wfile.write(b"\0" * 2**16)


HEAD = b"HTTP/1.0 200 OK\r\n"


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> Iterator[Images]:
    monkeypatch.setenv("no_proxy", "*")
    server = Images(
        {
            "/a.png": send(PNG),
            "/b%2b+.png?x=%20y": send(PNG),
            "/pub/%C3%BC%20%23%3F.png": send(PNG),
            "/bomb.png": send(BOMB),
            "/gzip.png": send(gzip.compress(b"\0" * 2**24), Content_Encoding="gzip"),
            "/short.png": send(PNG, Content_Length=str(len(PNG) // 2)),
            "/long.png": send(PNG, Content_Length=str(len(PNG) + 20)),
            "/boast.png": send(PNG, Content_Length=str(2**40)),
            "/negative.png": send(PNG, Content_Length="-5"),
            "/endless.png": endless,
            "/drip-body.png": drip(HEAD + b"\r\n", 0.05),
            "/drip-header.png": drip(HEAD + b"X-Slow: ", 0.05),
            "/silent.png": lambda handler: server.ended.wait(20),
            "/headers.png": lambda h: h.wfile.write(HEAD + b"X-A: " + b"a" * 2**20 + b"\r\n\r\n" + PNG),
            "/nonsense.png": lambda h: h.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n"),
            **{
                f"/moved-{status}.png": send(b"", status, Location="/a.png")
                for status in (301, 302, 303, 307, 308)
            },
            "/away.png": send(b"", 302, Location="http://169.254.169.254/latest/meta-data/"),
            "/file.png": send(b"", 302, Location="file:///etc/passwd"),
            "/refresh.png": send(
                b"<meta http-equiv=refresh content='0;url=/a.png'>", Refresh="0; url=/a.png"
            ),
        }
    )
    yield server
    server.close()


def reason(url: str, policy: MediaPolicy) -> Reason:
    with pytest.raises(RowError) as caught:
        load_image(Image(path=url), policy)
    assert caught.value.detail
    return caught.value.reason


def test_fetching_within_the_limit(images: Images) -> None:
    policy = MediaPolicy(url_allow=(images.host,))
    assert load_image(Image(path=f"http://{images.host}/a.png"), policy) == PNG
    assert load_image(Image(path=f"http://{images.host}/b%2b+.png?x=%20y"), policy) == PNG  # as it stands
    assert reason(f"http://{images.host}/gone.png", policy) is Reason.IMAGE_MISSING
    for most in (20, len(PNG) - 1):
        small = MediaPolicy(url_allow=(images.host,), max_bytes=most)
        assert reason(f"http://{images.host}/a.png", small) is Reason.IMAGE_TOO_LARGE
    exact = MediaPolicy(url_allow=(images.host,), max_bytes=len(PNG))
    assert load_image(Image(path=f"http://{images.host}/a.png"), exact) == PNG
    assert not any("Authorization" in sent or "Cookie" in sent for sent in images.headers)


@pytest.mark.parametrize(
    "page", ["moved-301", "moved-302", "moved-303", "moved-307", "moved-308", "away", "file"]
)
def test_redirects_are_not_followed(images: Images, page: str) -> None:
    policy = MediaPolicy(url_allow=(images.host, "file:///", "http://169.254.169.254/"))
    assert reason(f"http://{images.host}/{page}.png", policy) is Reason.URL_NOT_ALLOWED
    assert images.asked == [f"/{page}.png"]


def test_a_page_that_refreshes_is_no_image(images: Images) -> None:
    policy = MediaPolicy(url_allow=(images.host,))
    assert reason(f"http://{images.host}/refresh.png", policy) is Reason.IMAGE_CORRUPT
    assert images.asked == ["/refresh.png"]


def test_credentials_and_other_spellings_of_a_host_are_refused(images: Images) -> None:
    """Whatever a URL's host may be read as, nothing but what the list has is asked."""
    number = int(ipaddress.ip_address("127.0.0.1"))
    port = images.port
    policy = MediaPolicy(url_allow=("allowed.example", f"http://allowed.example:{port}/"))
    for url in (
        f"http://{images.host}/a.png",
        f"http://allowed.example@{images.host}/a.png",
        f"http://allowed.example:80@{images.host}/a.png",
        f"http://{images.host}#@allowed.example/a.png",
        f"http://{images.host}\\@allowed.example/a.png",
        f"http://{images.host}%2F@allowed.example/a.png",
        f"http://{number}:{port}/a.png",
        f"http://0x7f.1:{port}/a.png",
        f"http://127.1:{port}/a.png",
        f"http://[::ffff:127.0.0.1]:{port}/a.png",
        f"http://allowed.example.:{port}/a.png",
        f"http://allowed.example%00.{images.host}/a.png",
        f"http://{images.host}/http://allowed.example/a.png",
        f"http:{images.host}/a.png",
        f"http:///{images.host}/a.png",
        f"//{images.host}/a.png",
    ):
        with pytest.raises(RowError) as caught:
            load_image(Image(path=url), policy)
        assert caught.value.reason in (Reason.URL_NOT_ALLOWED, Reason.IMAGE_OUTSIDE_ROOT)
    assert images.asked == []


def test_a_name_that_leads_inside_needs_leave(images: Images) -> None:
    """`localhost` is such a name, whatever the list says; the number in the list is its own leave."""
    name = f"localhost:{images.port}"
    assert reason(f"http://{name}/a.png", MediaPolicy(url_allow=(name,))) is Reason.URL_NOT_ALLOWED
    assert images.asked == []
    allowed = MediaPolicy(url_allow=(name,), url_private=True)
    assert load_image(Image(path=f"http://{name}/a.png"), allowed) == PNG


def test_a_name_that_leads_inside_the_second_time(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: what was looked at is what is connected to, since a name is resolved once a fetch."""
    real, answers = socket.getaddrinfo, iter(["192.0.2.1", "127.0.0.1", "127.0.0.1"])

    def rebinding(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        return real(next(answers) if host == "rebind.example" else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(remote, "is_public", lambda address: address != "127.0.0.1")  # of a test network
    monkeypatch.setattr(remote, "_STALL_SECONDS", 0.5)
    name = f"rebind.example:{images.port}"
    policy = MediaPolicy(url_allow=(name,))
    assert reason(f"http://{name}/a.png", policy) is Reason.IMAGE_MISSING  # nobody is at the first address
    assert reason(f"http://{name}/a.png", policy) is Reason.URL_NOT_ALLOWED
    assert images.asked == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        *(
            (address, False)
            for address in (
                "127.0.0.1",
                "0.0.0.0",
                "10.1.2.3",
                "172.16.0.1",
                "192.168.1.1",
                "100.64.0.1",
                "169.254.169.254",
                "224.0.0.1",
                "255.255.255.255",
                "::1",
                "::",
                "fe80::1%eth0",
                "fd00::1",
                "ff02::1",
                "::ffff:127.0.0.1",
                "::ffff:10.0.0.1",
            )
        ),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


@given(st.ip_addresses())
def test_every_address_is_one_or_the_other(address: Any) -> None:
    assert is_public(str(address)) in (True, False)
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert not is_public(str(address))


def test_bombs(images: Images) -> None:
    policy = MediaPolicy(url_allow=(images.host,), max_bytes=2**20)
    assert reason(f"http://{images.host}/bomb.png", policy) is Reason.IMAGE_TOO_LARGE
    assert reason(f"http://{images.host}/gzip.png", policy) is Reason.IMAGE_MISSING  # never inflated
    assert images.headers[-1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("short", None),  # cut there, or refused: as the pieces come in
        ("long", Reason.IMAGE_MISSING),
        ("boast", Reason.IMAGE_TOO_LARGE),
        ("negative", Reason.IMAGE_MISSING),
        ("headers", Reason.IMAGE_MISSING),
        ("nonsense", Reason.IMAGE_MISSING),
    ],
)
def test_lies_about_the_length(images: Images, page: str, expected: Reason | None) -> None:
    policy = MediaPolicy(url_allow=(images.host,), max_bytes=2**20)
    found = reason(f"http://{images.host}/{page}.png", policy)
    assert found in ((Reason.IMAGE_TRUNCATED, Reason.IMAGE_MISSING) if expected is None else (expected,))


def test_a_body_without_end_is_read_up_to_the_limit(images: Images) -> None:
    import tracemalloc

    policy = MediaPolicy(url_allow=(images.host,), max_bytes=2**20)
    tracemalloc.start()
    assert reason(f"http://{images.host}/endless.png", policy) is Reason.IMAGE_TOO_LARGE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20  # of 256 MiB


@pytest.mark.parametrize("page", ["drip-body", "drip-header", "silent"])
def test_slow_servers_meet_the_total_limit(
    images: Images, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drip never stalls for long: only a limit on the whole ends it, in the headers too."""
    monkeypatch.setattr(remote, "_STALL_SECONDS", 0.6)
    monkeypatch.setattr(remote, "_TOTAL_SECONDS", 1.2)
    began = time.monotonic()
    assert reason(f"http://{images.host}/{page}.png", MediaPolicy(url_allow=(images.host,))) is (
        Reason.IMAGE_MISSING
    )
    assert time.monotonic() - began < 15


def test_admitted_rows_stay_and_the_others_are_quarantined(images: Images) -> None:
    paths = ["a.png", "moved-302.png", "gone.png", "a.png"]
    records = [
        Record(f"r{i}", f"r{i}", (Image(path=f"http://{images.host}/{path}"),), "q")
        for i, path in enumerate(paths)
    ]
    rows = list(admit(records, MediaPolicy(url_allow=(images.host,)), scenario="s"))
    assert [r.reason if isinstance(r, Quarantined) else r.images[0].digest is not None for r in rows] == [
        True,
        Reason.URL_NOT_ALLOWED,
        Reason.IMAGE_MISSING,
        True,
    ]


def test_a_root_on_a_server(images: Images) -> None:
    """The operator named it, so it may lead inside; its redirects are not followed either."""
    policy = MediaPolicy(root=f"http://localhost:{images.port}/")
    assert load_image(Image(path="pub/ü #?.png"), policy) == PNG
    assert load_image(Image(path=f"http://localhost:{images.port}/a.png"), policy) == PNG
    assert reason("moved-302.png", policy) is Reason.URL_NOT_ALLOWED
    assert reason("gone.png", policy) is Reason.IMAGE_MISSING
    for path in ("../a.png", "pub/../a.png", "/a.png"):
        assert reason(path, policy) is Reason.IMAGE_OUTSIDE_ROOT
    assert reason(f"http://{images.host}/a.png", policy) is Reason.URL_NOT_ALLOWED


def test_what_netrc_has_is_not_sent(images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login me password secret\n")
    os.chmod(netrc, 0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    load_image(Image(path=f"http://{images.host}/a.png"), MediaPolicy(url_allow=(images.host,)))
    assert "Authorization" not in images.headers[0]


def test_through_the_proxy_that_the_environment_names(
    images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is the proxy here: it is asked for the whole address."""
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", f"http://{images.host}")
    assert reason("http://images.example/x.png", MediaPolicy(url_allow=("images.example",))) is (
        Reason.IMAGE_MISSING
    )
    assert images.asked == ["http://images.example/x.png"]
