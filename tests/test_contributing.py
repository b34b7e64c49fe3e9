"""The recipes of CONTRIBUTING.md are complete: each file is made as it stands there, outside of this package,
and keeps the contract of its kind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KINDS = {
    "An encoder": "letters",
    "A shift": "vignette",
    "A critic": "linear",
    "A reader": "lists",
    "A format": "tickets",
    "A grader": "prefix",
    "A section of the report": "longest",
}
"""Heading -> the module that it makes."""


def recipes() -> dict[str, tuple[str, str]]:
    """Heading -> the file, and its test."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = {}
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0].strip()
        file, test = re.findall(r"^```python\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
        found[heading] = (file, test)
    return found


def test_every_recipe_is_tried() -> None:
    assert list(recipes()) == list(KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("heading", KINDS)
def test_a_recipe_keeps_its_contract(heading: str, tmp_path: Path) -> None:
    """In a process of its own, so that nothing stays registered; as another package: found by name through
    its entry point alone."""
    file, test = recipes()[heading]
    name = KINDS[heading]
    (tmp_path / f"{name}.py").write_text(file)
    (tmp_path / f"test_{name}.py").write_text(test)
    group = "sections" if "section" in heading else heading.split()[-1] + "s"
    package = tmp_path / "their_package-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[shift_auditor.{group}]\n{name} = {name}\n")
    paths = os.pathsep.join([str(tmp_path), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
