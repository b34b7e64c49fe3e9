"""Answers of a model, as they are cached and passed on."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from schemas.record import Turn


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked: encoded images (their bytes), earlier turns and the query."""

    images: tuple[bytes, ...] = ()
    text: str = ""
    history: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The sampled answers to one prompt.

    `logprobs[i]` is the log-probability (nats) of `texts[i]` under the model at the sampling temperature,
    summed over its `tokens[i]` generated tokens (the end token included). Both have one entry a text, or are
    empty where what made the answers does not tell. `error` says why there is no answer.
    """

    texts: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    tokens: tuple[int, ...] = ()
    error: str | None = None


RESPONSES = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        ("texts", pa.list_(pa.string())),
        ("logprobs", pa.list_(pa.float64())),
        ("tokens", pa.list_(pa.int32())),
        ("error", pa.string()),
    ]
)
"""One row a prompt; `key` is the content key of the prompt (its image digests and its text)."""
