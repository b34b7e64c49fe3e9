"""This module says what is wrong with a config, in one line that names the keys and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from auditor.pipeline.checks import Way, unnamed_encoders
from schemas.config import JOBS, MOVED, BaselineConfig


def explain(model: type[BaseModel], error: ValidationError, *, python: bool = False) -> str:
    """Say all that is wrong, in one line. With `python`, the config came from a call, not from a file or
    options."""
    moved = [MOVED[key] for key in _moved_keys(model, error)]
    problems, unnamed = list[str](), list[str]()
    for item in error.errors(include_url=False, include_input=False):
        keys = [str(part) for part in item["loc"]]
        key = ".".join(keys)
        message = item["msg"].removeprefix("Value error, ")
        if any(f"{new} " in f"{key} {message} " for new in moved):
            continue  # it is there, under its old name
        if item["type"] == "missing" and keys[:-1] == ["encoders"]:
            unnamed.append(keys[-1])
        elif item["type"] == "extra_forbidden":
            problems.append(_unknown(model, keys))
        elif item["type"] == "missing":
            field = _section(model, keys[:-1]).model_fields.get(keys[-1])
            description = (field.description or "" if field else "").partition(". ")[0].rstrip(".")
            problems.append(
                f"{key} is missing" + (f": {description[0].lower()}{description[1:]}" if description else "")
            )
        else:
            problems.append(f"{key}: {message}" if key and not message.startswith(f"{key}.") else message)
    if unnamed:
        way: Way = "option" if issubclass(model, BaselineConfig) else "set"
        problems.append(unnamed_encoders(unnamed, "python" if python else way))
    remaining = len(problems) - 5
    return "; ".join(problems[:5]) + (f"; and {remaining} more" if remaining > 0 else "")


def _unknown(model: type[BaseModel], keys: Sequence[str]) -> str:
    """Say why a key is refused: it moved, another job has it, or nobody knows it."""
    key = ".".join(keys)
    if _has_key(model, MOVED.get(key, "")):
        section, _, name = MOVED[key].partition(".")
        return f"{key} is written {MOVED[key]} now ({section}: {{{name}: ...}})"
    owner = _section(model, keys[:-1])
    jobs = [name for name, job in JOBS.items() if keys[-1] in _section(job, keys[:-1]).model_fields]
    if jobs and (reason := getattr(owner, "not_here", "")):
        command = next(f"auditor {name}" for name, job in JOBS.items() if issubclass(model, job))
        owners = " and ".join(f"auditor {name}" for name in jobs)
        return f"{key} is of {owners}, {command} does not read it: {reason}; remove it"
    known = {path.rpartition(".")[2]: path for path in _keys(model)}
    near = difflib.get_close_matches(keys[-1], known, n=1)
    if near == [keys[-1]]:  # the right name in the wrong section
        near = [known[keys[-1]]]
    return f"unknown key {key}" + (f" (did you mean {near[0]}?)" if near else "")


def _moved_keys(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Return the keys that stand where earlier versions had them."""
    extra = [".".join(map(str, e["loc"])) for e in error.errors() if e["type"] == "extra_forbidden"]
    return [key for key in extra if _has_key(model, MOVED.get(key, ""))]


def _has_key(model: type[BaseModel], key: str) -> bool:
    """Return whether the config has a (dotted) key."""
    *sections, name = key.split(".")
    return name in _section(model, sections).model_fields


def _section(model: type[BaseModel], keys: Sequence[str]) -> type[BaseModel]:
    """Return the class of a section of a config; the nearest one around it where the path leads into
    something else."""
    for key in keys:
        field = model.model_fields.get(key)
        inner = next(_models(field.annotation), None) if field else None
        if inner is None:
            return BaseModel
        model = inner
    return model


def _keys(model: type[BaseModel], section: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield section + name
        for inner in _models(field.annotation):
            yield from _keys(inner, f"{section}{name}.")


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections among what an annotation allows."""
    stack = [kind]
    while stack:
        kind = stack.pop()
        stack.extend(getattr(kind, "__args__", ()))
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
