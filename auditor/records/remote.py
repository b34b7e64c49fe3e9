"""Remote images are fetched within a size and a time. The caller decides whether an address may be read."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from fsspec.core import url_to_fs
from yarl import URL

from auditor.errors import RowError
from auditor.records import http as web
from auditor.records.sources import why
from schemas.record import Reason

_STALL_SECONDS = 10.0
_TOTAL_SECONDS = 60.0
_PIECE = 2**18
_HTTP = ("http://", "https://")


def fetch(url: str, max_bytes: int, private: bool = False) -> bytes:
    """Fetch the content of an allowed `url`: at most `max_bytes` + 1 bytes, so that the caller sees the
    excess.

    http and https by aiohttp: no redirects, no inflating, headers and body together within a minute however
    slowly they drip. A host's name must lead to public addresses only, unless `private`; the addresses that
    were looked at are those connected to (behind a proxy it is the proxy that resolves names). Other
    protocols by fsspec, whose clients keep their own stall limits. Raises `RowError` (image_missing;
    image_too_large; url_not_allowed for a redirect or a private address).
    """
    if url.lower().startswith(_HTTP):
        return web.run(_get(url, max_bytes, private))
    return read_remote(url, "", max_bytes)


async def _get(url: str, max_bytes: int, private: bool) -> bytes:
    timeout = aiohttp.ClientTimeout(
        total=_TOTAL_SECONDS, sock_connect=_STALL_SECONDS, sock_read=_STALL_SECONDS
    )
    try:
        address = URL(url, encoded=True)  # as it stands: what was allowed is what is asked for
        resolver = None if private else _PublicResolver(address.host or "")
        async with (
            web.session(1, timeout, resolver) as session,
            session.get(address, proxy=web.proxy_of(url), allow_redirects=False) as answer,
        ):
            if 300 <= answer.status < 400:
                raise RowError(Reason.URL_NOT_ALLOWED, "the address redirects to another one")
            if answer.status != 200:
                raise RowError(Reason.IMAGE_MISSING, f"cannot be fetched (status {answer.status})")
            if (answer.content_length or 0) > max_bytes:
                raise RowError(
                    Reason.IMAGE_TOO_LARGE,
                    f"more than {max_bytes:,} bytes; raise data.max_image_bytes to read it",
                )
            return await web.read_bounded(answer, max_bytes)
    except TimeoutError:
        raise RowError(
            Reason.IMAGE_MISSING,
            f"not fetched within {_TOTAL_SECONDS:.0f} s, or nothing came for {_STALL_SECONDS:.0f} s",
        ) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise RowError(Reason.IMAGE_MISSING, f"cannot be fetched ({why(error)})") from None


class _PublicResolver(AbstractResolver):
    """A `_PublicResolver` resolves names, and refuses `host` where it leads into this machine or a private
    network: whoever owns a name decides where it leads, and may change it."""

    def __init__(self, host: str) -> None:
        self._host, self._inner = host, ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        addresses = await self._inner.resolve(host, port, family)
        if host == self._host and not all(is_public(address["host"]) for address in addresses):
            raise RowError(
                Reason.URL_NOT_ALLOWED, "the host's name leads to a private address (see data.url_private)"
            )
        return addresses

    async def close(self) -> None:
        await self._inner.close()


def is_public(address: str) -> bool:
    """Return whether a numeric address is one of the open internet: not this machine, a private or link-local
    net, multicast or reserved."""
    number = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(number, ipaddress.IPv6Address) and number.ipv4_mapped is not None:
        number = number.ipv4_mapped
    return number.is_global and not number.is_multicast


def read_remote(root: str, path: str, max_bytes: int) -> bytes:
    """Read at most `max_bytes` + 1 bytes of `path` (itself never parsed as an address) under the URI
    `root`."""
    if root.lower().startswith(_HTTP):
        return web.run(_get(f"{root.rstrip('/')}/{quote(path)}", max_bytes, private=True))
    try:
        fs, inner = url_to_fs(root)
        with fs.open(f"{inner.rstrip('/')}/{path}" if path else inner, "rb") as file:
            return _collect(file.read, max_bytes)
    except RowError:
        raise
    except Exception as error:  # storage clients have exception families of their own
        raise RowError(Reason.IMAGE_MISSING, f"cannot be fetched ({why(error)})") from None


def _collect(read: Callable[[int], bytes], max_bytes: int) -> bytes:
    deadline = time.monotonic() + _TOTAL_SECONDS
    data = bytearray()
    while len(data) <= max_bytes and (piece := read(min(_PIECE, max_bytes + 1 - len(data)))):
        data += piece
        if time.monotonic() > deadline:
            raise RowError(Reason.IMAGE_MISSING, f"not fetched within {_TOTAL_SECONDS:.0f} s")
    return bytes(data)
