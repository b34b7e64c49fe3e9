"""Sums of one unit of rows, against sums written out by hand."""

import numpy as np
import pytest

from auditor.estimators.club import CLUB
from auditor.profiles.profile import CONTENTS, SKETCHED, Profile
from auditor.profiles.row_sums import content_norms, sketch_shard
from auditor.profiles.rows import RowKeys
from auditor.sketch.blocks import hash_blocks
from auditor.storage.embedding_store import EmbeddingStore, embedding_table
from auditor.storage.row_cache import ARROW
from auditor.storage.work_units import text_key

N, D = 50, 6


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """50 rows: some without an image, an answer or a reference; and two critics."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    stores = {}
    for kind in ("images", "texts"):
        names = [text_key(f"{kind} {i}") for i in range(3 * N)]
        vectors = rng.normal(size=(3 * N, D)).astype(np.float32) * 5
        (folder / kind).mkdir()
        ARROW.write(folder / kind, "a", embedding_table(names, vectors, [None] * 3 * N))
        stores[kind] = (names, vectors, EmbeddingStore(folder / kind))
    images, texts = stores["images"][0], stores["texts"][0]
    rows = [
        RowKeys(
            f"r{i}",
            f"b{i % 40}",
            f"b{i % 40}",
            () if i % 5 == 0 else (images[i],) if i % 3 else (images[i], images[i + N]),
            texts[i],
            texts[N + i] if i % 7 else None,
            texts[2 * N + i] if i % 4 else None,
        )
        for i in range(N)
    ]
    critics = []
    for seed in (0, 1):
        x = rng.normal(size=(200, D))
        critics.append(CLUB(hidden=8, steps=20, seed=seed).fit(x, x + rng.normal(size=x.shape)))
    return rows, stores, critics


def sketch(world, rows):
    _, stores, critics = world
    return sketch_shard(rows, stores["images"][2], stores["texts"][2], critics, sample=20)


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def test_sums_are_those_of_the_rows(world):
    """Against sums written out by hand from the raw vectors."""
    rows, stores, critics = world
    got = sketch(world, rows)
    vec = {
        k: dict(zip(names, unit(v.astype(np.float64)), strict=True)) for k, (names, v, _) in stores.items()
    }
    image = {r.record_id: unit(np.mean([vec["images"][k] for k in r.images], 0)) for r in rows if r.images}
    x = {
        r.record_id: (image[r.record_id] + vec["texts"][r.text]) / 2 if r.images else vec["texts"][r.text]
        for r in rows
    }
    expected = {
        "image": list(image.values()),
        "text": [vec["texts"][r.text] for r in rows],
        "x": list(x.values()),
        "response": [vec["texts"][r.response] for r in rows if r.response],
        "reference": [vec["texts"][r.reference] for r in rows if r.reference],
    }
    for name in SKETCHED:
        z = np.array(expected[name])
        assert got.sketches[name].n == len(z)
        np.testing.assert_allclose(got.sketches[name].S, z.T @ z, atol=1e-5)
    both = [r for r in rows if r.response and r.reference]
    for critic, model, reference in zip(
        critics, got.critic_sums["emi_model"], got.critic_sums["emi_reference"], strict=True
    ):
        zx = np.array([x[r.record_id] for r in both], np.float32)
        for sums, which in ((model, "response"), (reference, "reference")):
            y = np.array([vec["texts"][getattr(r, which)] for r in both], np.float32)
            assert sums.value() == pytest.approx(critic.estimate(zx, y), abs=1e-5)
            blocks = np.bincount(hash_blocks([r.base_id for r in both]), minlength=60)
            assert (sums.n == blocks).all()
    assert got.critic_sums["model"][0].n.sum() == sum(r.response is not None for r in rows)


def test_norms_and_sample_travel_along(world):
    rows, stores, _ = world
    got = sketch(world, rows)
    lengths = {k: dict(zip(n, np.linalg.norm(v, axis=1), strict=True)) for k, (n, v, _) in stores.items()}
    described = got.norms.descriptors()
    answers = [lengths["texts"][r.response] for r in rows if r.response]
    assert described["response_norm"] == pytest.approx(np.mean(answers), rel=1e-5)
    assert described["response_norm_std"] == pytest.approx(np.std(answers), rel=1e-4)
    sample = got.sample
    assert len(sample) == 20 and sample.seen == N and not sample.complete
    by_id = {r.record_id: r for r in rows}
    for i, record_id in enumerate(sample.ids):
        row = by_id[str(record_id)]
        has = [bool(row.images), True, row.response is not None, row.reference is not None]
        assert (sample.rows["has"][i] == has).all() and sample.rows["has"].shape[1] == len(CONTENTS)
        assert sample.rows["norm"][i, 1] == pytest.approx(lengths["texts"][row.text], rel=1e-6)
        assert (sample.rows["norm"][i] > 0).tolist() == has


def test_merging_shards_is_sketching_the_whole(world):
    rows = world[0]
    whole, total = sketch(world, rows), Profile.empty()
    for i in range(0, N, 16):
        total = total.merge(sketch(world, rows[i : i + 16]))
    a, b = whole.to_arrays(), total.to_arrays()
    assert a.keys() == b.keys() and (whole.units, total.units) == (1, 4)
    for name in a:
        if a[name].dtype.kind == "f":
            np.testing.assert_allclose(a[name], b[name], atol=1e-4, err_msg=name)
        elif name != "profile":
            assert (a[name] == b[name]).all(), name


def test_a_shard_without_images_or_answers(world):
    rows, stores, critics = world
    bare = [RowKeys(r.record_id, r.base_id, r.group, (), r.text, None, None) for r in rows[:3]]
    got = sketch_shard(bare, None, stores["texts"][2], critics, sample=5)
    assert got.sketches["image"].n == 0 and got.sketches["x"].n == 3
    assert got.critic_sums["model"][0].n.sum() == 0
    assert got.norms.descriptors()["image_norm"] is None


def test_norms_of_several_images_are_their_mean(world):
    rows, stores, _ = world
    names, vectors, images = stores["images"]
    got = content_norms(rows, images, stores["texts"][2])
    lengths = dict(zip(names, np.linalg.norm(vectors, axis=1), strict=True))
    for row, norms in zip(rows, got, strict=True):
        mean = np.mean([lengths[key] for key in row.images]) if row.images else 0.0
        assert norms[0] == pytest.approx(mean, rel=1e-6)
    assert content_norms(rows, None, stores["texts"][2])[:, 0].tolist() == [0.0] * N
