"""The examples run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = {
    "audit_in_python": "careless against careful, mean over the scenarios: new less current",
    "drift_from_dataframe": "text moved",
    "merge_daily_profiles": "week: 180 rows",
}


def test_every_script_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name: str, tmp_path: Path) -> None:
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) < 50
    command = [sys.executable, str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert SCRIPTS[name] in done.stdout
    assert not list(tmp_path.iterdir()), "it leaves nothing where it is run"


def test_notebook(tmp_path: Path) -> None:
    path = EXAMPLES / "notebook.ipynb"
    kept = nbformat.read(path, as_version=4)
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in code), "it is kept with what it showed"
    assert path.stat().st_size < 300_000
    NotebookClient(
        kept, timeout=500, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown = [output for cell in code for output in cell.outputs if output.output_type != "stream"]
    pages = ["".join(output.data.get("text/html", "")) for output in shown]
    assert any("embed images" in page and "200/200" in page for page in pages), "bars without widgets"
    assert any("image, joint moved" in page and "<table>" in page for page in pages), "the report"
