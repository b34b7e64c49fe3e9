"""From a YAML file and `--set KEY=VALUE` to a typed config, with errors that name the key and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from auditor.errors import BadInput
from schemas.config import resolve

T = TypeVar("T", bound=BaseModel)


def load_config(model: type[T], path: Path | None, overrides: Sequence[str] = (), /, **values: Any) -> T:
    """Read `path`, apply `overrides` (dotted keys, YAML values) and `values` (None: not given), validate.

    Relative paths in the file are relative to its folder; in `--set` and options, to the working directory.
    Raises `BadInput` with one line that names the file and the key.
    """
    tree = _read_yaml(path) if path else {}
    if path:
        tree = _resolve_paths(tree, path.resolve().parent)
    for item in overrides:
        key, sep, text = item.partition("=")
        if not sep or not key:
            raise BadInput(f"--set {item}: write KEY=VALUE, e.g. --set critic.seeds=5")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise BadInput(f"--set {item}: the value is not YAML ({_first_line(error)})") from error
        _set(tree, key.split("."), value, item)
    tree.update({key: value for key, value in values.items() if value is not None})
    where = str(path) if path else "options"
    try:
        config = model.model_validate(tree)
    except ValidationError as error:
        raise BadInput(f"{where}: {_explain(model, error)}") from error
    from auditor.pipeline.names import check_names  # registries: a config of the wrong form needs none

    try:
        check_names(config)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from None
    return config


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read the config {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not a UTF-8 text file") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: not valid YAML ({_first_line(error)})") from error
    if not isinstance(tree, dict):
        raise BadInput(f"{path}: a config is a mapping of keys (data, models, ...)")
    return tree


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]


def _set(tree: dict[str, Any], keys: Sequence[str], value: Any, item: str) -> None:
    node: Any = tree
    for parent, key in zip(("", *keys), keys[:-1], strict=False):
        at: Any = int(key) if isinstance(node, list) and key.isdigit() and int(key) < len(node) else key
        if isinstance(node, dict | list) and isinstance(short := _child(node, at), str):
            # The short form `image: lab` stands for `image: {name: lab}` (a scenario's for its path).
            node[at] = {"path" if parent == "scenarios" else "name": short}
        if isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict):
            node = node.setdefault(key, {})
        if not isinstance(node, dict | list):
            raise BadInput(f"--set {item}: {key} holds a value, not keys")
    last = keys[-1]
    if isinstance(node, list):
        if not last.isdigit() or int(last) >= len(node):
            raise BadInput(f"--set {item}: {last} is not an index of that list (0 to {len(node) - 1})")
        node[int(last)] = value
    else:
        node[last] = value


def _child(node: Any, at: Any) -> Any:
    if isinstance(node, dict):
        return node.get(at)
    return node[at] if isinstance(at, int) else None


def _resolve_paths(tree: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make the paths of a config file absolute; anything of an unexpected shape is left to validation."""
    data = tree.get("data")
    if isinstance(data, dict):
        for key in ("id", "root", "media_root"):
            if isinstance(data.get(key), str):
                data[key] = resolve(data[key], base)
        scenarios = data.get("scenarios")
        if isinstance(scenarios, dict):
            for name, spec in scenarios.items():
                if isinstance(spec, str):
                    scenarios[name] = resolve(spec, base)
                elif isinstance(spec, dict) and isinstance(spec.get("path"), str):
                    spec["path"] = resolve(spec["path"], base)
    for key in ("records", "baseline", "traffic", "media_root"):
        if isinstance(tree.get(key), str):
            tree[key] = resolve(tree[key], base)
    return tree


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    """All that is wrong, in one line."""
    problems = []
    for item in error.errors(include_url=False, include_input=False)[:5]:
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(item["loc"][-1]), set(_keys(model)), n=1)
            problems.append(f"unknown key {key}" + (f" (did you mean {near[0]}?)" if near else ""))
        elif item["type"] == "missing":
            problems.append(f"{key} is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            problems.append(f"{key}: {message}" if key else message)
    more = error.error_count() - len(problems)
    return "; ".join(problems) + (f"; and {more} more" if more > 0 else "")


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        stack = [field.annotation]
        while stack:
            kind = stack.pop()
            stack.extend(getattr(kind, "__args__", ()))
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _keys(kind)
