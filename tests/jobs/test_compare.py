"""`auditor compare` on a real audit of three recorded models: one line, and an exit code for a pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from auditor.emi.comparison import EmiSums, compare_over
from auditor.measures.models import TABLE
from auditor.profiles.profile import read_profile

COLOURS = ("red", "green", "blue", "grey", "white", "black", "pink")
CONFIG = """
data: {id: id.jsonl, scenarios: {shouted: q.jsonl, bare: bare.jsonl}}
encoders: {image: null, text: lab}
models: [old, new, copy]
critic: {hidden: 16, steps: 200, seeds: 2}
comparison: {margin: 0.001}
shards: {stream: 1000}
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, run: Callable[..., int]) -> Path:
    """`new` always says the same where `old` is right, and `copy` says what `old` says."""
    folder = tmp_path_factory.mktemp("compare")
    rows = [
        {
            "record_id": f"r{i}",
            "query": f"what colour is {colour} thing {i}?",
            "responses": {"old": colour, "new": "I do not know", "copy": colour},
            "reference": colour,
        }
        for i in range(140)
        for colour in (COLOURS[i % len(COLOURS)],)
    ]
    shouted = [{**row, "query": str(row["query"]).upper()} for row in rows]
    bare = [{k: v for k, v in row.items() if k != "reference"} for row in rows[:20]]
    for name, found in (("id", rows), ("q", shouted), ("bare", bare)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, found)))
    (folder / "audit.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        assert run(patch, "audit", "-c", folder / "audit.yaml", "-o", folder / "out") == 0
    return folder / "out"


def test_the_report_holds_what_the_profiles_say(out: Path) -> None:
    report = json.loads((out / "report.json").read_text())
    rows = {(row["new"], row["scenario"]): row for row in report["tables"][TABLE]}
    assert list(rows) == [(new, s) for new in ("new", "copy") for s in (None, "id", "shouted", "bare")]
    found = [read_profile(path) for path in sorted((out / "run" / "profiles").glob("*/*.npz"))]
    assert len(found) == 9
    sides = {}
    for each in found:  # a group each: known by their sums alone
        of = each.critic_sums
        if of["emi_model"][0].n.sum():
            sums = EmiSums(of["emi_model"], of["emi_reference"])
            sides[round(sums.value, 9)] = sums
    emi = {(r["scenario"], r["model"]): r["emi"] for r in report["scenarios"]}

    def of(scenario: str, model: str) -> EmiSums:
        return sides[round(emi[scenario, model], 9)]

    expected = compare_over(
        {s: (of(s, "new"), of(s, "old")) for s in ("id", "shouted")}, level=0.9, seed=report["run"]["seed"]
    )
    for scenario, difference in {None: expected.mean, **expected.scenarios}.items():
        row = rows["new", scenario]
        for name, value in asdict(difference).items():
            if scenario is None and name == "p_adjusted":  # over the two models that were compared
                value = min(1.0, 2 * difference.p_value)
            assert row[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)
    assert rows["new", "bare"]["reason"] == "no row with a query, an answer and a reference of new and old"
    assert [rows["copy", None][k] for k in ("value", "corrected", "low", "high")] == [0, 0, 0, 0]
    assert (rows["new", None]["status"], rows["copy", None]["status"]) == ("fail", "pass")
    assert report["verdict"]["status"] == "warn"  # `bare` has no references; compare is the gate of models


def test_verdicts_are_exit_codes(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
    mean = json.loads((out / "report.json").read_text())["tables"][TABLE][0]
    lost = -mean["corrected"]
    for words, code, said in (
        (("--new", "new", "--margin", 0), 1, "fail: new against old, mean over the scenarios: new less"),
        (("--new", "new", "--margin", 5 * lost), 0, "pass: new against old"),
        (("--new", "new", "--margin", lost), 4, "undecided: new against old"),
        (("--new", "new", "--margin", 0, "--scenario", "shouted"), 1, "fail: new against old, shouted:"),
        (("--new", "new", "--margin", 9, "--scenario", "bare"), 4, "undecided: new against old, bare: the"),
        (("--new", "copy", "--margin", 0.01), 0, "pass: copy against old"),
        (("--new", "old", "--current", "new", "--margin", 0), 0, "pass: old against new"),
        (("--new", "new", "--margin", 5 * lost, "--level", 0.99), 0, "with 99% confidence"),
    ):
        assert run(monkeypatch, "compare", out, *words) == code, words
        told = capsys.readouterr()
        assert said in told.out and len(told.out.splitlines()) == 1 and not told.err


def test_what_cannot_be_compared_is_one_line_and_code_2(
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    run: Callable[..., int],
) -> None:
    for words, said in (
        ((out, "--new", "newest", "--margin", 0.1), "new: no model newest in the report"),
        ((out, "--new", "new", "--current", "copy", "--margin", 0.1), "--set comparison.current=copy"),
        ((out, "--new", "new", "--margin", -1), "the margin is a finite number of nats, at least 0"),
        ((out, "--new", "new", "--margin", "nan"), "the margin is a finite number"),
        ((out, "--new", "new", "--margin", 0.1, "--level", 1.5), "must lie in (0.5, 1)"),
        ((tmp_path, "--new", "new", "--margin", 0.1), str(tmp_path)),
        ((out, "--new", "new"), "margin"),
    ):
        assert run(monkeypatch, "compare", *words) == 2, words
        told = capsys.readouterr().err
        assert said in told and "Traceback" not in told


def test_help_teaches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Callable[..., int]
) -> None:
    assert run(monkeypatch, "compare", "--help") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Example: auditor compare out --new lab-weak --current lab-strong --margin 0.05" in told
    assert "Undecided (4)" in told
