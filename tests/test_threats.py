"""Every test that docs/design/threats.md names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_the_tests_that_answer_threats_are_there() -> None:
    page = (ROOT / "docs" / "design" / "threats.md").read_text(encoding="utf-8")
    named = NAMED.findall(page)
    assert len(named) > 40 and page.count("::") == len(named)
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in found, f"{file} has no {name}"


def test_every_row_of_every_table_names_one() -> None:
    page = (ROOT / "docs" / "design" / "threats.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| wanted")]
    assert len(rows) > 30 and all(NAMED.search(row) for row in rows)
