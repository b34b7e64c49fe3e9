"""The Python API: the same results as the command line, from tables and lists, without a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import auditor
from auditor.lab.world import lab_items
from schemas.config import WorkersConfig

N = 60
ENCODERS = {"image": "lab", "text": "lab"}
CRITIC = {"seeds": 1, "steps": 30, "hidden": 8, "batch": 32, "cross_fit": 2}
HEAVY = (
    "aiohttp",
    "duckdb",
    "faiss",
    "IPython",
    "jinja2",
    "numpy",
    "pandas",
    "PIL",
    "pyarrow",
    "pydantic",
    "ray",
    "rich",
    "scipy",
    "torch",
    "transformers",
    "yaml",
)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Lab records with pictures in memory and the answers of two models."""
    return [
        {
            "record_id": item.record_id,
            "image_bytes": item.image,
            "query": item.query,
            "reference": item.reference,
            "responses": {"m": item.reference if i % 3 else "I cannot tell."},
        }
        for i, item in enumerate(lab_items(2 * N, seed=5))
    ]


@pytest.fixture(scope="module")
def baseline(rows: list[dict[str, Any]]) -> auditor.Baseline:
    return auditor.build_baseline(rows[:N], encoders=ENCODERS, critic=CRITIC, progress=False)


@pytest.fixture(scope="module")
def report(rows: list[dict[str, Any]], baseline: auditor.Baseline) -> auditor.Report:
    return auditor.drift(baseline, rows[N:], progress=False)


def parquet(path: Path, rows: list[dict[str, Any]]) -> str:
    pd.DataFrame(rows).to_parquet(path)
    return str(path)


def numbers(report: auditor.Report) -> list[dict[str, Any]]:
    return [row.model_dump() for row in report.rows]


def test_import_loads_nothing_heavy() -> None:
    code = f"import auditor, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there() -> None:
    assert set(auditor.__all__) == set(auditor._PUBLIC) <= set(dir(auditor))
    assert all(getattr(auditor, name) is not None for name in auditor.__all__)
    with pytest.raises(AttributeError, match="no attribute 'audits'"):
        auditor.audits  # noqa: B018


def test_what_a_notebook_shows(baseline: auditor.Baseline, report: auditor.Report) -> None:
    assert repr(baseline).startswith(f"<Baseline of m: {N} rows (text, image) in ")
    assert repr(baseline.profile).startswith(f"<Profile of {N} rows (image {N}, text {N}, ")
    assert baseline.profile.n == baseline.manifest.n == N
    assert auditor.Baseline.load(baseline.folder).manifest == baseline.manifest
    assert repr(report).startswith("<Report of drift: ")


