"""Images from elsewhere, within a size and a time. Whether an address may be read is decided before."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from fsspec.core import url_to_fs

from auditor.errors import RowError
from auditor.records.sources import why
from schemas.record import Reason

_STALL_SECONDS = 10.0
_TOTAL_SECONDS = 60.0
_PIECE = 2**18


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect leads to an address that nobody allowed."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        raise RowError(Reason.URL_NOT_ALLOWED, "the address redirects to another one")


def fetch(url: str, max_bytes: int) -> bytes:
    """The content of an allowed `url`: at most `max_bytes` + 1 bytes, so that the caller sees the excess.

    http and https by the standard library, without redirects; other protocols by fsspec, whose clients
    keep their own stall limits. Raises `RowError` (image_missing; url_not_allowed for a redirect).
    """
    if url.lower().startswith(("http://", "https://")):
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(url, timeout=_STALL_SECONDS) as answer:
                # read1 returns after one receive, so that a trickle meets the total limit
                return _collect(answer.read1, max_bytes)
        except (OSError, ValueError, HTTPException) as error:
            raise RowError(Reason.IMAGE_MISSING, f"cannot be fetched ({why(error)})") from None
    return read_remote(url, "", max_bytes)


def read_remote(root: str, path: str, max_bytes: int) -> bytes:
    """At most `max_bytes` + 1 bytes of `path` (itself never parsed as an address) under the URI `root`."""
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
