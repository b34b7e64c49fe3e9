"""The images of a row, however it names them: paths, addresses, bytes, base64, `data:` addresses, and the
structs of data sets. Nothing is opened here, and nothing fetched."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from auditor.errors import RowError
from auditor.records.coercions import Coercions
from auditor.records.lines import kind
from auditor.records.values import Unreadable, clean, nested, plain, scalar_text
from schemas.record import Image, Reason

FIELDS = ("image", "image_bytes", "images")
_DATA = re.compile(r"\s*data:", re.IGNORECASE)
_HEAD = re.compile(r"\s*(?:data:)?([^,]{0,200}),", re.IGNORECASE)
_BARE_HEAD = re.compile(r"\s*image/[a-z0-9.+-]{1,40}(;[^,]{0,100})?;base64,", re.IGNORECASE)
_BYTES = ("image_bytes", "bytes", "data", "b64_json", "base64")
_NAMES = ("image", "path", "url", "image_url", "uri", "file_name")
# How the bytes of a picture begin in base64: JPEG, PNG, GIF, WebP, TIFF (either order).
_ENCODED = ("/9j/", "_9j_", "iVBORw0KGgo", "R0lGOD", "UklGR", "SUkqA", "TU0AK")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]{48,}={0,2}\s*")
_SURELY_BASE64 = 512
"""A text of so many letters, digits, `+` and `/`, without a dot, is no path."""
_PLAIN = str.maketrans("-_", "+/")


def images(fields: Mapping[str, Any], coercions: Coercions) -> tuple[Image, ...]:
    """Return the images of `image` (or `image_bytes`), then those of `images`; an image of `images` that is
    that of `image` again is taken once. What was read otherwise than as the format has it is counted.

    Raises `RowError`: image_corrupt for bytes that cannot be read, image_missing for a null among `images`
    and an object that names no image. A row whose image is lost would be another question.
    """
    for name in FIELDS:
        if isinstance(value := fields.get(name), Unreadable):
            raise RowError(Reason.IMAGE_CORRUPT, f"`{name}`: {value.detail}")
    found: list[Image] = []
    data, named = plain(fields.get("image_bytes")), _value(fields, "image", coercions)
    if data is not None and not (isinstance(data, str) and not data.strip()):
        found.append(_encoded(data, "image_bytes", coercions))
    elif isinstance(named, list):
        if len(named) > 1:
            coercions["image", "taken as several images"] += 1
        found.extend(_listed(named, "image", coercions))
    elif (image := _one(named, "image", coercions)) is not None:
        found.append(image)
    first = found[:1]
    listed = _value(fields, "images", coercions)
    if isinstance(listed, dict) and any(isinstance(part, list) for part in listed.values()):
        listed = _transposed(listed)
    if isinstance(listed, list):
        found.extend(image for image in _listed(listed, "images", coercions) if image not in first)
    elif (image := _one(listed, "images", coercions)) is not None:
        coercions["images", "taken as one image"] += 1
        found.extend([image] if image not in first else [])
    return tuple(found)


def _value(fields: Mapping[str, Any], name: str, coercions: Coercions) -> Any:
    value = plain(fields.get(name))
    if value is None:
        return None
    parsed = nested(value, name, said := Coercions())
    if parsed is value:
        return value
    items = parsed if isinstance(parsed, list) else [parsed]
    if not items or not all(isinstance(item, str | dict) for item in items):
        return value  # a path may be of brackets, too
    coercions.update(said)
    return parsed


def _listed(items: list[Any], name: str, coercions: Coercions) -> list[Image]:
    found = []
    for position, item in enumerate(items):
        image = _one(item, name, coercions)
        if image is None:
            raise RowError(Reason.IMAGE_MISSING, f"`{name}[{position}]` is empty")
        found.append(image)
    return found


def _transposed(columns: dict[str, Any]) -> list[Any]:
    """A list of structs that was written as a struct of lists."""
    lists = {name: part for name, part in columns.items() if isinstance(part, list)}
    longest = max(map(len, lists.values()))
    return [{name: part[i] for name, part in lists.items() if i < len(part)} for i in range(longest)]


def _one(item: Any, name: str, coercions: Coercions, deep: bool = False) -> Image | None:
    item = plain(item)
    match item:
        case None:
            return None
        case bool():
            coercions[name, "left out, since it was a boolean"] += 1
            return None
        case dict():
            return _struct(item, name, coercions, deep)
        case str():
            if not item.strip():
                return None
            if _is_encoded(item):
                coercions[name, f"taken from {'a data: address' if _is_data(item) else 'base64'}"] += 1
                return _encoded(item, name, coercions)
            return Image(path=clean(item))
        case bytes() | bytearray() | memoryview():
            return _encoded(bytes(item), name, coercions)
    if (text := scalar_text(item)) is not None:
        coercions[name, f"taken from {text.source}"] += 1
        return Image(path=clean(text.text))
    raise RowError(Reason.IMAGE_CORRUPT, f"`{name}` is {kind(item)}, not a path, an address, bytes or base64")


def _struct(item: dict[str, Any], name: str, coercions: Coercions, deep: bool) -> Image | None:
    """An image as data sets keep it (`{bytes, path}`, either of them null), MongoDB (`$binary`), or a chat
    (`{image_url: {url}}`)."""
    if (binary := item.get("$binary")) is not None:
        return _encoded(binary.get("base64") if isinstance(binary, dict) else binary, name, coercions)
    for key in _BYTES:
        if (data := plain(item.get(key))) is not None and data != "":
            return _encoded(data, name, coercions)
    for key in _NAMES:
        if (named := plain(item.get(key))) is not None and named != "":
            if deep and isinstance(named, dict):
                break
            return _one(named, name, coercions, deep=True)
    if all(plain(part) in (None, "") for part in item.values()):
        return None
    raise RowError(Reason.IMAGE_MISSING, f"`{name}` is an object without bytes, path or url")


def _is_data(text: str) -> bool:
    return _DATA.match(text) is not None or _BARE_HEAD.match(text) is not None


def _is_encoded(text: str) -> bool:
    if _is_data(text):
        return True
    if len(text) < _SURELY_BASE64 and not text.lstrip().startswith(_ENCODED):
        return False
    return _BASE64.fullmatch(text) is not None


def _encoded(data: Any, name: str, coercions: Coercions) -> Image:
    """The image of bytes, of base64, or of a `data:` address (as text or bytes)."""
    if isinstance(data, bytes) and data[:5].lower() == b"data:" and data.isascii():
        data = data.decode("ascii")
    if isinstance(data, str):
        if name == "image_bytes" and _is_data(data):
            coercions[name, "taken from a data: address"] += 1
        data = _decoded(data, name)
    if not isinstance(data, bytes):
        raise RowError(Reason.IMAGE_CORRUPT, f"`{name}` is {kind(data)}, not base64 or bytes")
    if not data:
        raise RowError(Reason.IMAGE_CORRUPT, f"`{name}` is empty")
    return Image(data=data)


def _decoded(text: str, name: str) -> bytes:
    if _is_data(text):
        head = _HEAD.match(text)
        if head is None:
            raise RowError(Reason.IMAGE_CORRUPT, f"`{name}` is a data: address without a comma")
        rest = text[head.end() :]
        if not head[1].lower().rstrip().endswith("base64"):
            return unquote_to_bytes(rest)
        text = unquote_to_bytes(rest).decode("latin-1") if "%" in rest else rest
    letters = "".join(text.split()).translate(_PLAIN).rstrip("=")
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise RowError(Reason.IMAGE_CORRUPT, f"`{name}` is not base64") from None
