"""The sweep over the critic's hyperparameters, and the job that runs it over a finished audit's rows."""

from __future__ import annotations

import json
from math import log, pi
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from auditor.errors import AuditError, BadInput
from auditor.estimators import CLUB
from auditor.estimators.sweep import (
    GRID,
    Pool,
    SweepRow,
    Trial,
    budget,
    log_likelihood,
    run_trial,
    summarise,
    sweep,
    trials,
    untrained,
)
from auditor.profiles.profile import write_profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows
from auditor.sketch.blocks import hash_blocks
from auditor.storage.run_dir import RunDir
from schemas.config import CriticConfig

SMALL = CriticConfig(hidden=16, batch=64, steps=30, lr=1e-3)
TINY_GRID = {"lr": (0.01, 0.001), "batch": (32,), "hidden": (16, 8)}


def pool(n: int = 200, seed: int = 0) -> Pool:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    model = np.arange(n) % 2 == 0
    y = np.where(model[:, None], 0.5, 0.8) * x + 0.6 * rng.normal(size=(n, 4))
    return Pool(x.astype(np.float32), y.astype(np.float32), np.arange(n) // 2, model)


def test_table_6_is_twelve_trainings_around_the_papers_defaults() -> None:
    found = trials(CriticConfig(hidden=250, lr=1e-3, batch=1024))
    assert len(found) == len({t.key for t in found}) == 12  # 4 + 6 + 4, the defaults once instead of thrice
    assert found[0].setting == "default"
    for trial in found[1:]:
        moved = {
            name: value
            for name, value in trial.config.model_dump().items()
            if value != getattr(found[0].config, name)
        }
        assert moved == {trial.setting: trial.value}
    assert {t.value for t in found if t.setting == "lr"} == {0.005, 0.0005, 0.0001}
    assert len(trials(CriticConfig(hidden=100), seeds=3)) == 3 * 13  # a default that is not in the grid
    with pytest.raises(ValueError, match="hidden"):
        trials(SMALL, {"hidden": (0,)})


def test_what_cannot_be_swept_is_refused() -> None:
    with pytest.raises(BadInput, match=r"critic.estimator: gaussian is not trained in steps"):
        trials(CriticConfig(estimator="gaussian"))
    row = run_trial(pool(), trials(SMALL.model_copy(update={"estimator": "nwj"}), TINY_GRID)[1])
    assert row.log_likelihood is None and np.isfinite([row.mi, row.emi, row.last_variance]).all()


def test_the_budget_counts_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[tuple[int, int, int]] = []

    def clock(pool: Pool, trial: Trial, steps: int) -> float:
        timed.append((trial.config.hidden, trial.config.batch, steps))
        return 0.5 + 0.25 * steps * trial.config.hidden / 16

    monkeypatch.setattr("auditor.estimators.sweep._timed", clock)
    todo = trials(SMALL, TINY_GRID, seeds=2)
    assert len(todo) == 8
    said = budget(pool(), todo[2:], done=2)
    assert (said.trainings, said.done, said.steps, said.pairs) == (8, 2, 6 * 30, 200)
    assert {(h, b) for h, b, _ in timed} == {(16, 64), (16, 32), (8, 64)}  # each shape once
    assert said.seconds == pytest.approx(4 * (30 * 0.25 + 0.75 * 1.6) + 2 * (30 * 0.125 + 0.625 * 1.6))
    assert str(said) == "8 trainings (2 of them done already) on 200 pairs, at most 180 steps, about 44 s"
    assert budget(pool(), []).seconds == 0


def test_the_prediction_is_timed() -> None:
    said = budget(pool(), trials(SMALL, {}))
    assert said.trainings == 1 and 0 < said.seconds < 600


def test_rows_are_of_base_ids_that_no_training_saw() -> None:
    whole = pool()
    trained, held_out = whole.split(0.2, 3)
    assert len(held_out) == 40 and len(trained) == 160
    assert not set(trained.groups) & set(held_out.groups)
    trial = trials(SMALL, TINY_GRID)[1]
    row = run_trial(whole, trial, seed=3)
    critic = untrained(trial.config, trial.seed).fit(trained.x, trained.y, groups=trained.groups)
    assert (row.n_trained, row.n) == (160, 40) and trial.config.lr == 0.01
    assert row.mi == critic.estimate(held_out.x, held_out.y)
    assert row.mi_trained == critic.estimate(trained.x, trained.y)
    answers, references = (held_out.rows(m) for m in (held_out.is_model, ~held_out.is_model))
    assert row.emi == critic.estimate(answers.x, answers.y) - critic.estimate(references.x, references.y)
    assert run_trial(Pool(whole.x, whole.y, whole.groups), trial, seed=3).emi is None
    with pytest.raises(ValueError, match="cannot be held out"):
        Pool(whole.x, whole.y, np.zeros(200, dtype=int)).split(0.2, 0)
    with pytest.raises(ValueError, match="labels"):
        Pool(whole.x, whole.y, np.zeros(3, dtype=int))


@pytest.mark.parametrize("steps", [1, 4, 30])
def test_the_last_variance_is_of_the_last_steps(steps: int) -> None:
    whole = pool()
    trained, held_out = whole.split(0.2, 3)

    def fitted(count: int) -> CLUB:
        critic = untrained(SMALL.model_copy(update={"steps": count}), 7)
        return critic.fit(trained.x, trained.y, groups=trained.groups)

    config = SMALL.model_copy(update={"steps": steps})
    row = run_trial(whole, Trial("default", 0, config, 7), seed=3)
    # The paths of trainings are the same whatever their length.
    last = [fitted(k).estimate(held_out.x, held_out.y) for k in range(max(1, steps - 9), steps + 1)]
    if steps == 1:
        assert row.last_variance is None
    else:
        assert row.last_variance == pytest.approx(np.var(last, ddof=1), rel=1e-6)
    assert row.mi == last[-1]
    stopping = config.model_copy(update={"early_stopping": True})
    assert run_trial(whole, Trial("default", 0, stopping, 7), seed=3).last_variance is None


def test_log_likelihood_is_that_of_the_gaussian() -> None:
    p = pool(50)
    critic: CLUB = untrained(SMALL, 0).fit(p.x, p.y)
    mu, logvar = critic.moments(p.x)
    density = np.exp(-np.square(p.y - mu) / (2 * np.exp(logvar))) / np.sqrt(2 * pi * np.exp(logvar))
    assert log_likelihood(critic, p.x, p.y) == pytest.approx(np.log(density).sum(axis=1).mean(), rel=1e-5)
    exact = -0.5 * 4 * (log(2 * pi * 0.36) + 1)
    far = untrained(CriticConfig(hidden=32, batch=256, steps=150, lr=1e-2), 0)
    one = pool(3000, 1).rows(pool(3000, 1).is_model)  # a single law: the answers
    assert log_likelihood(far.fit(one.x, one.y), one.x, one.y) == pytest.approx(exact, abs=0.3)


def test_known_rows_are_not_made_again_and_the_rest_is_the_same() -> None:
    todo = trials(SMALL, TINY_GRID)
    told: list[tuple[int, int, str]] = []
    first = sweep(pool(), todo, progress=lambda done, total, row: told.append((done, total, row.key)))
    assert told == [(i + 1, 4, trial.key) for i, trial in enumerate(todo)]
    fake = SweepRow("default-seed-0", "default", 0, 0, 1, 2, 3, 4, None, 5, 6, 7)
    told.clear()
    again = sweep(
        pool(),
        todo,
        known={fake.key: fake},
        progress=lambda done, total, row: told.append((done, total, row.key)),
    )
    assert again == [fake, *first[1:]] and len(told) == 3 and told[0][:2] == (2, 4)
    assert first[0] != sweep(pool(), todo[:1], seed=1)[0]


def test_the_table_shows_the_defaults_under_every_setting() -> None:
    rows = sweep(pool(), trials(SMALL, TINY_GRID, seeds=2))
    lines = summarise(rows, SMALL, TINY_GRID)
    assert [(line.setting, line.value, line.default) for line in lines] == [
        ("lr", 0.001, True),
        ("lr", 0.01, False),
        ("batch", 32, False),
        ("batch", 64, True),
        ("hidden", 8, False),
        ("hidden", 16, True),
    ]
    assert lines[0].mi == lines[3].mi == np.mean([row.mi for row in rows[:2]])
    assert lines[1].last_variance == np.mean([row.last_variance for row in rows if row.value == 0.01])
    assert lines[1].seeds == 2 and lines[1].emi_spread is not None and lines[1].emi_spread > 0
    with pytest.raises(ValueError, match="no training of lr"):
        summarise(rows, SMALL, GRID)


# The job.


def audited(out: Path, n: int = 60, response: bool = True) -> None:
    """A run directory as an audit leaves it: two shards of sketches with their row samples."""
    rng = np.random.default_rng(0)
    run = RunDir(out)
    run.open()
    folder = run.profiles("test")
    for shard in range(2):
        x = unit(rng.normal(size=(n, 6)))
        there = np.ones(n, dtype=bool)
        has = {"image": ~there, "text": there, "response": there & response, "reference": rng.random(n) < 0.8}
        rows = Rows(
            tuple(f"{shard}-{i}" for i in range(n)),
            *[tuple(f"b{i}" for i in range(n))] * 2,
            np.zeros((n, 0), np.float32),
            x,
            x,
            unit(x + 0.5 * rng.normal(size=(n, 6))),
            unit(x + 0.3 * rng.normal(size=(n, 6))),
            has,
        )
        write_profile(folder / f"shard-{shard}.npz", sketch_rows(rows, np.ones((n, 4), np.float32), [], 2000))


def unit(z: NDArray[np.float64]) -> NDArray[np.float32]:
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


CONFIG = """
data: {reader: lab}
models: [{name: m, generator: transformers}]
critic: {hidden: 8, steps: 10, batch: 32}
sweep: {lr: [0.01], batch: [32], hidden: [8, 4]}
"""


def test_pairs_come_from_the_sampled_rows_of_the_newest_sketches(tmp_path: Path) -> None:
    from jobs.sweep import audited_pairs

    with pytest.raises(BadInput, match="holds no finished audit"):
        audited_pairs(RunDir(tmp_path), 1000, 0)
    audited(tmp_path)
    found = audited_pairs(RunDir(tmp_path), 10_000, 0)
    assert found.is_model is not None and found.is_model.sum() == 120 and 170 < len(found) < 240
    assert set(found.groups) == set(hash_blocks([f"b{i}" for i in range(60)], 2**31 - 1))
    few = audited_pairs(RunDir(tmp_path), 50, 0)
    assert 40 <= len(few) <= 50
    assert all((few.groups == g).sum() == (found.groups == g).sum() for g in few.groups)


def test_the_job_says_its_budget_first_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from auditor.pipeline.bars import Bars
    from jobs import sweep as job
    from jobs.run.settings import load_config

    audited(tmp_path / "out")
    path = tmp_path / "audit.yaml"
    path.write_text(CONFIG)
    config = load_config(job.SweepConfig, path, ["sweep.seeds=2"])
    planned = job.plan(config, tmp_path / "out")
    assert (planned.budget.trainings, planned.budget.done, planned.budget.steps) == (6, 0, 60)

    class Stopped(Exception):
        pass

    def stop(self: Bars, stage: str, done: int, total: int, seconds: float) -> None:
        if done == 2:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Bars, "step", stop)
        with pytest.raises(Stopped):
            job.run(config, tmp_path / "out", Bars())
    assert job.plan(config, tmp_path / "out").budget.done == 2
    resumed = job.run(config, tmp_path / "out", Bars())
    told = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert [SweepRow(**row) for row in told["rows"]] == resumed.rows
    page = (tmp_path / "out" / "sweep.html").read_text()
    assert (
        page.count("<svg") == 3 and "6 trainings (2 of them done already)" in page and "60 base ids" in page
    )
    assert len(told["table"]) == 5 and told["pool"]["base_ids"] == 60 and told["versions"]["torch"]

    audited(tmp_path / "whole")
    assert job.run(config, tmp_path / "whole", Bars()).rows == resumed.rows
    assert job.plan(config, tmp_path / "out").budget.done == 6
    other = load_config(job.SweepConfig, path, ["sweep.seeds=2", "critic.steps=11"])
    assert job.plan(other, tmp_path / "out").budget.done == 0
    kept = next(planned.folder.glob("*.json"))
    kept.write_text("{")
    with pytest.raises(AuditError, match="delete it"):
        job.plan(config, tmp_path / "out")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from jobs.sweep import command

    out, path = tmp_path / "out", tmp_path / "audit.yaml"
    audited(out)
    path.write_text(CONFIG)
    command(path, None, out, dry_run=True)
    assert "3 trainings on" in capsys.readouterr().out and not list(out.glob("sweep.*"))
    command(path, None, out)
    told = capsys.readouterr().out
    assert told.index("3 trainings on") < told.index("log-likelihood") and "sweep.html" in told
    with pytest.raises(BadInput, match="holds no finished audit"):
        command(path, None, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(BadInput, match="no --config"):
        command(None, None, out)
