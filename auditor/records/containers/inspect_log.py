"""Logs of Inspect (`.eval`): archives of samples, read by Inspect's own library, one sample at a time."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from tempfile import NamedTemporaryFile
from typing import BinaryIO

from auditor.errors import BadInput, RowError, needed_for
from auditor.records.limits import Limits
from auditor.records.raw import Raw
from auditor.records.screen import Place
from auditor.records.sources import why
from schemas.record import Reason

_LEFT_OUT = {"events", "store", "attachments", "timelines"}
"""What a sample has beside its conversation; pictures that lie apart are put back into it."""


def rows(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Raw]:
    """Yield the samples of a log by their number, from 0. Raises `BadInput` where the package is missing or
    the file is no log."""
    with needed_for("reading logs of Inspect"):
        import inspect_ai.log  # noqa: F401 (before the log is copied)
    with NamedTemporaryFile(suffix=".eval") as file:  # the library wants a file with this name's ending
        shutil.copyfileobj(stream, file)
        file.flush()
        yield from _samples(file.name, source, limits.line_bytes)


def _samples(path: str, source: str, most_bytes: int) -> Iterator[Raw]:
    from inspect_ai.log import read_eval_log_sample, read_eval_log_sample_summaries

    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
        found = [(sample.id, sample.epoch) for sample in read_eval_log_sample_summaries(path)]
    except Exception as error:  # what the library raises on a broken file is documented nowhere
        raise BadInput(f"{source}: no readable log of Inspect ({why(error)}); is the file whole?") from None
    for row, (identifier, epoch) in enumerate(found):
        place = Place(source, row)
        if sizes.get(f"samples/{identifier}_epoch_{epoch}.json", 0) > most_bytes:
            yield Raw(place, RowError(Reason.UNREADABLE_LINE, f"a sample of more than {most_bytes:,} bytes"))
            continue
        try:
            sample = read_eval_log_sample(path, identifier, epoch, resolve_attachments=True)
            fields = sample.model_dump(mode="json", exclude=_LEFT_OUT)
        except Exception as error:
            yield Raw(place, RowError(Reason.UNREADABLE_LINE, f"a sample that cannot be read ({why(error)})"))
            continue
        yield Raw(place, fields)
