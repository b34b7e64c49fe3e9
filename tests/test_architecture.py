"""The rooms of `auditor` and the page that explains them say the same."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LOWEST = {"errors", "protocols", "registry"}
APART = {"lab", "testing"}
"""They may import every room, and no room imports them."""


def order() -> list[str]:
    """The rooms as the import contract has them, the lowest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == ["auditor"])
    return [name for layer in reversed(layers) for name in re.findall(r"\w+", layer)]


def rooms() -> dict[str, str]:
    """The rooms that there are, and what their docstrings begin with, on one line."""
    found = {}
    for path in sorted((ROOT / "auditor").glob("*/__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.parent.name] = " ".join(text.split("\n\n")[0].split())
    return found


def test_the_page_lists_every_room_in_the_order_of_imports() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    inner = [room for room in order() if room not in {*LOWEST, *APART, "api"}]
    assert [room for room in listed if room not in APART] == inner
    assert set(rooms()) <= {*order()}


def test_every_room_says_what_it_is_for_and_what_it_may_import() -> None:
    inner = [room for room in order() if room not in {*LOWEST, *APART}]
    for room, said in rooms().items():
        if room == "testing":
            continue
        sentence, may, rest = said.partition(" May import ")
        assert may, f"auditor/{room}/__init__.py: say what the room may import"
        assert f"| `{room}` | {sentence} |" in PAGE, f"docs/architecture.md says something else of {room}"
        if room not in APART and room != inner[0]:
            below = inner[inner.index(room) - 1]
            assert f"up to `{below}`" in rest, f"auditor/{room}/__init__.py: the room below is {below}"


def test_few_modules_lie_outside_the_rooms() -> None:
    flat = {path.stem for path in (ROOT / "auditor").glob("*.py")} - {"__init__"}
    assert flat <= {*LOWEST, "api"}
