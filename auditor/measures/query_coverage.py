"""This module tests whether the text encoder knows the queries of whole scenarios, by
`auditor.encoders.coverage`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from auditor.encoders import make_encoder
from auditor.encoders.coverage import KNOWN, chars_per_token, knows_texts
from auditor.encoders.texts import TextEncoder
from auditor.protocols import Encoder
from auditor.scenarios import Scenario, records_of
from schemas.config import EncoderConfig
from schemas.record import Record

MOST_RECORDS = 2_000
"""Records that are looked at: the first ones."""


def queries(records: Iterable[Record]) -> list[str]:
    """Return the first queries."""
    return [r.query for r in islice(records, MOST_RECORDS) if r.query]


class QueryCoverage:
    """This class measures how well a text encoder knows texts. The encoder is loaded once, when it is first
    asked."""

    def __init__(self, config: EncoderConfig) -> None:
        self._config = config
        self._encoder: Encoder | None = None

    def chars_per_token(self, texts: Sequence[str]) -> float | None:
        """Return the characters per token of the texts; None where that tells nothing of this encoder."""
        if self._encoder is None:
            self._encoder = make_encoder(self._config.settings(), "text", batch=self._config.batch)
        encoder = self._encoder
        if not isinstance(encoder, TextEncoder) or encoder.multilingual or not texts:
            return None
        ratio = chars_per_token(encoder, texts)
        return ratio if ratio == ratio else None


def unknown_queries(config: EncoderConfig, scenarios: Sequence[Scenario]) -> dict[str, list[str]]:
    """Return notes on the scenarios whose queries the text encoder does not know, by their names; the first
    scenario is the in-distribution one, whose queries it is taken to know."""
    encoder = make_encoder(config.settings(), "text", batch=config.batch)
    if not isinstance(encoder, TextEncoder):
        return {}
    id_texts = queries(records_of(scenarios[:1]))
    base = chars_per_token(encoder, id_texts)
    notes: dict[str, list[str]] = {}
    for scenario in scenarios[1:]:
        texts = queries(records_of([scenario]))
        if knows_texts(encoder, texts, id_texts) is False:
            ratio = chars_per_token(encoder, texts) / base
            notes[scenario.name] = [
                f"text encoder {config.name} does not know the queries of {scenario.name}: "
                f"{ratio:.2f} of the in-distribution characters per token (below {KNOWN}); its text "
                "divergence and EMI say little here"
            ]
    return notes
