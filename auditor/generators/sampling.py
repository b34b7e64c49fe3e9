"""This module says how answers are drawn, and turns what was drawn into an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from auditor.errors import BadInput
from schemas.response import Answer


@dataclass(frozen=True, slots=True)
class Sampling:
    """The settings ask for `samples` answers a prompt at `temperature` (0: the most likely token each time,
    one answer), of at most `max_new_tokens` tokens. Nothing is cut from the distribution (no top-k, no
    top-p): log-probabilities are the model's, and an entropy can be estimated from them."""

    temperature: float = 0.0
    samples: int = 1
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise BadInput(f"temperature is {self.temperature}, must be >= 0")
        if self.samples < 1 or self.max_new_tokens < 1:
            raise BadInput(
                f"samples ({self.samples}) and max_new_tokens ({self.max_new_tokens}) must be >= 1"
            )
        if self.samples > 1 and self.temperature == 0:
            raise BadInput("samples > 1 needs a temperature > 0: greedy answers are all the same")


class Drawn(NamedTuple):
    """This tuple is one sampled answer."""

    text: str
    log_prob: float
    tokens: int


def answer_of(drawn: Sequence[Drawn]) -> Answer:
    """Make an answer of its samples; empty ones only where there is no other."""
    kept = [sample for sample in drawn if sample.text.strip()] or drawn
    texts, log_probs, tokens = zip(*kept, strict=True)
    return Answer(texts=texts, logprobs=log_probs, tokens=tokens)
