"""This module says how fast an endpoint is asked, and how long a shard of prompts may take at most."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from math import ceil

from schemas.config import EndpointConfig
from schemas.record import Turn

BYTES_A_TOKEN = 4
"""The rule by which tokens of a text are estimated: UTF-8 bytes over this, rounded up. English has about four
characters a token; other scripts have fewer characters a token and more bytes a character."""
TURN_TOKENS = 4
"""Tokens of the template around each turn."""


def prompt_tokens(text: str, history: Sequence[Turn], images: int, tokens_per_image: int) -> int:
    """Estimate the tokens of a prompt. O(length)."""
    texts = [*(turn.text for turn in history), text]
    words = sum(ceil(len(content.encode("utf-8", "replace")) / BYTES_A_TOKEN) for content in texts)
    return words + TURN_TOKENS * len(texts) + images * tokens_per_image


def interval(config: EndpointConfig, tokens: int) -> float:
    """Return the seconds from one request of so many tokens to the next, by the rates of `config`; 0 without
    rates."""
    by_requests = 60.0 / config.requests_per_minute if config.requests_per_minute else 0.0
    by_tokens = 60.0 * tokens / config.tokens_per_minute if config.tokens_per_minute else 0.0
    return max(by_requests, by_tokens)


class Pacer:
    """A pacer gives turns, evenly spaced, so that neither rate is exceeded over any minute. Retries take
    turns too.

    It keeps a time, not a loop's objects: one pacer lives over many `asyncio.run`.
    """

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._next = 0.0

    async def turn(self, tokens: int) -> None:
        """Wait for one's turn to send a request of about `tokens` tokens (its answer's included)."""
        now = time.monotonic()
        start = max(now, self._next)
        self._next = start + interval(self._config, tokens)
        if start > now:
            await asyncio.sleep(start - now)


def longest_seconds(config: EndpointConfig, tokens: Sequence[int], samples: int) -> float:
    """Return the longest time (seconds) that a shard may take whose prompts have so many tokens each, answers
    included: every try of every request up to its limit, each in its turn, and every check whether the server
    is there."""
    waves = ceil(len(tokens) / config.concurrency) * samples
    checks = len(tokens) // config.failures + 1
    refused = 4  # the first prompts may be asked in as many ways
    turns = config.tries * samples * sum(interval(config, count) for count in tokens)
    return (waves + checks + refused) * config.total_seconds + turns
