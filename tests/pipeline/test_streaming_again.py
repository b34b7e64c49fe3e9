"""Rows that failed in a run that streams, and the same call again, on a real local Ray: what can be done now
is done, with the bits of a run in which nothing failed."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from PIL import Image as Pillow
from ray import cloudpickle

from auditor.graders import Choice
from auditor.pipeline.embed import Chosen
from auditor.pipeline.profile import Encoders, profile
from auditor.pipeline.workers.profiles import ModelAnswers
from auditor.pipeline.workplace import Workplace
from auditor.profiles.profile import Profile, folded
from auditor.records import MediaPolicy, RecordWriter, read_run_records
from auditor.scenarios.row_ranges import Part, survey
from auditor.scenarios.windows import one_window
from auditor.storage.response_store import response_table
from auditor.storage.row_cache import PARQUET
from auditor.storage.run_dir import RunDir
from auditor.storage.work_units import prompt_key
from schemas.config import GraderConfig, ShardConfig, WorkersConfig
from schemas.record import Image, Record
from schemas.response import Answer
from tests.conftest import workplace_at

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file
N, UNIT = 90, 8


class Moody:
    """Byte counts through a fixed matrix, a row by itself. Of the texts that stand in its file it raises, or
    (after a !) dies; every text that it is given is written down beside it."""

    def __init__(self, modality: Any, dim: int, words: Path) -> None:
        self.modality, self.dim, self.identity = modality, dim, f"moody {modality}"
        self._words = words
        self._matrix = np.random.default_rng(dim).normal(size=(256, dim)).astype(np.float32)

    def encode(self, contents: Any) -> Any:
        with open(self._words.with_suffix(".seen"), "a") as file:
            file.writelines(f"{content}\n" for content in contents if isinstance(content, str))
        bad = self._words.read_text().splitlines()
        for content in contents:
            if f"!{content}" in bad:
                os.kill(os.getpid(), signal.SIGKILL)
            if content in bad:
                raise RuntimeError("not today")
        data = [content.encode() if isinstance(content, str) else content for content in contents]
        counts = [np.bincount(np.frombuffer(each, np.uint8), minlength=256) for each in data]
        return np.array([count @ self._matrix for count in counts], dtype=np.float32)


@pytest.fixture(scope="module")
def cluster(quiet_ray: Callable[[int], None]) -> Iterator[None]:
    quiet_ray(2)
    yield
    ray.shutdown()


@pytest.fixture
def records(tmp_path: Path) -> Path:
    media = tmp_path / "media"
    media.mkdir()
    path = tmp_path / "r.parquet"
    with RecordWriter(path) as writer:
        for i in range(N):
            file = io.BytesIO()
            Pillow.new("RGB", (4, 4), (i, 255 - i, 7)).save(file, "PNG")
            (media / f"{i}.png").write_bytes(file.getvalue())
            image = Image(f"{i}.png", digest=hashlib.sha256(file.getvalue()).hexdigest())
            texts = tuple(f"it is {(i * k) % 13}" for k in range(1, 6))
            writer.write(Record(f"r{i}", f"r{i}", (image,), f"what is {i}?", (), {"m": texts}, f"{i % 13}"))
    return path


EXACT = Choice(GraderConfig(name="exact"))


class Runs:
    """The same call again and again, with two workers, in one folder."""

    def __init__(self, root: Path, records: Path, words: Path) -> None:
        self.words, self._records, self._root = words, records, root
        self.model = ModelAnswers("m")
        self.words.write_text("")

    def __call__(self, out: str, *bad: str) -> Profile:
        self.words.write_text("\n".join(bad))
        self.words.with_suffix(".seen").write_text("")
        run = RunDir(self._root / out)
        with run.lock():
            media = MediaPolicy(self._root / "media")
            workers, shards = WorkersConfig(cpu=2, retries=2), ShardConfig(stream=UNIT)
            with workplace_at(run, "ray", workers, shards, media=media) as at:
                (part,) = survey(self._records, one_window(), run.windows("w"), UNIT).parts
                return self._fold(at, part)

    def _fold(self, at: Workplace, part: Part) -> Profile:
        text, image = (
            Chosen(partial(Moody, modality, dim, self.words), f"moody {modality}", 0.0)
            for modality, dim in (("text", 8), ("image", 6))
        )
        files = profile(
            at, [part], Encoders(text, image), [], [self.model], sample=50, grader=EXACT, answers=50
        )
        return folded(files[part.window.name, "m"])

    @property
    def seen(self) -> set[str]:
        return set(self.words.with_suffix(".seen").read_text().splitlines())


@pytest.fixture
def runs(cluster: None, tmp_path: Path, records: Path) -> Runs:
    return Runs(tmp_path, records, tmp_path / "words")


def same(a: Profile, b: Profile) -> None:
    one, two = a.to_arrays(), b.to_arrays()
    assert one.keys() == two.keys()
    for name in one:
        assert np.array_equal(one[name], two[name]), name


def test_rows_that_failed_are_tried_again_by_the_next_run(runs: Runs, tmp_path: Path) -> None:
    """A text that raised, one that ended its worker, an image that was away: in three units of twelve."""
    clean = runs("clean")
    assert clean.n == N and clean.set_aside == ()
    missing = tmp_path / "media" / "40.png"
    missing.rename(tmp_path / "40.png")
    failed = runs("out", "what is 3?", "!what is 70?")
    assert {(row.row, row.reason.value) for row in failed.set_aside} == {
        (3, "model_failed"),
        (40, "image_missing"),
        (70, "model_failed"),
    }
    assert failed.again == (3, 40, 70) and failed.n == N - 3

    # Nothing has changed: the failed rows are looked at, no others.
    same(runs("out", "what is 3?", "!what is 70?"), failed)
    assert "what is 3?" in runs.seen and "what is 4?" not in runs.seen

    # One can be done, then all can.
    assert runs("out", "!what is 70?").again == (40, 70)
    (tmp_path / "40.png").rename(missing)
    same(runs("out"), clean)
    assert {"what is 40?", "what is 41?", "what is 70?"} <= runs.seen
    assert not {"what is 3?", "what is 20?", "what is 60?"} & runs.seen  # of units that were whole
    same(runs("out"), clean)
    assert runs.seen == set()


def answered(folder: Path, records: Path, failed: set[int], only: set[int] | None = None) -> Path:
    """A shard of the model's answers, as its own stage leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [record for batch in read_run_records(records) for record in batch]
    chosen = [i for i in range(N) if only is None or i in only]
    keys = [prompt_key(rows[i].images, rows[i].query or "", ()) for i in chosen]
    given = [
        Answer(error="model_failed: no answer in time")
        if i in failed
        else Answer(rows[i].responses["m"], (-1.0, -2.0, -float(i), -1.5, -0.5))
        for i in chosen
    ]
    PARQUET.write(folder, str(len(list(folder.iterdir()))), response_table(keys, given))
    return folder


def test_answers_that_were_missing_and_have_come_since(runs: Runs, records: Path, tmp_path: Path) -> None:
    """The answers' own stage asks again for those that failed; then their rows are whole."""
    clean_folder = answered(tmp_path / "all" / "of-m", records, set())
    runs.model = ModelAnswers("m", clean_folder, drawn=True)
    clean = runs("clean")
    assert clean.answers is not None and len(clean.answers.log_probabilities()) == 50

    folder = answered(tmp_path / "of-m", records, {12, 80})
    runs.model = ModelAnswers("m", folder, drawn=True)
    failed = runs("out")
    assert failed.again == (12, 80) and failed.n == N and failed.facts["answered"] == N - 2
    same(runs("out"), failed)
    answered(folder, records, set(), only={12, 80})
    same(runs("out"), clean)
    assert {"what is 12?", "what is 80?"} <= runs.seen and "what is 30?" not in runs.seen
