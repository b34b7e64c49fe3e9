"""The capacity model against files as they are written, and against a day reckoned by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditor.estimators import CLUB
from auditor.pipeline.capacity import Costs, Load, Setup, ceilings, embedding_bytes, needs, sketch_bytes
from auditor.profiles.profile import write_profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows, joined
from auditor.storage.embedding_store import embedding_table, normalise
from auditor.storage.row_cache import ARROW

D = 160


@pytest.mark.parametrize(
    ("n", "sample", "critics", "rel"),
    [(600, 400, 2, 0.02), (600, 400, 0, 0.02), (300, 400, 1, 0.15), (400, 400, 2, 0.15)],
)
def test_size_of_a_sketch_is_that_of_its_file(
    tmp_path: Path, n: int, sample: int, critics: int, rel: float
) -> None:
    """Where the sample is whole the file is compressed, which of random rows leaves most."""
    rng = np.random.default_rng(0)
    z = normalise(rng.normal(size=(4 * n, D))).rows.reshape(4, n, D)
    every = np.ones(n, dtype=bool)
    has = dict.fromkeys(("image", "text", "response", "reference"), every)
    has["reference"] = np.arange(n) % 20 > 0
    z[3, ~has["reference"]] = 0
    ids = tuple(map(str, range(n)))
    made = [
        CLUB(hidden=4, steps=1, holdout=0, seed=i, start="random").fit(z[0, :8], z[2, :8])
        for i in range(critics)
    ]
    rows = Rows(ids, ids, ids, z[0], z[1], joined(z[0], z[1], every, every), z[2], z[3], has)
    path = tmp_path / "a.npz"
    write_profile(path, sketch_rows(rows, rng.random((n, 4)), made, sample))
    expected = sketch_bytes(Setup(dim=D, critics=critics, sample=sample, shard=n))
    assert path.stat().st_size == pytest.approx(expected, rel=rel)


def test_size_of_embeddings_is_that_of_their_file(tmp_path: Path) -> None:
    """Four contents a record; vectors, norms and keys."""
    rng = np.random.default_rng(1)
    n = 4 * 500
    keys = [rng.bytes(32).hex() for _ in range(n)]
    path = ARROW.write(tmp_path, "a", embedding_table(keys, rng.normal(size=(n, 768)), [None] * n))
    assert path.stat().st_size / 500 == pytest.approx(embedding_bytes(Setup()), rel=0.02)


def test_a_day_reckoned_by_hand() -> None:
    load = Load(records=86_400, image_bytes=1e5, text_bytes=1e3, prompt_tokens=100, answer_tokens=10)
    costs = Costs(
        generate_prompt=1e-3,
        generate_answer=1e-2,
        embed_image=0.5,
        embed_text=0.1,
        decode_image=0.25,
        read=0.125,
        admit=0.5,
        sketch=1.5,
        club=0.25,
        merge=3.0,
        plan_bytes=1000,
    )
    setup = Setup(dim=1, critics=2, sample=1, shard=10, window=0.5)
    of = needs(load, costs, setup)  # one record a second
    assert of.generate_gpus == pytest.approx(0.1 + 0.1)
    assert of.embed_gpus == 0.5 and of.text_cores == pytest.approx(3 * 0.1)
    assert (of.decode_cores, of.admit_cores, of.read_cores, of.sketch_cores) == (0.25, 0.5, 0.125, 2.0)
    assert of.merge_share == pytest.approx(0.3)
    assert of.network_in == 1.01e5 and of.stored_records == 8.64e7
    assert of.network_sketches * 86_400 == pytest.approx(of.stored_sketches)
    assert of.driver_memory == pytest.approx(43_200_000 + 3 * sketch_bytes(setup))
    half = needs(load, costs, replace(setup, shard=20))
    assert half.merge_share == pytest.approx(0.15) and half.stored_sketches == of.stored_sketches / 2
    most = ceilings(load, costs, setup)
    assert most["admitting images in the driver"] == 86_400 / 0.625  # reading and admitting
    assert most["merging sketches in the driver"] == pytest.approx(86_400 * 10 / 3)
    assert most["the plan in the driver's memory"] == pytest.approx(64e9 / 500)
