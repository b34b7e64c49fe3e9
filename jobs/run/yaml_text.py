"""YAML becomes plain values, with keys as they are written: a name may be a date, a number or `no`. A key
that is given twice is an error."""

from __future__ import annotations

from typing import Any

import yaml


class BadKey(yaml.YAMLError):
    """A key is given twice, or is no text; the message says which, and where."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader turns keys into dates, numbers and booleans, and takes the last of equal ones;
    this one does neither."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise BadKey(f"the key in line {key.start_mark.line + 1} is no text; write KEY: VALUE")
            line = key.start_mark.line + 1
            if key.value in lines:
                where = (
                    f"in lines {lines[key.value]} and {line}"
                    if line > lines[key.value]
                    else f"in line {line}"
                )
                raise BadKey(f"the key {key.value} is given twice, {where}; remove one of them")
            lines[key.value] = line
            if key.tag != "tag:yaml.org,2002:merge":
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """Return the value of a YAML text. Raises `yaml.YAMLError` for what is no YAML, and `BadKey`, one of
    them, for a key that is given twice or is no text."""
    return yaml.load(text, Loader=_Loader)
