"""What a file is made of is told by its content, and by its name only where the content says nothing."""

from __future__ import annotations

import csv
import json
import re
from enum import StrEnum

from auditor.errors import BadInput
from auditor.records.containers import arrow
from auditor.records.lines import BOM
from auditor.records.sources import is_packed_name, record_ending

READ = (
    "JSON lines, JSON, CSV, TSV, Parquet, Arrow, WebDataset's tar (each also compressed by gzip, "
    "zstd or bzip2) and logs of Inspect (.eval)"
)
"""What is read, for messages."""

_TABLES = (".csv", ".tsv", ".parquet", ".arrow", ".tar")
_DELIMITERS = ",;\t|"
_PANDAS = "python -c \"import pandas as p; p.{reader}('FILE').to_parquet('NEW.parquet')\""
_REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; unzip it, or save the sheet as CSV"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Office document; save the sheet as CSV"),
    (
        b"SQLite format 3\0",
        "a SQLite data base; write the table: sqlite3 -json FILE 'select * from T' > NEW.json",
    ),
    (b"FEA1", f"a feather file; write Parquet: {_PANDAS.format(reader='read_feather')}"),
    (b"ORC", f"an ORC file; write Parquet: {_PANDAS.format(reader='read_orc')}"),
    (b"Obj\x01", "an Avro file; write it as Parquet or as JSON lines"),
    (b"\x89HDF", f"an HDF5 file; write Parquet: {_PANDAS.format(reader='read_hdf')}"),
    (b"\x93NUMPY", "an array of NumPy; write its rows as JSON lines"),
    (b"\xfd7zXZ\0", "compressed by xz; unpack it: unxz FILE"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"\x04\x22\x4d\x18", "compressed by lz4; unpack it: unlz4 FILE"),
    (b"%PDF", "a PDF; records are no documents"),
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself: git lfs pull"),
    (
        b"\xff\xd8\xff",
        "a picture; name the file of the records, and the folder of pictures in data.media_root",
    ),
    (b"\x89PNG", "a picture; name the file of the records, and the folder of pictures in data.media_root"),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x95}\]cK(q]")


class Kind(StrEnum):
    """A `Kind` is what a file is made of."""

    JSONL = "JSON lines"
    JSON = "JSON"
    CSV = "CSV"
    PARQUET = "Parquet"
    ARROW = "Arrow"
    TAR = "tar"
    INSPECT = "log of Inspect"


def kind_of(head: bytes, source: str, packed: bool) -> Kind:
    """Return what a file is made of by its first bytes `head` (unpacked, if it was `packed`) and its name.
    Raises `BadInput` for what is not read, with the way out."""
    end = record_ending(source)
    if head.startswith(b"PAR1"):
        return Kind.PARQUET
    if head.startswith((arrow.FILE, arrow.STREAM)):
        return Kind.ARROW
    if head[257:262] == b"ustar":
        return Kind.TAR
    if head.startswith(b"PK\x03\x04") and end == ".eval":
        return Kind.INSPECT
    for magic, said in _REFUSED:
        if head.startswith(magic):
            raise BadInput(f"{source}: is {said}")
    if _PICKLE.match(head):
        raise BadInput(
            f"{source}: is a pickle, which may run programs and is not read; write Parquet where you made "
            "it: frame.to_parquet('NEW.parquet')"
        )
    text = head.removeprefix(BOM).lstrip()
    if text.startswith((b"[", b"{")):
        return _json_kind(text)
    if not text and end in _TABLES:
        raise BadInput(f"{source}: is empty, and no {end.removeprefix('.')} file")
    if end == ".parquet":
        raise BadInput(f"{source}: no readable Parquet file (its first bytes are others); is the file whole?")
    if end == ".tar":
        return Kind.TAR
    if end in (".csv", ".tsv"):
        return Kind.CSV
    if "record_id" in header(head, source):
        return Kind.CSV
    if end is not None and text and not packed and is_packed_name(source):
        raise BadInput(f"{source}: is named as if it were compressed, and is not; is the file whole?")
    if end is not None:
        return Kind.JSONL
    if text.lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise BadInput(f"{source}: is a page of HTML or XML; was it downloaded whole?")
    if not text:
        raise BadInput(f"{source}: unknown file type, and empty; records are read from {READ}")
    raise BadInput(f"{source}: unknown file type; records are read from {READ}")


def _json_kind(text: bytes) -> Kind:
    """JSON lines have one whole value a line; else values lie over several lines, or in an array."""
    lines = [line.strip() for line in text.split(b"\n", 100)[:100]]
    first, *rest = [line.removeprefix(BOM) for line in lines if line]
    second = rest[0] if rest else b""
    if text.startswith(b"["):
        return Kind.JSONL if second.startswith(b"{") and _is_json(first) else Kind.JSON
    if second.startswith((b'"', b"}")) and not _is_json(first):
        return Kind.JSON
    return Kind.JSON if _is_several(first) else Kind.JSONL


def _is_json(line: bytes) -> bool:
    return _after_first(line) == ""


def _is_several(line: bytes) -> bool:
    """Whether a whole value is followed by others: `{...}{...}`, as some services log, or `{...},`."""
    return (_after_first(line) or "").startswith(("{", ","))


def _after_first(line: bytes) -> str | None:
    """What follows the first value of a line; None where it does not begin with a whole one."""
    text = line.decode("utf-8", "replace").strip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return text[end:].lstrip()


def delimiter(head: bytes, source: str) -> str:
    """Return what separates the cells of a CSV file, by its first line."""
    if record_ending(source) == ".tsv":
        return "\t"
    first = re.sub('"[^"]*"', "", _first_line(head))
    return max(_DELIMITERS, key=first.count)


def header(head: bytes, source: str) -> list[str]:
    """Return the names of a CSV file's columns, as far as its first line holds them."""
    try:
        return [
            name.strip()
            for name in next(csv.reader([_first_line(head)], delimiter=delimiter(head, source)), [])
        ]
    except csv.Error:
        return []


def _first_line(head: bytes) -> str:
    lines = head.removeprefix(BOM).decode("utf-8", "replace").splitlines()
    return next((line for line in lines if line.strip()), "")
