"""This program's HTTP follows no redirect, inflates nothing, and bounds the size of every body.

aiohttp is the client: it comes with `ray[default]`, streams bodies so that a bound is kept while reading, and
resolves names through a class of ours, so that the address that was looked at is the one connected to.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

T = TypeVar("T")

_PIECE = 2**16


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`; in a thread of its own where a loop runs here already (a notebook's)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def session(
    connections: int, timeout: aiohttp.ClientTimeout, resolver: AbstractResolver | None = None
) -> aiohttp.ClientSession:
    """Return a client without cookies and without `.netrc`; call it inside a running loop."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, resolver=resolver),
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,  # with it aiohttp would send what ~/.netrc has for a host
    )


def proxy_of(url: str) -> str | None:
    """Return the proxy that the environment names for `url` (http_proxy, https_proxy, no_proxy), if any."""
    parts = urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)


async def read_bounded(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the body, or its first `most` + 1 bytes, so that the caller sees the excess. Raises what aiohttp
    raises for a body that ends early, and ValueError for one that is compressed."""
    if answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise ValueError("the body is compressed, which was not asked for")
    data = bytearray()
    while len(data) <= most and (piece := await answer.content.read(min(_PIECE, most + 1 - len(data)))):
        data += piece
    return bytes(data)
