"""Does the text encoder know the queries? What is asked of `auditor.encoders.coverage` of whole scenarios."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice

from auditor.encoders import make_encoder
from auditor.encoders.coverage import KNOWN, chars_per_token, knows_texts
from auditor.encoders.texts import TextEncoder
from auditor.interface import Encoder
from auditor.scenarios import Scenario, records_of
from schemas.config import EncoderConfig
from schemas.record import Record

MOST_RECORDS = 2_000
"""Records that are looked at: the first ones."""


def queries(records: Iterable[Record]) -> list[str]:
    """The first queries."""
    return [r.query for r in islice(records, MOST_RECORDS) if r.query]


@lru_cache(maxsize=2)
def _encoder(settings: str) -> Encoder:
    """The text encoder of settings (JSON), loaded once a process: of windows every one asks for it."""
    return make_encoder(json.loads(settings), "text")


def queries_chars_per_token(config: EncoderConfig, texts: Sequence[str]) -> float | None:
    """Characters per token of the texts; None where that tells nothing of this encoder."""
    found = _encoder(json.dumps(config.settings(), sort_keys=True))
    if not isinstance(found, TextEncoder) or found.multilingual or not texts:
        return None
    ratio = chars_per_token(found, texts)
    return ratio if ratio == ratio else None


def unknown_queries(config: EncoderConfig, scenarios: Sequence[Scenario]) -> dict[str, list[str]]:
    """Notes on the scenarios whose queries the text encoder does not know, by their names; the first scenario
    is the in-distribution one, whose queries it is taken to know."""
    encoder = _encoder(json.dumps(config.settings(), sort_keys=True))
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
