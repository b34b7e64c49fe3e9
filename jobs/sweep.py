"""A sweep shows how much the critic's hyperparameters matter (Table 6, Figure 7 of the paper), on the rows of
an audit.

python -m jobs.sweep --config FILE.yaml --out DIR [--set sweep.seeds=3] [--dry-run]

FILE is the audit's config, DIR the folder of its finished audit: `critic` gives the defaults around which one
setting is moved at a time, `sweep` (below) the grid. The pool is the row sample that travels with the audit's
sketches: all of its rows, or the `row_sample` of each shard. What it will take is said first; each training
is kept as it ends, and the same command goes on from there. Writes DIR/sweep.json and DIR/sweep.html.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.table import Table

from auditor.errors import AuditError, BadInput
from auditor.estimators.sweep import (
    GRID,
    HOLDOUT,
    Budget,
    Grid,
    Pool,
    Summary,
    SweepRow,
    Trial,
    budget,
    summarise,
    sweep,
    trials,
)
from auditor.pipeline.bars import Bars
from auditor.profiles.profile import having, read_profile
from auditor.report.numbers import number
from auditor.report.provenance import versions
from auditor.report.sweep import sweep_html
from auditor.sketch.blocks import hash_blocks
from auditor.storage.run_dir import RunDir, digest, write_bytes
from jobs.cli import Config, DryRun, Out, Set
from jobs.run.settings import load_config
from schemas.config import AuditConfig

RESULT, PAGE = "sweep.json", "sweep.html"
FORMAT_VERSION = 2


class SweepSettings(BaseModel):
    """The section `sweep` says what is moved, and how often."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lr: tuple[float, ...] = tuple(GRID["lr"])
    batch: tuple[int, ...] = tuple(int(v) for v in GRID["batch"])
    hidden: tuple[int, ...] = tuple(int(v) for v in GRID["hidden"])
    seeds: int = Field(1, ge=1, description="Trainings of each setting.")
    holdout: float = Field(HOLDOUT, gt=0, lt=1, description="Share of the base ids that no training sees.")

    @property
    def grid(self) -> Grid:
        return {"lr": self.lr, "batch": self.batch, "hidden": self.hidden}


class SweepConfig(AuditConfig):
    """This is an audit's config, with the grid."""

    sweep: SweepSettings = SweepSettings()


@dataclass(frozen=True)
class Sweep:
    """`sweep.json` says this."""

    rows: list[SweepRow]
    table: list[Summary]


@dataclass(frozen=True)
class Planned:
    """This sweep could start."""

    pool: Pool
    todo: list[Trial]
    known: dict[str, SweepRow]
    folder: Path
    budget: Budget


def command(config: Config = None, set_: Set = None, out: Out = Path("out"), dry_run: DryRun = False) -> None:
    """Train the critic at other hyperparameters, one at a time, on the rows of the audit in --out.

    Example: auditor sweep --config examples/lab.yaml --out out --set sweep.seeds=3
    """
    if config is None and not set_:
        raise BadInput("no --config; try: auditor sweep --config examples/lab.yaml --out out")
    settings = load_config(SweepConfig, config, set_ or ())
    console = Console()
    if dry_run:
        console.print(str(plan(settings, out).budget), highlight=False)
        return
    console.print(table(run(settings, out, Bars(), console).table))
    console.print(f"{out / PAGE}\n{out / RESULT}", soft_wrap=True)


def plan(config: SweepConfig, out: Path) -> Planned:
    """Read the pool, find what is trained already, count and time the rest. Raises `BadInput` where the
    folder holds no finished audit with references or answers, or too few base ids."""
    import torch

    torch.set_num_threads(config.shards.threads)
    run_dir = RunDir(out)
    pool = audited_pairs(run_dir, config.critic.max_rows, config.seed)
    todo = trials(config.critic, config.sweep.grid, seeds=config.sweep.seeds, seed=config.seed)
    identity = {
        "format": FORMAT_VERSION,
        "pool": pool.digest,
        "critic": config.critic.model_dump(exclude={"seeds", "max_rows"}),
        "holdout": config.sweep.holdout,
        "seed": config.seed,
        "threads": config.shards.threads,
        "versions": {k: v for k, v in versions().items() if k in ("shift-auditor", "torch", "numpy")},
    }
    folder = run_dir.root / "sweeps" / digest(json.dumps(identity, sort_keys=True))
    known = _read_trained(folder, todo)
    try:
        cost = budget(
            pool,
            [trial for trial in todo if trial.key not in known],
            done=len(known),
            holdout=config.sweep.holdout,
            seed=config.seed,
        )
    except ValueError as error:
        raise BadInput(f"{out}: {error}") from error
    return Planned(pool, todo, known, folder, cost)


def run(config: SweepConfig, out: Path, bars: Bars, console: Console | None = None) -> Sweep:
    """Say what it will take, train what is missing, write DIR/sweep.json and DIR/sweep.html."""
    _newest_profiles(RunDir(out))
    with RunDir(out).lock(), bars.shown():
        planned = plan(config, out)
        if console is not None:
            console.print(str(planned.budget), highlight=False)
        planned.folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()

        def keep(done: int, total: int, row: SweepRow) -> None:
            write_bytes(planned.folder / f"{row.key}.json", json.dumps(row.to_json()).encode())
            bars.step("train critics", done, total, time.monotonic() - began)

        rows = sweep(
            planned.pool,
            planned.todo,
            holdout=config.sweep.holdout,
            seed=config.seed,
            known=planned.known,
            progress=keep,
        )
        result = Sweep(rows, summarise(rows, config.critic, config.sweep.grid))
        write_bytes(out / RESULT, _json(config, planned, result))
        page = sweep_html(result.table, str(planned.budget), _facts(config, planned, result))
        write_bytes(out / PAGE, page.encode())
    return result


