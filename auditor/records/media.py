"""The media policy says which images may be opened, and how large they may be. A record cannot have a file
opened by naming it: paths stay under the declared root, URLs need an allow-list, sizes are checked before
pixels are decoded (`auditor.records.pictures`)."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, unquote, urlsplit

from auditor.errors import BadInput, RowError
from auditor.records.pictures import MAX_PIXELS, allow_pixels, decode, inspect
from auditor.records.remote import fetch, read_remote
from auditor.records.sources import is_uri, shown, why
from schemas.record import Image, Reason, Record

THUMBNAIL = 128
_PLAIN_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[!-\[\]-~]+")  # printable ASCII, no backslash
_TWO_MEANINGS = re.compile(r"(^|/)\.\.?(/|$)|%(2e|2f|5c)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """A `MediaPolicy` says what may be opened. Raises `BadInput` where the root is no folder."""

    root: Path | str | None = None
    """Folder (or URI) that image paths are relative to, and that they may not leave."""
    max_bytes: int = 32 * 2**20
    max_pixels: int = MAX_PIXELS
    url_allow: tuple[str, ...] = ()
    """Hosts (`images.example.org`) or prefixes (`https://images.example.org/public/`, `s3://bucket/a/`)."""
    url_private: bool = False
    """Whether host names of `url_allow` may lead to private addresses."""

    def __post_init__(self) -> None:
        folder = self.folder
        if folder is not None and not folder.is_dir():
            raise BadInput(f"data.media_root: {folder} is no folder; create it or correct the path")

    @property
    def folder(self) -> Path | None:
        """Return the root where it is local (`file://` is)."""
        if self.root is None:
            return None
        root = str(self.root)
        if root.lower().startswith("file://"):
            return Path(unquote(urlsplit(root).path))
        return None if is_uri(root) else Path(root)


def load_image(image: Image, policy: MediaPolicy) -> bytes:
    """Return the encoded bytes of `image`, allowed by `policy`; its header says a format that is read and a
    size within the limits. Whether its pixels are whole is found where they are decoded (`decode`).

    An image that was admitted (has a digest) must still have the bytes it had then. Raises `RowError`:
    image_missing, image_outside_root, url_not_allowed, image_too_large, image_format_not_read,
    image_truncated, image_corrupt, image_changed.
    """
    allow_pixels(policy.max_pixels)
    data = _read(image, policy)
    if image.digest is None:
        inspect(data, policy.max_pixels)
    elif hashlib.sha256(data).hexdigest() != image.digest:
        raise RowError(Reason.IMAGE_CHANGED, "the file is another than when it was admitted")
    return data


def _read(image: Image, policy: MediaPolicy) -> bytes:
    if image.data is not None:
        if len(image.data) > policy.max_bytes:
            raise _too_many_bytes(policy)
        return image.data
    path = image.path or ""
    lowered = path.lower()
    if lowered.startswith("file://"):
        host, slash, local = path[len("file://") :].partition("/")
        if host.lower() not in ("", "localhost"):
            raise RowError(Reason.IMAGE_OUTSIDE_ROOT, "a file:// address of another machine")
        return read_under_root(slash + unquote(local), policy)
    if lowered.startswith("data:"):
        raise RowError(Reason.URL_NOT_ALLOWED, "data: addresses are not read; use image_bytes")
    if not is_uri(path):
        return read_under_root(path, policy)
    root = None if policy.root is None or policy.folder is not None else str(policy.root)
    if root is not None and allowed(path, (root.rstrip("/") + "/",)):
        return _bounded(fetch(path, policy.max_bytes, private=True), policy)
    if not allowed(path, policy.url_allow):
        raise RowError(Reason.URL_NOT_ALLOWED, f"{shown(path)} is not in data.url_allow")
    return _bounded(fetch(path, policy.max_bytes, policy.url_private), policy)


def allowed(url: str, allow: tuple[str, ...]) -> bool:
    """Return whether `url` is http(s) on a host, or anything under a prefix, of `allow`. Addresses that could
    mean two things (credentials, `..`, escapes of path characters, chained protocols) never are."""
    if not _PLAIN_URL.fullmatch(url) or "::" in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if not parts.netloc or "@" in parts.netloc or _TWO_MEANINGS.search(parts.path):
        return False
    return any(_matches(parts, entry) for entry in allow)


def _matches(url: SplitResult, entry: str) -> bool:
    if not is_uri(entry):
        return url.scheme in ("http", "https") and url.netloc.lower() == entry.lower()
    prefix = urlsplit(entry)
    if (url.scheme, url.netloc.lower()) != (prefix.scheme, prefix.netloc.lower()):
        return False
    under = prefix.path.rstrip("/")
    return url.path == under or url.path.startswith(under + "/")


def read_under_root(path: str, policy: MediaPolicy) -> bytes:
    """Return the bytes of a file that a row names by its path under the root. Raises `RowError`:
    image_outside_root, image_missing, image_too_large."""
    if policy.root is None:
        raise RowError(Reason.IMAGE_OUTSIDE_ROOT, "set data.media_root to the folder of the images")
    if ".." in re.split(r"[/\\]", path):
        raise RowError(Reason.IMAGE_OUTSIDE_ROOT, "the path climbs with ..")
    folder = policy.folder
    if folder is None:
        if path.startswith("/") or "::" in path or "\x00" in path:
            raise RowError(Reason.IMAGE_OUTSIDE_ROOT, "the path is not relative to data.media_root")
        return _bounded(read_remote(str(policy.root), path, policy.max_bytes), policy)
    try:
        inside = os.path.realpath(folder, strict=True)  # of an image, pathlib takes longer than its reading
        target = os.path.realpath(os.path.join(inside, path), strict=True)
    except (OSError, ValueError, RuntimeError):  # missing, a NUL or too long a name, a loop of links
        named = Path(os.path.normpath(folder.absolute() / path))
        if not named.is_relative_to(folder.absolute()) and not named.is_relative_to(folder.resolve()):
            raise RowError(Reason.IMAGE_OUTSIDE_ROOT, "the path is not under data.media_root") from None
        raise RowError(Reason.IMAGE_MISSING, "no such file under data.media_root") from None
    if not target.startswith(os.path.join(inside, "")):
        raise RowError(Reason.IMAGE_OUTSIDE_ROOT, "the path leads out of data.media_root")
    return _read_file(target, policy)


def _read_file(path: str, policy: MediaPolicy) -> bytes:
    try:
        # `path` is resolved: a link now stands where none stood. Without O_NONBLOCK a pipe would hang us.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise RowError(Reason.IMAGE_MISSING, f"cannot be opened ({why(error)})") from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise RowError(Reason.IMAGE_MISSING, "no regular file")
    with os.fdopen(handle, "rb") as file:
        if status.st_size > policy.max_bytes:
            raise _too_many_bytes(policy)
        return _bounded(_take(file, policy), policy)


def _take(file: BinaryIO, policy: MediaPolicy) -> bytes:
    try:
        return file.read(policy.max_bytes + 1)  # it may have grown since its size was taken
    except OSError as error:
        raise RowError(Reason.IMAGE_MISSING, f"cannot be read ({why(error)})") from None


def _bounded(data: bytes, policy: MediaPolicy) -> bytes:
    if len(data) > policy.max_bytes:
        raise _too_many_bytes(policy)
    return data


def _too_many_bytes(policy: MediaPolicy) -> RowError:
    return RowError(
        Reason.IMAGE_TOO_LARGE,
        f"more than {policy.max_bytes:,} bytes; raise data.max_image_bytes to read it",
    )


def thumbnail(record: Record, policy: MediaPolicy) -> bytes | None:
    """Return a PNG of the record's first image, at most THUMBNAIL pixels a side; None where it has none that
    opens."""
    if not record.images:
        return None
    try:
        picture = decode(load_image(record.images[0], policy), policy.max_pixels, least=THUMBNAIL)
    except RowError:
        return None
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
