"""Every record must have an input, and texts within their limits, whatever reader it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from auditor.errors import RowError
from auditor.records.limits import Limits
from schemas.record import Quarantined, Reason, Record


class Place(NamedTuple):
    """A `Place` says where a row stood: its file (or data set) and line or row."""

    source: str
    row: int

    def quarantined(
        self, error: RowError, record_id: str | None = None, scenario: str = "", model: str = ""
    ) -> Quarantined:
        """Return the row at this place, quarantined for `error`."""
        return Quarantined(self.source, self.row, error.reason, error.detail, record_id, scenario, model)


def screen(
    record: Record, limits: Limits, place: Place, scenario: str = ""
) -> Iterator[Record | Quarantined]:
    """Yield the record, or why it is quarantined; before it, one `Quarantined` with a `model` for each model
    that lost answers.

    An unusable answer (blank: empty_response; too long: text_too_long) costs the answer, not the row: the
    inputs were traffic all the same, and dropping them would bias every measure that needs no answer. So
    rows in = records + those `Quarantined` whose `model` is empty.
    """
    try:
        _check(record, limits)
    except RowError as error:
        yield place.quarantined(error, record.record_id, scenario)
        return
    kept: dict[str, tuple[str, ...]] = {}
    for model, answers in record.responses.items():
        usable = tuple(a for a in answers if a.strip() and len(a) <= limits.text_chars)
        if usable:
            kept[model] = usable
        if not answers or len(usable) < len(answers):
            yield place.quarantined(_lost(answers, limits), record.record_id, scenario, model)
    if kept == record.responses:
        yield record
        return
    # A score is of a model's first answer: where that is quarantined, the score goes with it.
    lost = {m for m, answers in record.responses.items() if m not in kept or kept[m][0] != answers[0]}
    scores = {model: score for model, score in record.scores.items() if model not in lost}
    yield replace(record, responses=kept, scores=scores)


def _check(record: Record, limits: Limits) -> None:
    if not record.images and not (record.query or "").strip():
        raise RowError(Reason.MISSING_INPUT, "neither an image nor a query")
    if len(record.images) > limits.images:
        raise RowError(Reason.IMAGE_TOO_LARGE, f"{len(record.images)} images, at most {limits.images}")
    _check_length("record_id", record.record_id, limits.id_chars)
    _check_length("base_id", record.base_id, limits.id_chars)
    for key in record.group:
        _check_length("group", key, limits.id_chars)
    _check_length("conversation_id", record.conversation_id or "", limits.id_chars)
    _check_length("query", record.query or "", limits.text_chars)
    for reference in (record.reference or "", *record.other_references):
        _check_length("reference", reference, limits.text_chars)
    for turn in record.history:
        _check_length("history", turn.text, limits.text_chars)


def _check_length(name: str, text: str, most: int) -> None:
    if len(text) > most:
        raise RowError(Reason.TEXT_TOO_LONG, f"`{name}` has {len(text):,} characters, at most {most:,}")


def _lost(answers: tuple[str, ...], limits: Limits) -> RowError:
    blank = sum(not answer.strip() for answer in answers)
    if blank or not answers:
        return RowError(Reason.EMPTY_RESPONSE, f"{blank} of {len(answers)} answers empty or no text")
    return RowError(Reason.TEXT_TOO_LONG, f"an answer of more than {limits.text_chars:,} characters")