def audited_pairs(run_dir: RunDir, max_rows: int, seed: int) -> Pool:
    """Return (query, answer) and (query, reference) of the rows sampled by the run's newest sketches, of a
    seeded sample of groups beyond `max_rows` pairs. Raises `BadInput` where there are none."""
    folder = _newest_profiles(run_dir)
    xs, ys, ids, model = [], [], [], []
    for path in sorted(folder.glob("*.npz")):
        sample = read_profile(path).sample
        if "x" not in sample.rows:
            continue
        for answer in ("response", "reference"):
            if answer in sample.rows:
                mask = having(sample, "x", answer)
                xs.append(sample.rows["x"][mask])
                ys.append(sample.rows[answer][mask])
                ids.append(sample.groups[mask])
                model.append(np.full(int(mask.sum()), answer == "response"))
    if not sum(map(len, xs)):
        raise BadInput(f"{folder}: no row has both a query and an answer")
    names = np.concatenate(ids)
    pool = Pool(
        np.concatenate(xs),
        np.concatenate(ys),
        hash_blocks(names.tolist(), 2**31 - 1),
        np.concatenate(model),
    )
    if len(pool) <= max_rows:
        return pool
    groups = np.random.default_rng(seed).permutation(np.unique(pool.groups))
    counts = np.cumsum([int((pool.groups == g).sum()) for g in groups])
    return pool.rows(np.isin(pool.groups, groups[: max(1, int((counts <= max_rows).sum()))]))


def _newest_profiles(run_dir: RunDir) -> Path:
    """Return the folder of the newest profiles."""
    shards = sorted(
        (run_dir.root / "profiles").glob("*/*.npz"), key=lambda path: (path.stat().st_mtime, str(path))
    )
    if not shards:
        out = run_dir.root.parent
        raise BadInput(f"{out}: holds no finished audit; first: auditor audit --config FILE --out {out}")
    return shards[-1].parent


def _read_trained(folder: Path, todo: Sequence[Trial]) -> dict[str, SweepRow]:
    rows = {}
    for trial in todo:
        path = folder / f"{trial.key}.json"
        if path.is_file():
            try:
                rows[trial.key] = SweepRow(**json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError) as error:
                raise AuditError(f"{path}: not readable ({error}); delete it and run again") from error
    return rows


def _json(config: SweepConfig, planned: Planned, result: Sweep) -> bytes:
    tree: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "versions": versions(),
        "seed": config.seed,
        "critic": config.critic.model_dump(mode="json"),
        "sweep": config.sweep.model_dump(mode="json"),
        "pool": {
            "pairs": len(planned.pool),
            "base_ids": len(np.unique(planned.pool.groups)),
            "digest": planned.pool.digest,
        },
        "note": "nats, of base ids that no training saw; seconds of one training",
        "table": [asdict(line) for line in result.table],
        "rows": [row.to_json() for row in result.rows],
    }
    return (json.dumps(tree, indent=1, allow_nan=False) + "\n").encode()


def _facts(config: SweepConfig, planned: Planned, result: Sweep) -> dict[str, str]:
    """Return what made the page."""
    critic = config.critic.model_dump(exclude={"seeds", "max_rows"})
    seconds = sum(row.seconds for row in result.rows)
    return {
        "Trained": f"{len(result.rows)} critics in {seconds:.0f} s of training",
        "Base setting": ", ".join(f"{name} {value}" for name, value in critic.items() if value != {}),
        "Pairs": f"{len(planned.pool):,} of {len(np.unique(planned.pool.groups)):,} base ids, "
        f"{config.sweep.holdout:.0%} of these held out",
        "Seed": str(config.seed),
        **versions(),
    }


def table(lines: Sequence[Summary]) -> Table:
    """Return the sweep as a table, the defaults marked."""
    grid = Table(title="one setting at a time; nats, of held-out base ids", title_justify="left", box=None)
    for name in ("setting", "value", "log-likelihood", "MI", "var.", "EMI", "MI, trained rows", "seconds"):
        grid.add_column(name, justify="left" if name == "setting" else "right")
    before = ""
    for line in lines:
        spread = f" ±{number(line.emi_spread)}" if line.seeds > 1 else ""
        grid.add_row(
            line.setting if line.setting != before else "",
            f"{line.value:g}" + ("*" if line.default else ""),
            number(line.log_likelihood, 2),
            number(line.mi),
            "–" if line.last_variance is None else f"{line.last_variance:.1g}",
            number(line.emi) + (spread if line.emi is not None else ""),
            number(line.mi_trained),
            f"{line.seconds:.1f}",
            style="bold" if line.default else None,
        )
        before = line.setting
    grid.caption, grid.caption_justify = "* default; var.: of MI over the last ten steps", "left"
    return grid


if __name__ == "__main__":
    from jobs.cli import app, run_job

    app.command("sweep")(command)
    run_job("sweep")
