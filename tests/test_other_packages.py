"""A package of somebody else joins an audit with an encoder, a shift, a reader and a section of its own, by
entry points alone: no file of ours is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PLUGIN = '''
"""What somebody else has written."""

import json

import numpy as np

from auditor.encoders import encoder
from auditor.registry import Settings
from auditor.report import section
from auditor.scenarios import Source, perturbed_source, reader
from auditor.shifts import shift
from schemas.record import Record


class LettersSettings(Settings):
    dim: int = 16


class Letters:
    modality = "text"

    def __init__(self, dim):
        self.dim = dim
        self.identity = json.dumps({"dim": dim, "name": "letters"})

    def encode(self, contents):
        out = np.zeros((len(contents), self.dim), np.float32)
        for row, text in zip(out, contents, strict=True):
            for place, letter in enumerate(text):
                row[ord(letter) % self.dim] += 1 + place / 10
        return out


@encoder("letters", "text", settings=LettersSettings)
def letters(*, name, device, threads, batch, precision, settings):
    return Letters(settings.dim)


class MumbleSettings(Settings):
    sound: str = "m"


@shift("mumble", "text", settings=MumbleSettings)
def mumble(text, severity, rng, *, settings):
    places = rng.permutation(len(text))[: severity * len(text) // 8]
    return "".join(settings.sound if i in places else letter for i, letter in enumerate(text))


class SumsSettings(Settings):
    most: int = 20


@reader("sums", settings=SumsSettings)
def sums(config, run, *, settings):
    def rows():
        for i in range(settings.most):
            answer = ("no", "yes", f"it is {2 * i}")[i % 3]
            yield Record(f"r{i}", f"r{i}", query=f"what is {i} and {i * 7 % 11}?", reference=f"{2 * i}",
                         responses={"m": (answer,)})

    first = Source("id", "id", f"sums {settings.most}", rows)
    yield first
    for name, spec in config.data.scenarios.items():
        yield perturbed_source(name, spec, first, config, run)


TEMPLATE = """\\
<p class="lead">{{ plural(view, "result") }} of {{ run.seed }}.</p>
"""


@section("letters", order=35, title="Letters", template=TEMPLATE)
def counted(page):
    return len(page.rows) or None
'''
POINTS = """
[shift_auditor.encoders]
letters = plugin:letters
[shift_auditor.shifts]
mumble = plugin:mumble
[shift_auditor.readers]
sums = plugin:sums
[shift_auditor.sections]
letters = plugin:counted
"""
CONTRACTS = """
from pathlib import Path
from auditor import testing
from auditor.encoders import make_encoder
from auditor.report.registry import SECTIONS
from schemas.config import AuditConfig
from schemas.report import Report
import sys, yaml

testing.check_encoder(make_encoder({"name": "letters", "dim": 40}, "text"))
testing.check_shift("mumble", {"sound": "?"})
config = AuditConfig.model_validate(yaml.safe_load(Path(sys.argv[1]).read_text()))
testing.check_reader(config.model_copy(update={"data": config.data.model_copy(update={"scenarios": {}})}),
                     Path(sys.argv[2]))
report = Report.model_validate_json(Path(sys.argv[3]).read_text())
testing.check_section(SECTIONS.find("letters"), report)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> dict[str, str]:
    """The environment of a process in which the package `plugin` is installed."""
    site = tmp_path / "site"
    info = site / "plugin-0.1.dist-info"
    info.mkdir(parents=True)
    (site / "plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(POINTS)
    root = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), root])}


def run(*command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=500)


def test_an_audit_with_things_of_another_package(plugin: dict[str, str], tmp_path: Path) -> None:
    config = {
        "data": {
            "reader": "sums",
            "options": {"most": 24},
            "scenarios": {
                "mumbled": {"shifts": [{"shift": "mumble", "severity": 4, "options": {"sound": "?"}}]}
            },
        },
        "encoders": {"image": None, "text": {"name": "letters", "options": {"dim": 12}}},
        "models": ["m"],
        "critic": {"steps": 20, "seeds": 1},
        "workers": {"cpu": 1},
    }
    path, out = tmp_path / "audit.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(config))
    done = run("-m", "jobs.cli", "audit", "--config", str(path), "--out", str(out), env=plugin)
    assert done.returncode in (0, 1, 4), done.stderr[-3000:]
    report = json.loads((out / "report.json").read_text())
    assert [(row["scenario"], row["n"], row["family"]) for row in report["scenarios"]] == [
        ("id", 24, "id"),
        ("mumbled", 24, "text"),
    ]
    assert json.loads(report["run"]["encoders"]["text"])["dim"] == 12
    page = (out / "report.html").read_text()
    assert '<section id="letters"><h2>Letters</h2>\n<p class="lead">2 results of 0.</p>' in page

    contracts = tmp_path / "contracts.py"
    contracts.write_text(CONTRACTS)
    kept = run(str(contracts), str(path), str(tmp_path / "read"), str(out / "report.json"), env=plugin)
    assert kept.returncode == 0, kept.stderr[-3000:]


def test_wrong_names_and_options_are_one_line(plugin: dict[str, str], tmp_path: Path) -> None:
    config = {
        "data": {
            "reader": "sum",
            "scenarios": {"a": {"shifts": [{"shift": "mumble", "options": {"loud": 1}}]}},
        },
        "encoders": {"image": {"name": "lab"}, "text": {"name": "letter"}},
        "models": [{"name": "m", "generator": "transformer"}],
    }
    path = tmp_path / "audit.yaml"
    path.write_text(yaml.safe_dump(config))
    done = run("-m", "jobs.cli", "audit", "--config", str(path), "--out", str(tmp_path / "out"), env=plugin)
    said = " ".join(done.stderr.split())
    assert done.returncode == 2
    for text in (
        "data.reader: unknown reader 'sum' (did you mean sums?); known: lab, llavabench, records, sums;",
        "data.scenarios.a.shifts.0.options: unknown setting 'loud'; it takes: sound",
        "encoders.text.name: unknown text encoder 'letter' (did you mean letters?)",
        "models.0.generator: unknown generator 'transformer' (did you mean transformers?)",
    ):
        assert text in said
