"""A YAML file and `--set KEY=VALUE` become a typed config, with errors that name the key and the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from auditor.errors import BadInput
from auditor.pipeline.checks import check_paths, cluster_address
from auditor.pipeline.settings import explain
from jobs.run.yaml_text import BadKey, load_yaml
from schemas.config import AuditConfig, BaselineConfig, DriftConfig, JobConfig, resolve

T = TypeVar("T", bound=BaseModel)


def load_config(
    model: type[T],
    path: Path | None,
    overrides: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
    *,
    names: bool = True,
) -> T:
    """Read `path`, set `values` (dotted keys), then `overrides` (`KEY=VALUE`: dotted keys, YAML values), and
    validate.

    Relative paths in the file are relative to its folder; in `--set` and options, to the working directory.
    `names`: look up the names of encoders, readers, ... in their registries, too; `check` does so later.
    Raises `BadInput` with one line that names the file and the key.
    """
    tree = _read_yaml(path) if path else {}
    if path:
        tree = _resolve_paths(tree, path.resolve().parent)
    for key, content in (values or {}).items():
        _set(tree, key.split("."), deepcopy(content), key)
    for item in overrides:
        key, sep, text = item.partition("=")
        if not sep or not key:
            raise BadInput(f"--set {item}: write KEY=VALUE, e.g. --set critic.seeds=5")
        try:
            value = load_yaml(text)
        except yaml.YAMLError as error:
            raise BadInput(f"--set {item}: {_why(error)}") from error
        _set(tree, key.split("."), value, item)
    source = str(path) if path else "options"
    try:
        config = model.model_validate(tree)
    except ValidationError as error:
        raise BadInput(f"{source}: {explain(model, error)}") from error
    if names:
        _check_names(config, path)
    return config


def check(config: JobConfig, path: Path | None) -> None:
    """Check what can be known before a job begins: that the Ray cluster that is named answers, that the
    records exist, then that names are known (which takes some imports). Raises `BadInput` with one line."""
    workers = config.workers
    if cluster_address(workers) and workers.executor != "serial" and find_spec("ray") is not None:
        from actors.cluster import check_address

        check_address(workers)
    check_paths(config)
    _check_names(config, path)


def _check_names(config: BaseModel, path: Path | None) -> None:
    from auditor.pipeline.names import check_names

    try:
        check_names(config)
    except BadInput as error:
        raise BadInput(f"{path or 'options'}: {error}") from None


def job_of(path: Path) -> type[JobConfig]:
    """Return the job whose config the file is, by its keys. Raises `BadInput` where it cannot be read."""
    tree = _read_yaml(path)
    data = tree.get("data")
    keys = set(tree) | set(data if isinstance(data, dict) else ())
    if keys & {"baseline", "traffic"}:
        return DriftConfig
    return AuditConfig if keys & {"models", "scenarios"} else BaselineConfig


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read the config {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not a UTF-8 text file") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{path}: {_why(error)}") from error
    if not isinstance(tree, dict):
        raise BadInput(f"{path}: a config is a mapping of keys (data, models, ...)")
    return tree


def _why(error: yaml.YAMLError) -> str:
    text = " ".join(str(error).split())[:160]
    return text if isinstance(error, BadKey) else f"not valid YAML ({text})"


def _set(tree: dict[str, Any], keys: Sequence[str], value: Any, item: str) -> None:
    node: Any = tree
    for parent, key in zip(("", *keys), keys[:-1], strict=False):
        index: Any = int(key) if isinstance(node, list) and key.isdigit() and int(key) < len(node) else key
        if isinstance(node, dict | list) and isinstance(short := _child(node, index), str):
            # The short form `image: lab` stands for `image: {name: lab}` (a scenario's for its path).
            node[index] = {"path" if parent == "scenarios" else "name": short}
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


def _child(node: Any, index: Any) -> Any:
    if isinstance(node, dict):
        return node.get(index)
    return node[index] if isinstance(index, int) else None


def _resolve_paths(tree: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make the paths of a config file absolute; anything of an unexpected shape is left to validation."""
    data = tree.get("data")
    if isinstance(data, dict):
        files = data.get("reader", "records") == "records"
        for key in ("id", "root", "media_root", *(["traffic"] if files else [])):
            if isinstance(data.get(key), str):
                data[key] = resolve(data[key], base)
        scenarios = data.get("scenarios")
        if isinstance(scenarios, dict):
            for name, spec in scenarios.items():
                if isinstance(spec, str):
                    scenarios[name] = resolve(spec, base)
                elif isinstance(spec, dict) and isinstance(spec.get("path"), str):
                    spec["path"] = resolve(spec["path"], base)
    if isinstance(tree.get("baseline"), str):
        tree["baseline"] = resolve(tree["baseline"], base)
    return tree
