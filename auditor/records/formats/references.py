"""References to media that a vendor keeps beside its log become paths: the file is to lie under
`data.media_root` as `ID.ENDING`. The same rules hold for it as for every path; nothing is fetched."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

_LANGFUSE = re.compile(r"@@@langfuseMedia:type=([^|@]*)\|id=([^|@]*)\|source=[^|@]*@@@")
_MLFLOW = "mlflow-attachment://"
_ENDINGS = {"image/jpeg": "jpg", "image/svg+xml": "svg", "image/x-icon": "ico"}


def referenced(text: str) -> str | None:
    """Return the path of an image that a whole text refers to; None where it is no such reference."""
    text = text.strip()
    if (found := _LANGFUSE.fullmatch(text)) is not None:
        return _path(found[2], found[1])
    if text.startswith(_MLFLOW):
        try:
            parts = urlsplit(text)
            return _path(parts.netloc, parse_qs(parts.query).get("content_type", [""])[0])
        except ValueError:
            return None
    return None


def _path(media: str, kind: str) -> str | None:
    if not kind.startswith("image/") or not media or "/" in media:
        return None
    return f"{media}.{_ENDINGS.get(kind, kind.removeprefix('image/'))}"
