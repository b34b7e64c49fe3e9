"""This module writes prompts as the messages of an OpenAI-compatible chat, and reads its replies.

`FORMAT` is part of a generator's identity: raise it with every change of what is sent for a prompt.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image as Pillow

from auditor.records.media import FORMATS, decode
from auditor.records.values import clean
from schemas.response import Prompt

FORMAT = 1
_SENT_AS_THEY_ARE = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
_NOT_GIVEN = -9999.0
"""What some servers say of a token whose log-probability they did not keep."""
_ROUNDING = 1e-6
_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice is one sampled answer as the server gave it."""

    text: str = ""
    logprob: float | None = None
    """Sum over the tokens that the server lists, nats; None where it gave none."""
    tokens: int | None = None
    problem: str | None = None
    """Why it is no answer: refused, filtered, no text."""


def messages(prompt: Prompt) -> list[dict[str, Any]]:
    """Return the messages of a prompt: earlier turns with their roles, then the user's: images first, then
    the text. Raises `RowError` for an image that does not decode."""
    turns: list[dict[str, Any]] = [{"role": turn.role, "content": turn.text} for turn in prompt.history]
    if not prompt.images:
        return [*turns, {"role": "user", "content": prompt.text}]
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_url(data)}} for data in prompt.images
    ]
    if prompt.text:
        parts.append({"type": "text", "text": prompt.text})
    return [*turns, {"role": "user", "content": parts}]


def data_url(data: bytes) -> str:
    """Return the image for a message. JPEG, PNG, WebP and GIF go as they are; other formats, animations and
    turned pictures (servers differ in whether they follow EXIF) go as PNG of what our encoders see."""
    with Pillow.open(io.BytesIO(data), formats=FORMATS) as image:
        kind = _SENT_AS_THEY_ARE.get(image.format or "")
        plain = image.getexif().get(_ORIENTATION, 1) == 1 and getattr(image, "n_frames", 1) == 1
    if kind is None or not plain:
        out = io.BytesIO()
        decode(data).save(out, "PNG")
        kind, data = "image/png", out.getvalue()
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def choices(reply: object) -> list[Choice]:
    """Return the answers in a reply, in their order. Raises ValueError where it is no reply of a chat."""
    listed = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(listed, list) or not listed or not all(isinstance(c, Mapping) for c in listed):
        raise ValueError("the reply has no choices")
    assert isinstance(reply, Mapping)
    if all(isinstance(c.get("index"), int) for c in listed):
        listed = sorted(listed, key=lambda c: c["index"])
    usage = reply.get("usage")
    total = usage.get("completion_tokens") if isinstance(usage, Mapping) and len(listed) == 1 else None
    return [_read_choice(c, total if isinstance(total, int) and 0 <= total < 2**31 else None) for c in listed]


def _read_choice(choice: Mapping[str, Any], tokens: int | None) -> Choice:
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise ValueError("a choice has no message")
    if choice.get("finish_reason") == "content_filter":
        return Choice(problem="the server's content filter kept the answer back")
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(refusal, str) and refusal.strip():
        return Choice(problem=f"the model refused: {clean(refusal)[:120]}")
    if content is not None and not isinstance(content, str):
        return Choice(problem="the answer is no text")
    logprob, token_count = _sum_logprobs(choice.get("logprobs"))
    return Choice(clean(content or "").strip(), logprob, tokens if token_count is None else token_count)


def _sum_logprobs(logprobs: object) -> tuple[float | None, int | None]:
    """Return the sum of the log-probabilities of the answer's tokens, and their number; None where one is not
    known."""
    listed = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(listed, list) or not listed:
        return None, None
    total = 0.0
    for token in listed:
        value = token.get("logprob") if isinstance(token, Mapping) else None
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None, len(listed)
        if not math.isfinite(value) or not _NOT_GIVEN < value <= _ROUNDING:
            return None, len(listed)
        total += min(0.0, float(value))
    return total, len(listed)
