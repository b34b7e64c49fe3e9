"""Divergences as units of work: what a worker writes is what a call gives, to the bit."""

import numpy as np
import pytest
from auditor.pipeline.workers.divergences import DivergenceItem, DivergenceWorker, MeasureSettings

from auditor.errors import AuditError
from auditor.measures.divergences import Measured, divergence, read_measured, write_measured
from auditor.profiles.folding import Streamed, write_streamed
from auditor.profiles.profile import sketch_rows, write_sketches
from auditor.profiles.rows import Rows, joined
from auditor.storage.work_units import Shard

N, D = 300, 5


def sums(seed, shift=0.0, n=N, images=True):
    rng = np.random.default_rng(seed)
    vectors = {name: rng.normal(size=(n, D)) + shift for name in ("image", "text", "response", "reference")}
    vectors = {k: (z / np.linalg.norm(z, axis=1)[:, None]).astype(np.float32) for k, z in vectors.items()}
    has = {name: np.ones(n, bool) for name in vectors}
    if not images:
        vectors["image"] = np.zeros((n, D), np.float32)
        has["image"] = np.zeros(n, bool)
    ids = tuple(f"{seed}-{i}" for i in range(n))
    x = joined(vectors["image"], vectors["text"], has["image"], has["text"])
    rows = Rows(
        ids, ids, vectors["image"], vectors["text"], x, vectors["response"], vectors["reference"], has
    )
    return sketch_rows(rows, np.ones((n, 4), np.float32), (), 1000)


@pytest.fixture
def files(tmp_path):
    """P as a baseline's file; Q in two files, as a stream leaves them."""
    p, q = sums(0), (sums(1, 0.3), sums(2, 0.3, n=100))
    write_sketches(tmp_path / "p.npz", p)
    for i, part in enumerate(q):
        write_streamed(tmp_path / f"q{i}.npz", Streamed(part, {"n": N}))
    return p, q[0].merge(q[1]), (tmp_path / "p.npz",), (tmp_path / "q0.npz", tmp_path / "q1.npz")


def measured(tmp_path, p, q, modality):
    worker = DivergenceWorker(MeasureSettings(tmp_path, 0.9, 1))
    worker.run(Shard("it", (DivergenceItem("it", p, q, modality, 7),)))
    return read_measured(tmp_path / "it.json")


@pytest.mark.parametrize("modality", ["image", "text", "joint", "response"])
def test_the_same_as_the_call(tmp_path, files, modality):
    p, q, of_p, of_q = files
    truth = divergence(p, q, modality, seed=7, level=0.9)
    assert truth.divergence.p_value is not None and truth.left is not None
    assert measured(tmp_path, of_p, of_q, modality) == truth


def test_one_worker_keeps_its_sides_apart(tmp_path, files):
    _, _, of_p, of_q = files
    worker = DivergenceWorker(MeasureSettings(tmp_path, 0.9, 1))
    for name, side in (("a", of_q), ("b", of_p), ("c", of_q)):
        worker.run(Shard(name, (DivergenceItem(name, of_p, side, "text", 1),)))
    a, b, c = (read_measured(tmp_path / f"{name}.json") for name in "abc")
    assert a == c != b and b.divergence.value == pytest.approx(0.0, abs=1e-12)


def test_what_cannot_be_measured_says_why(tmp_path, files):
    _, _, of_p, _ = files
    write_streamed(tmp_path / "none.npz", Streamed(None, {"n": 3}))
    write_streamed(tmp_path / "bare.npz", Streamed(sums(3, images=False), {"n": N}))
    assert measured(tmp_path, of_p, (tmp_path / "none.npz",), "text") == Measured(None, "no usable row")
    found = measured(tmp_path, of_p, (tmp_path / "bare.npz", tmp_path / "none.npz"), "image")
    assert found == Measured(None, "no row has an image")


def test_a_damaged_result_is_named(tmp_path):
    write_measured(tmp_path / "x.json", Measured(None, "why"))
    (tmp_path / "x.json").write_text('{"divergence": 3')
    with pytest.raises(AuditError, match=r"x\.json: not readable .*; delete it and run again"):
        read_measured(tmp_path / "x.json")
