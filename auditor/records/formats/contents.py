"""The content of a message: a text, or parts of it. All vendors' parts are read here, since logs mix them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from auditor.records.formats.references import referenced
from auditor.records.formats.values import text_of

TEXTS = ("text", "input_text", "output_text", "summary_text")
THOUGHTS = ("reasoning", "thinking", "redacted_thinking")
CALLS = ("tool_call", "tool_use", "function_call", "server_tool_call", "server_tool_use")
RESULTS = ("tool_call_response", "tool_result", "function_call_output", "server_tool_call_response")
OTHER_MEDIA = ("input_audio", "audio", "video", "video_url", "input_video", "input_file", "document")
MARK = "<image>"
"""Where an image stands in the text of LLaVA's kin. The image itself stands elsewhere in the row."""


@dataclass(slots=True)
class Content:
    """A `Content` is what a message says and shows."""

    texts: list[str] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    """Items of the public field `images`."""
    withheld: int = 0
    """Parts whose content the log has not."""
    other_media: int = 0
    """Sounds, videos and documents, which are not audited."""
    places: int = 0
    """Images that are named only by their place: they stand elsewhere in the row."""

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def add(self, other: Content) -> None:
        """Take over what another content has."""
        self.texts += other.texts
        self.images += other.images
        self.withheld += other.withheld
        self.other_media += other.other_media
        self.places += other.places


def read_content(value: Any) -> Content:
    """Return the content of a message: null, a text, a part, or a list of parts."""
    content = Content()
    for part in value if isinstance(value, list | tuple) else [value]:
        match part:
            case None:
                pass
            case str():
                if (path := referenced(part)) is not None:
                    content.images.append(path)
                elif part.strip():
                    content.texts.append(part)
            case Mapping():
                _read_part(part, content)
            case _:
                content.withheld += 1
    return content


def _read_part(part: Mapping[str, Any], content: Content) -> None:
    kind = part.get("type")
    if kind in TEXTS or (kind is None and "text" in part):
        _add_text(content, part.get("text", part.get("content")))
    elif kind == "refusal":
        _add_text(content, part.get("refusal"))
    elif kind in ("image_url", "input_image"):
        _add_image(content, _address(part.get("image_url")))
    elif kind == "image" or (kind is None and "image" in part):
        _read_image(part, content)
    elif kind == "blob" and _is_image(part):
        data = part.get("content")
        _add_image(content, {"image_bytes": data} if isinstance(data, str | bytes) and data else None)
    elif kind == "uri" and _is_image(part):
        _add_image(content, _address(part.get("uri")))
    elif kind == "file" and _is_image(part):
        content.withheld += 1  # by the id of a file at the vendor
    elif kind in OTHER_MEDIA or kind in ("blob", "uri", "file"):
        content.other_media += 1
    elif kind in CALLS:
        content.texts.append(call_text(part.get("name"), part.get("arguments", part.get("input"))))
    elif kind in RESULTS:
        _add_result(part, content)
    elif kind not in THOUGHTS:
        content.withheld += 1


def _add_text(content: Content, value: Any) -> None:
    if isinstance(value, Mapping):
        value = value.get("value")
    if not isinstance(value, str):
        content.withheld += 1
    elif value.strip():
        content.texts.append(value)


def _add_image(content: Content, image: Any) -> None:
    if image is None:
        content.withheld += 1
    else:
        content.images.append(image)


def _read_image(part: Mapping[str, Any], content: Content) -> None:
    """Read a part of the type image: as Anthropic writes it, as templates of chats do, or a place only."""
    source = part.get("source")
    if isinstance(source, Mapping):
        data = source.get("data")
        inline = {"image_bytes": data} if isinstance(data, str | bytes) and data else None
        _add_image(content, inline or _address(source.get("url")))
    elif (named := part.get("image", part.get("url", part.get("path")))) is not None:
        _add_image(content, image_item(named))
    elif "source" in part:
        content.withheld += 1
    else:
        content.places += 1


def _add_result(part: Mapping[str, Any], content: Content) -> None:
    for key in ("response", "result", "output", "content"):
        if part.get(key) is not None:
            value = part[key]
            if isinstance(value, list):
                content.add(read_content(value))
            else:
                content.texts.append(text_of(value))
            return


def _is_image(part: Mapping[str, Any]) -> bool:
    """Return whether a part of OpenTelemetry is an image: by its modality, else by its MIME type."""
    kind = part.get("modality") or part.get("mime_type")
    return isinstance(kind, str) and kind.startswith("image")


def _address(value: Any) -> Any:
    """Return the image of an address, which may stand in an object of its own."""
    if isinstance(value, Mapping):
        value = value.get("url")
    return image_item(value) if isinstance(value, str) and value.strip() else None


def image_item(value: Any) -> Any:
    """Return an item of the public field `images` for what a log has: a data URL as its bytes, a reference to
    kept media as a path, all else as it is."""
    if isinstance(value, str) and value[:5].lower() == "data:":
        head, comma, data = value.partition(",")
        if comma and head.lower().endswith(";base64"):
            return {"image_bytes": data}
    return (referenced(value) or value) if isinstance(value, str) else value


def image_items(value: Any) -> list[Any]:
    """Return the items of a field of one image or of several; none for null."""
    items: Sequence[Any] = value if isinstance(value, list) else [value]
    return [image_item(item) for item in items if item is not None and item != ""]


def call_text(name: Any, arguments: Any) -> str:
    """Return a call of a tool as text, so that it can stand where a message stands."""
    if arguments is None:
        arguments = ""
    return f"{name if isinstance(name, str) else 'tool'}({text_of(arguments)})"


def without_marks(text: str) -> str:
    """Return a text without the marks of where its images stand, and the line breaks around them."""
    for mark in (MARK + "\n", "\n" + MARK, MARK):
        text = text.replace(mark, "")
    return text
