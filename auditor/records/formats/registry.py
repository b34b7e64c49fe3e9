"""This module registers formats by name. A new one is a file beside this (or in a package of its own) with
`@format(...)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

from auditor.errors import RowError, one_line
from auditor.records.formats.reading import Reading
from auditor.records.raw import Failed, Raw
from auditor.registry import Registry
from schemas.record import Reason

Recognises = Callable[[Mapping[str, Any]], bool]
Translate = Callable[[Iterator[Raw], Reading], Iterator[Raw]]
F = TypeVar("F", bound=Callable[..., Any])


class Row(NamedTuple):
    """A `Row` is what a format makes of one object of a log."""

    fields: dict[str, Any]
    """Fields of the public format. Without a `record_id` the row is given one of its contents."""
    failed: tuple[Failed, ...] = ()
    """Models that gave no answer to it, and why."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format says which objects are its own, and what they become."""

    name: str
    told_by: str
    """What an object of this format has, in a few words."""
    recognises: Recognises
    """Whether an object looks like one of this format. It gets any object, and raises nothing."""
    translate: Translate
    order: int = 50
    """Formats are asked in this order: those with rare names first."""


FORMATS: Registry[Format] = Registry(
    "format", "auditor.records.formats.format", "shift_auditor.formats", "auditor.records.formats"
)


def format(name: str, *, told_by: str, recognises: Recognises, order: int = 50) -> Callable[[F], F]:
    """Register the function below as the format `name`.

    It is called with one object of a log and the `Reading`, and returns a `Row`. It raises `RowError` for an
    object that cannot be used, and returns None for one that is no row, which it counts in the reading.
    """

    def register(function: F) -> F:
        FORMATS.add(name, Format(name, told_by, recognises, each(function), order), function)
        return function

    return register


def stream_format(name: str, *, told_by: str, recognises: Recognises, order: int = 50) -> Callable[[F], F]:
    """Register the function below as the format `name`: for formats that join or split objects.

    It is called with all rows (a stream of `Raw`) and the `Reading`, and gives a stream of `Raw`.
    """

    def register(function: F) -> F:
        FORMATS.add(name, Format(name, told_by, recognises, function, order), function)
        return function

    return register


def each(function: Callable[[dict[str, Any], Reading], Row | None]) -> Translate:
    """Return the translation of a stream by a function of one object."""

    def translate(raws: Iterator[Raw], reading: Reading) -> Iterator[Raw]:
        for raw in raws:
            if isinstance(raw.fields, RowError):
                yield raw
                continue
            yield from made(raw, partial(function, raw.fields, reading))

    return translate


def made(raw: Raw, make: Callable[[], Row | None]) -> Iterator[Raw]:
    """Yield the row that `make` makes, at the place of `raw`; an error where it raises one, nothing where it
    makes none."""
    try:
        row = make()
    except RowError as error:
        yield Raw(raw.place, error)
    except Exception as error:  # whatever objects a log holds, the other rows are read
        yield Raw(raw.place, RowError(Reason.UNREADABLE_LINE, one_line(error)))
    else:
        if row is not None:
            yield Raw(raw.place, row.fields, row.failed)


def in_order() -> Sequence[Format]:
    """Return all formats in the order in which they are asked."""
    return sorted(FORMATS.values(), key=lambda format: (format.order, format.name))
