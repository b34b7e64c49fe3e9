"""Turns, tokens and the longest that a shard may take."""

from __future__ import annotations

import asyncio
import time

import pytest

from auditor.generators.rates import Pacer, interval, longest_seconds, prompt_tokens
from schemas.config import EndpointConfig
from schemas.record import Turn


def config(**settings: float) -> EndpointConfig:
    return EndpointConfig.model_validate({"url": "https://host/v1", **settings})


def test_tokens_of_a_prompt() -> None:
    assert prompt_tokens("", (), 0, 600) == 4
    assert prompt_tokens("12345678", (), 2, 600) == 2 + 4 + 1200
    assert prompt_tokens("é", (Turn("user", "1"), Turn("assistant", "12345")), 0, 0) == 1 + 1 + 2 + 12
    assert prompt_tokens("\ud800" * 8, (), 0, 0) == 2 + 4


def test_the_slower_rate_sets_the_pace() -> None:
    assert interval(config(), 1000) == 0
    assert interval(config(requests_per_minute=30), 10**9) == 2
    assert interval(config(requests_per_minute=30, tokens_per_minute=6000), 100) == 2
    assert interval(config(requests_per_minute=30, tokens_per_minute=6000), 500) == 5


@pytest.mark.parametrize("rate", [{"requests_per_minute": 1200}, {"tokens_per_minute": 120_000}])
def test_turns_are_spaced_by_the_rate(rate: dict[str, float]) -> None:
    """20 turns a second for twelve that wait at once, over two loops."""
    pacer, taken = Pacer(config(**rate)), []

    async def take() -> None:
        await pacer.turn(100)
        taken.append(time.monotonic())

    async def six() -> None:
        await asyncio.gather(*(take() for _ in range(6)))

    asyncio.run(six())
    asyncio.run(six())
    assert len(taken) == 12 and taken[-1] - taken[0] > 11 * 0.05 - 0.02


def test_the_longest_covers_every_try_in_its_turn() -> None:
    """Against a plain count: waves of requests that all take all their time, and all turns one by one."""
    asked = config(concurrency=4, total_seconds=100, tries=3, requests_per_minute=6, failures=10)
    worst = 3 * 100 * 2 + 3 * 2 * 10 * 10  # ceil(10 / 4) waves of two samples; 60 turns of 10 s
    assert worst <= longest_seconds(asked, [50] * 10, 2) <= worst + 6 * 100
    assert longest_seconds(asked, [], 1) > 0
    assert longest_seconds(config(), [50] * 256, 1) > 256 / 8 * 300
