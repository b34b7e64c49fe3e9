"""What the command line says before it has loaded anything heavy. No clock is read here: what is not imported
takes no time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "aiohttp",
    "duckdb",
    "faiss",
    "fsspec",
    "huggingface_hub",
    "numpy",
    "pandas",
    "PIL",
    "pyarrow",
    "ray",
    "scipy",
    "sklearn",
    "tokenizers",
    "torch",
    "transformers",
)
CODE = f"""
import sys
from jobs.cli import main
sys.argv[0] = "auditor"
try:
    main()
except SystemExit as end:
    code = end.code
print("heavy:", *[name for name in {HEAVY!r} if name in sys.modules])
raise SystemExit(code)
"""
GOOD = "data: {id: id.jsonl, scenarios: {q: q.jsonl}}\nencoders: {image: null, text: minilm}\nmodels: [m]\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--help"], 0, "Usage"),
        (["drift", "--help"], 0, "--dry-run"),
        (["--version"], 0, "shift-auditor"),
        (["drift", "--wrong"], 2, "No such option"),
        (["audit", "--config", "bad.yaml"], 2, "did you mean scenarios?"),
        (["audit", "--config", "good.yaml"], 2, "id.jsonl: no such file"),
        (["audit", "--config", "good.yaml", "--dry-run"], 2, "id.jsonl: no such file"),
        (["baseline", "build", "--records", "x.jsonl"], 2, "encoders.text is not named"),
        (["baseline", "build", "--set", "critic.seeds=many"], 2, "critic.seeds"),
        (["drift", "--baseline", "b", "--traffic", "t", "--window", "soon"], 2, "no length of time"),
        (["drift", "--baseline", "b", "--traffic", "t"], 2, "b: is no baseline"),
        (["doctor", "--config", "bad.yaml"], 2, "did you mean scenarios?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_first_word_waits_for_nothing_heavy(
    tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    (tmp_path / "bad.yaml").write_text(GOOD.replace("scenarios", "scenaros"))
    (tmp_path / "good.yaml").write_text(GOOD)
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (code, "heavy:"), done.stderr
    assert said in done.stdout + done.stderr
