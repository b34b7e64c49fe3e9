"""How far a stage is, told while its units are under way."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np

from auditor.estimators import CLUB
from auditor.estimators.training import reporting
from auditor.pipeline.critics import how_far
from auditor.pipeline.progress import Tally, looking
from auditor.pipeline.workers.critics import part_file, write_part


class Heard(list[Tally]):
    def update(self, tally: Tally) -> None:
        self.append(tally)

    def waiting(self, what: str) -> None:
        pass


def test_what_is_left_is_told_by_the_rows_done_and_before_by_those_under_way() -> None:
    assert Tally("s", 10, 0, 0, 5.0).left is None
    assert Tally("s", 10, 0, 0, 5.0, under_way=1.0, pace=0.5).left == 18.0
    assert Tally("s", 10, 4, 0, 10.0, under_way=1.0, pace=9.0).left == 10.0
    assert Tally("s", 10, 10, 0, 10.0).left == 0.0


def test_a_stage_is_looked_at_while_it_runs() -> None:
    heard, enough = Heard(), threading.Event()

    def look() -> Tally:
        if len(heard) >= 2:
            enough.set()
        return Tally("s", 2, 0, 0, 1.0)

    with looking(heard, look, interval=0.01):
        assert enough.wait(60)
    told = len(heard)
    time.sleep(0.05)
    assert len(heard) == told >= 2


def test_critics_tell_what_share_of_them_is_trained(tmp_path: Path) -> None:
    names = ["critic-0", "critic-1", "critic-2"]
    began = time.monotonic()
    assert how_far(tmp_path, names, began).left is None
    write_part(tmp_path, "critic-1", began - 10.0, 0.25)
    tally = how_far(tmp_path, names, began)
    assert (tally.total, tally.done, tally.under_way) == (3, 0, 0.25) and 100 < (tally.left or 0) < 120
    part_file(tmp_path, "critic-1").write_text("0.2")  # half written
    (tmp_path / "critic-0.safetensors").write_bytes(b"")
    assert (how_far(tmp_path, names, began).done, how_far(tmp_path, names, began).under_way) == (1, 0.0)


def test_a_training_reports_its_share_and_keeps_its_bits() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 4)), rng.normal(size=(200, 3))
    for holdout in (0.0, 0.2):
        plain, told = CLUB(hidden=4, steps=200, batch=64, holdout=holdout), list[float]()
        watched = CLUB(hidden=4, steps=200, batch=64, holdout=holdout)
        with reporting(told.append):
            watched.fit(x, y)
        assert watched.digest == plain.fit(x, y).digest
        assert told and told == sorted(told) and told[0] >= 0 and told[-1] <= 1
