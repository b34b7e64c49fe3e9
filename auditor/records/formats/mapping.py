"""A mapping in the config says where the public fields stand in rows of any other format: JSONPath, by
field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from auditor.errors import BadInput, RowError, one_line
from auditor.records.fields import FIELDS
from auditor.records.formats.contents import image_item, read_content
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Format, Row, made
from auditor.records.formats.values import name_of
from auditor.records.raw import Raw
from schemas.record import Reason

MAP = "map"
Path = str | Sequence[str] | Mapping[str, str]
Finder = Callable[[Any], list[Any]]
"""What finds the values of a path in a row."""
Compiled = Mapping[str, list[Finder]]

_INPUTS = ("query", "history", "image", "images", "image_bytes")
_LISTS = ("images", "history", "tags", "group")
_BY_MODEL = ("responses", "scores")
_OWN = ("model", "response")
"""Fields of a mapping alone: an answer, and the name of the model that gave it."""


def mapping_format(mapping: Mapping[str, Path]) -> Format:
    """Return the format of rows that `mapping` reads: field -> path, or list of paths; for `responses` and
    `scores` also model -> path.

    A row is of this format where a path of its inputs finds anything. Raises `BadInput` for an unknown field,
    or a path that is none.
    """
    paths = {field: _compiled(field, path) for field, path in mapping.items()}
    inputs = [path for field in _INPUTS for found in paths.get(field, {}).values() for path in found]
    if not inputs:
        raise BadInput(
            f"data.map: names no input; give one of {', '.join(_INPUTS)}, such as query: $.question"
        )
    if "model" in paths and "response" not in paths:
        raise BadInput("data.map.model: is the model of `response`, which is missing; add it")

    def recognises(row: Mapping[str, Any]) -> bool:
        return any(_found(path, row) for path in inputs)

    def translate(raws: Iterator[Raw], reading: Reading) -> Iterator[Raw]:
        for raw in raws:
            if isinstance(raw.fields, RowError):
                yield raw
            else:
                yield from made(raw, partial(_row, paths, raw.fields, reading))

    return Format(MAP, "the paths of data.map", recognises, translate, order=-1)


def _compiled(field: str, path: Path) -> Compiled:
    """The paths of a field by model; by the empty name for a field that has none."""
    if field not in FIELDS and field not in _OWN:
        known = ", ".join(sorted({*FIELDS, *_OWN}))
        raise BadInput(f"data.map: unknown field {field!r}; the fields are {known}")
    if isinstance(path, Mapping):
        if field not in _BY_MODEL:
            raise BadInput(f"data.map.{field}: is a path such as $.a.b, not an object")
        return {str(model): [_path(f"{field}.{model}", item)] for model, item in path.items()}
    return {"": [_path(field, item) for item in ([path] if isinstance(path, str) else path)]}


def _path(key: str, path: Any) -> Finder:
    if not isinstance(path, str) or not path.startswith("$"):
        raise BadInput(
            f"data.map.{key}: {path!r} is no path; paths begin with $, such as $.messages[-1].content"
        )
    import jsonpath

    try:
        return jsonpath.compile(path).findall
    except jsonpath.JSONPathError as error:
        raise BadInput(f"data.map.{key}: {path!r} is no JSONPath ({one_line(error)})") from None


def _found(path: Finder, row: Any) -> list[Any]:
    """What a path finds in a row; nothing where the row is not what the path supposes."""
    try:
        return [value for value in path(row) if value is not None]
    except Exception:  # whatever the library raises on a row: there is nothing where the path says
        return []


def _row(paths: Mapping[str, Compiled], row: Mapping[str, Any], reading: Reading) -> Row:
    fields: dict[str, Any] = {}
    images: list[Any] = []
    for field, compiled in paths.items():
        if field in _BY_MODEL and "" not in compiled:
            found = {model: _one(_all(some, row)) for model, some in compiled.items()}
            fields[field] = {
                model: _said(value, field) for model, value in found.items() if value is not None
            }
            continue
        values = _all(compiled[""], row)
        if field in ("query", "reference", "response"):
            content = read_content(values if len(values) != 1 else values[0])
            if content.withheld and not content.texts:
                raise RowError(Reason.UNREADABLE_LINE, f"data.map.{field}: what it finds is no text")
            fields[field] = content.text or None
            images += content.images if field == "query" else []
        elif field in _LISTS:
            listed = values[0] if len(values) == 1 and isinstance(values[0], list) else values
            fields[field] = [image_item(item) for item in listed] if field == "images" else list(listed)
        elif values:
            fields[field] = image_item(_one(values)) if field == "image" else _one(values)
    model, answer = name_of(fields.pop("model", None)), fields.pop("response", None)
    if "response" in paths and answer is not None:
        fields.setdefault("responses", {})[model or "unnamed"] = answer
        if model is None:
            reading.count("responses", "of a model that is not named: kept as `unnamed`")
    if images:
        fields["images"] = [*fields.get("images", []), *images]
    return Row({name: value for name, value in fields.items() if value not in (None, [], {})})


def _all(paths: Sequence[Finder], row: Any) -> list[Any]:
    return [value for path in paths for value in _found(path, row)]


def _one(values: list[Any]) -> Any:
    """The one value that was found; all of them where there are several."""
    return values[0] if len(values) == 1 else values or None


def _said(value: Any, field: str) -> Any:
    """An answer as text, where it is written in parts."""
    return value if field == "scores" or isinstance(value, str) else read_content(value).text
