"""Records come from whatever a program has them in: files, addresses, tables, lists of dicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

from auditor.errors import BadInput
from auditor.records.formats import AUTO, Chosen
from auditor.records.formats.mapping import Path as FieldPath
from auditor.records.limits import Limits
from auditor.records.media import MAX_PIXELS
from auditor.records.memory import Held, held, read_held
from auditor.records.readers import read_many
from auditor.records.rows import Rows
from auditor.records.sources import expand, fingerprint, is_uri, shown
from schemas.record import Image, Quarantined, Record


@dataclass(frozen=True, eq=False)
class Records:
    """`Records` are what `auditor.read` returns, from wherever they come.

    Iterating gives each row as a `Record`, or as a `Quarantined` that says why it cannot be used. Every
    iteration starts at the first row. It opens no image; the settings say which images may be opened.
    """

    label: str
    """Name of the records in messages and reports: a path, or "a table of 120 rows"."""
    files: tuple[str, ...] = ()
    """Files, globs and addresses, where the records come from these."""
    held: Held | None = None
    """Rows in memory, where the records come from memory."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of images and sizes (keys of the section `data:`)."""

    def __iter__(self) -> Iterator[Record | Quarantined]:
        return self.rows()

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"<Records: {self.label}{settings}>"

    @property
    def path(self) -> str | None:
        """Return the path, glob or address, where it is one."""
        return self.files[0] if len(self.files) == 1 else None

    def rows(self) -> Rows:
        """Return the rows, which count how far they are read. Raises `BadInput` for a file that cannot be
        read."""
        limits = Limits()
        if (most := self.settings.get("max_text_chars")) is not None:
            limits = replace(limits, text_chars=most)
        if self.held is not None:
            return read_held(self.held, limits, self.settings.get("max_image_pixels", MAX_PIXELS))
        return read_many(self.files, limits, self._chosen, self.settings.get("media_root"))

    @property
    def _chosen(self) -> Chosen:
        return Chosen(self.settings.get("format", AUTO), self.settings.get("map"))

    @property
    def fingerprint(self) -> str:
        """Return what changes when the rows change: of files their names, sizes and times of change, of rows
        in memory a digest of all that is in them (one pass over them). Computed when it is asked for."""
        if self.held is None:
            chosen = "" if self._chosen == Chosen() else f" {self._chosen}"
            return f"file {fingerprint(self.files)}{chosen}"
        state = blake2b(digest_size=16)
        for row in self.rows():
            state.update(_content(row))
        return f"rows {state.hexdigest()}"


def read(
    source: Any,
    *,
    format: str | None = None,
    map: Mapping[str, FieldPath] | None = None,
    media_root: str | Path | None = None,
    url_allow: Sequence[str] | None = None,
    url_private: bool | None = None,
    max_image_bytes: int | None = None,
    max_image_pixels: int | None = None,
    max_text_chars: int | None = None,
) -> Records:
    """Return records from `source`: a path, a folder, a glob or an address (`s3://...`) of files (JSON lines,
    JSON, CSV, Parquet, tar of WebDataset; see `docs/records.md`), or a list of them; a pandas DataFrame; a
    pyarrow Table or RecordBatch; a `datasets.Dataset`; an iterable of dicts or of `schemas.record.Record`.

    `format` says what the rows of files are (see `docs/formats.md`), `map` where the fields of the record
    format stand in rows of any other kind; where neither is given, each file's format is told from its first
    rows.

    A row has the fields of the record format: `record_id`, `image` (a path) or `image_bytes` or `images`,
    `query`, `history`, `responses` (model -> text or list of texts), `reference`, `timestamp`, `base_id`,
    `tags`, `group` (a key or a list of keys that tie rows together), `conversation_id`; others are ignored.
    An image may be a path under `media_root`, an address under one of `url_allow`, bytes, a PIL image, or a
    dict of `bytes` and `path`. A row that cannot be used is quarantined with its reason, and stops nothing.

    Nothing is copied: a table is read where it is, every time. (An iterator can be gone through only once, so
    it is kept as a list.) Settings that are not given are those of the job.

    Raises `BadInput` where `source` holds no records, a file does not exist, or a table has no column
    `record_id`.
    """
    options: dict[str, Any] = {
        "format": format,
        "map": None if map is None else dict(map),
        "media_root": None if media_root is None else str(media_root),
        "url_allow": None if url_allow is None else tuple(url_allow),
        "url_private": url_private,
        "max_image_bytes": max_image_bytes,
        "max_image_pixels": max_image_pixels,
        "max_text_chars": max_text_chars,
    }
    settings = {name: value for name, value in options.items() if value is not None}
    if isinstance(source, Records):
        return replace(source, settings={**source.settings, **settings})
    if isinstance(source, str | Path):
        source = [source]
    if isinstance(source, list | tuple) and source and all(isinstance(item, str | Path) for item in source):
        files = tuple(str(item) for item in source)
        Chosen(format or AUTO, map)  # raises for a format that is not known, or a mapping that is none
        read_many(files)  # raises where a file is of another kind
        if missing := [shown(file) for file in expand(files) if not is_uri(file) and not Path(file).exists()]:
            raise BadInput(f"{missing[0]}: no such file; check the path")
        suffix = f" and {len(files) - 1} more" if len(files) > 1 else ""
        return Records(f"{shown(files[0])}{suffix}", files=files, settings=settings)
    if (rows := held(source)) is None:
        raise BadInput(
            f"{type(source).__name__} holds no records: give a path, a table (pandas, pyarrow, datasets) or "
            "a list of dicts"
        )
    return Records(rows.label, held=rows, settings=settings)


def _content(row: Record | Quarantined) -> bytes:
    """Return the content of a row as bytes that no other row has."""
    if isinstance(row, Quarantined):
        values: tuple[object, ...] = (row.row, row.reason.value, row.detail, row.record_id, row.model)
    else:
        turns = [(turn.role, turn.text) for turn in row.history]
        when = None if row.timestamp is None else row.timestamp.isoformat()
        images = [_image(image) for image in row.images]
        models = [list(row.responses.items()), list(row.scores.items())]
        ties = [list(row.group), row.conversation_id]
        values = (
            row.record_id,
            row.base_id,
            images,
            row.query,
            turns,
            models,
            row.reference,
            when,
            row.tags,
            ties,
            row.other_references,
        )
    return repr(values).encode("utf-8", "surrogatepass") + b"\0"


def _image(image: Image) -> tuple[str | None, str | None]:
    return image.path, None if image.data is None else sha256(image.data).hexdigest()