def test_the_same_as_the_command_line(
    rows: list[dict[str, Any]], run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reference, traffic = (
        parquet(tmp_path / "id.parquet", rows[:N]),
        parquet(tmp_path / "new.parquet", rows[N:]),
    )
    built = tmp_path / "baseline"
    critic = [word for key, value in CRITIC.items() for word in ("--set", f"critic.{key}={value}")]
    encoders = ["--image-encoder", "lab", "--text-encoder", "lab"]
    words = ["baseline", "build", "--records", reference, *encoders, *critic, "--out", built]
    assert run(monkeypatch, *words) == 0
    by_command = auditor.Baseline.load(built).manifest
    ours = auditor.build_baseline(
        reference, encoders=ENCODERS, critic=CRITIC, out=tmp_path / "ours", progress=False
    ).manifest
    assert ours == by_command.model_copy(update={"created": ours.created})

    run(monkeypatch, "drift", "--baseline", built, "--traffic", traffic, "--out", tmp_path / "by-command")
    by_file = auditor.drift(built, traffic, out=tmp_path / "by-file", progress=False)
    found = [json.loads((tmp_path / o / "report.json").read_text()) for o in ("by-command", "by-file")]
    for content in found:
        del content["run"]["created"], content["run"]["seconds"]
    assert found[0] == found[1] and found[0]["windows"]
    # Of a table all is the same but what the traffic is called, and what is derived from that.
    by_table = auditor.drift(built, pd.DataFrame(rows[N:]), progress=False)
    assert numbers(by_table) == numbers(by_file)
    assert by_table.content.run.config["data"]["traffic"] == f"a table of {N} rows"


def test_every_kind_of_source_gives_the_same_report(
    rows: list[dict[str, Any]], baseline: auditor.Baseline, report: auditor.Report, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    named = []
    for i, row in enumerate(rows[N:]):
        (tmp_path / "images" / f"{i}.png").write_bytes(row["image_bytes"])
        named.append({**row, "image_bytes": None, "image": f"{i}.png"})
    by_path = auditor.read(named, media_root=tmp_path / "images")
    files = [parquet(tmp_path / f"{i}.parquet", part) for i, part in enumerate((rows[N:-9], rows[-9:]))]
    for traffic in (pa.Table.from_pylist(rows[N:]), list(auditor.read(rows[N:])), by_path, files):
        found = auditor.drift(baseline, traffic, executor=auditor.serial(workers=1), progress=False)
        assert numbers(found) == numbers(report)


def test_the_same_call_resumes(
    rows: list[dict[str, Any]],
    baseline: auditor.Baseline,
    report: auditor.Report,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = pd.DataFrame(rows[N:])
    first = auditor.drift(baseline, table, out=tmp_path)
    assert f"embed and profile: {N} in " in capsys.readouterr().err
    again = auditor.drift(baseline, table, out=tmp_path)
    assert "embed and profile: nothing to do (kept from before)" in capsys.readouterr().err
    assert numbers(first) == numbers(again) == numbers(report)
    table.loc[0, "query"] = "Something else?"  # what the table holds now is what counts
    changed = auditor.drift(baseline, table, out=tmp_path, progress=False)
    assert numbers(changed) != numbers(first)
    assert capsys.readouterr() == ("", "")


def test_an_audit_and_the_comparison_of_its_models(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    both = [{**row, "responses": {**row["responses"], "n": row["reference"]}} for row in rows]
    report = auditor.audit(
        both[:N],
        {
            "later": pd.DataFrame(both[N:]),
            "later by name": {"path": both[N:], "family": "natural"},
            "blurred": {"shifts": [{"shift": "blur", "severity": 5}]},
        },
        models=["m", {"name": "n"}],
        encoders=ENCODERS,
        critic={"seeds": 1, "steps": 30, "hidden": 8},
        out=tmp_path,
        progress=False,
    )
    frame = report.to_frame()
    assert list(frame.scenario) == ["id", "later", "later by name", "blurred"] * 2
    assert list(frame.model) == ["m"] * 4 + ["n"] * 4
    assert set(frame.n) == {N} and frame.emid.notna().sum() == 4
    for given in (report, tmp_path):
        verdict = auditor.compare(given, "n", current="m", margin=0.1)
        assert verdict.status in ("pass", "fail", "undecided") and "n against m" in verdict.because
    with pytest.raises(auditor.BadInput, match="no model"):
        auditor.compare(report, "o", margin=0.1)


def test_bad_rows_are_set_aside(rows: list[dict[str, Any]], baseline: auditor.Baseline) -> None:
    bad: list[Any] = [5, {"query": "q"}, {"record_id": "x", "image_bytes": b"no picture"}, rows[N]]
    report = auditor.drift(baseline, [*rows[N : N + 20], *bad], progress=False)
    assert report.rows[0].n == 20
    assert report.content.quarantine == {
        "not_an_object": 1,
        "missing_id": 1,
        "duplicate_id": 1,
        "image_corrupt": 1,
    }


def test_profiles_merge_and_are_kept(
    rows: list[dict[str, Any]], baseline: auditor.Baseline, tmp_path: Path
) -> None:
    def profile(part: list[dict[str, Any]]) -> auditor.Profile:
        return auditor.profile(part, baseline=baseline, progress=False)

    whole, halves = profile(rows[N:]), profile(rows[N:90]).merge(profile(rows[90:]))
    assert (halves.n, len(halves.sample)) == (whole.n, len(whole.sample)) == (N, N)
    for name, sketch in whole.sketches.items():
        np.testing.assert_allclose(halves.sketches[name].S, sketch.S, atol=1e-5)
    halves.save(tmp_path / "p.npz")
    read = auditor.Profile.load(tmp_path / "p.npz")
    assert repr(read) == repr(halves)
    assert all((read.sketches[name].S == halves.sketches[name].S).all() for name in whole.sketches)
    (tmp_path / "q.npz").write_bytes((tmp_path / "p.npz").read_bytes()[:1000])
    with pytest.raises(auditor.AuditError, match=r"q\.npz"):
        auditor.Profile.load(tmp_path / "q.npz")


def test_executors_are_settings() -> None:
    assert auditor.serial() == WorkersConfig(executor="serial")
    assert auditor.ray("auto", cpu=3, retries=1) == WorkersConfig(
        executor="ray", address="auto", cpu=3, retries=1
    )


ROW = [{"record_id": "a", "query": "q"}]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: auditor.build_baseline(ROW, encoders={"text": "lab"}), "for instance: encoders={'image': "),
        (lambda: auditor.build_baseline(ROW, encoders={}), "encoders.text is not named"),
        (lambda: auditor.build_baseline(ROW, encoders=ENCODERS, critics={}), "did you mean critic?"),
        (
            lambda: auditor.build_baseline(ROW, encoders=ENCODERS, bounds={}),
            "auditor baseline build does not",
        ),
        (lambda: auditor.build_baseline(ROW, encoders=ENCODERS, data=5), "data: give a dict"),
        (lambda: auditor.build_baseline(ROW, encoders=ENCODERS, executor="ray"), "auditor.ray(...)"),  # type: ignore[arg-type]
        (lambda: auditor.build_baseline(ROW, encoders=ENCODERS, model="x"), "no responses of x"),
        (lambda: auditor.build_baseline([], encoders=ENCODERS), "0 rows in memory: no usable record"),
        (lambda: auditor.build_baseline(5, encoders=ENCODERS), "int holds no records"),
        (
            lambda: auditor.build_baseline(ROW, encoders=ENCODERS, media_root="nowhere"),
            "nowhere is no folder",
        ),
        (lambda: auditor.drift("nowhere", ROW), "nowhere: is no baseline"),
        (lambda: auditor.drift("nowhere", ROW, window="soon"), "no length of time"),
        (lambda: auditor.drift("nowhere", ROW, window="1d", window_rows=5), "not both"),
        (lambda: auditor.audit(ROW, ROW, models=["m"], encoders=ENCODERS), "scenarios: give a dict"),  # type: ignore[arg-type]
        (
            lambda: auditor.audit(ROW, {"q": {"shift": 5}}, models=["m"], encoders=ENCODERS),
            "a dict is no table",
        ),
        (lambda: auditor.audit(ROW, {"q": ROW}, models=[], encoders=ENCODERS), "models"),
        (
            lambda: auditor.audit(
                auditor.read(ROW, media_root="a"),
                {"q": auditor.read(ROW, media_root="b")},
                models=["m"],
                encoders=ENCODERS,
            ),
            "media_root: 1 row in memory has 'b', other records of this call 'a'",
        ),
        (lambda: auditor.serial(workers=0, retry=1), "unknown key retry (did you mean retries?)"),
        (lambda: auditor.ray(cpu="many"), "cpu"),  # type: ignore[arg-type]
        (lambda: auditor.Report.load("nowhere"), "no such store"),
        (lambda: auditor.compare("nowhere", "n", margin=0.1), "no such store"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_one_line(call: Callable[[], object], said: str) -> None:
    with pytest.raises(auditor.AuditError) as refused:
        call()
    assert said in str(refused.value) and "\n" not in str(refused.value)


WITHOUT_RAY = """
import sys
class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "actors", "jobs"):
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Refusal())
import auditor
from auditor.lab.world import lab_items
rows = [
    {"record_id": item.record_id, "image": item.image, "query": item.query, "responses": {"m": "yes"}}
    for item in lab_items(60, seed=5)
]
critic = {"seeds": 1, "steps": 10, "hidden": 8, "cross_fit": 0}
baseline = auditor.build_baseline(rows[:40], encoders={"image": "lab", "text": "lab"}, critic=critic)
report = auditor.drift(baseline, rows[40:])
assert report.content.run.executor.startswith("in this process"), report.content.run.executor
assert baseline.folder.is_dir()
print(baseline.folder)
"""


def test_without_ray_and_the_temporary_folder_goes_with_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_RAY], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.splitlines()[-1])
    assert not folder.exists() and not folder.parent.exists()
