"""The sketch and the row sample: sums, and a monoid."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.sketch import RowSample, Sketch
from auditor.sketch.blocks import hash64


def rows(n: int, d: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def test_sums_are_what_they_say() -> None:
    z = rows(50)
    k = Sketch.from_rows(z, chunk=7)
    np.testing.assert_allclose(k.mean, z.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(k.second_moment, sum(np.outer(r, r) for r in z) / 50, atol=1e-12)
    assert k.trace == pytest.approx(sum(r @ r for r in z))
    assert k.norm4 == pytest.approx(sum((r @ r) ** 2 for r in z))
    assert (k.n, k.dim) == (50, 5)


def test_fp32_rows_are_added_in_float64() -> None:
    z = rows(20000, 8).astype(np.float32)
    k = Sketch.from_rows(z)
    wide = z.astype(np.float64)
    np.testing.assert_allclose(k.s, wide.sum(axis=0), rtol=0, atol=1e-9)
    np.testing.assert_allclose(k.S, wide.T @ wide, rtol=2e-6, atol=2e-2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=3, max_size=3), st.integers(0, 2**32 - 1))
def test_merge_is_associative_commutative_and_the_whole(sizes: list[int], seed: int) -> None:
    z = rows(sum(sizes), 4, seed)
    a, b, c = (Sketch.from_rows(part) for part in np.split(z, np.cumsum(sizes)[:2]))
    whole = Sketch.from_rows(z)
    for k in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b), Sketch.empty(4).merge(whole)):
        assert k.n == whole.n
        np.testing.assert_allclose(k.s, whole.s, atol=1e-10)
        np.testing.assert_allclose(k.S, whole.S, atol=1e-10)
        assert k.norm4 == pytest.approx(whole.norm4, abs=1e-9)


def test_one_order_gives_the_same_bits() -> None:
    shards = np.split(rows(400, 16).astype(np.float32), 4)
    once, again = (Sketch.empty(16), Sketch.empty(16))
    for shard in shards:
        once = once.merge(Sketch.from_rows(shard))
        again = again.merge(Sketch.from_rows(shard.copy()))
    assert once.S.tobytes() == again.S.tobytes() and once.norm4 == again.norm4


def test_stored_without_pickle() -> None:
    k = Sketch.from_rows(rows(9))
    sample = RowSample.from_rows(
        list("abc"), list("xyz"), list("ppq"), {"text": rows(3), "image": rows(3, 2)}, 2
    )
    file = io.BytesIO()
    np.savez(file, **{f"k/{n}": a for n, a in k.to_arrays().items()}, **sample.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as got:
        back = Sketch.from_arrays({n[2:]: got[n] for n in got if n.startswith("k/")})
        sample_back = RowSample.from_arrays({n: got[n] for n in got if not n.startswith("k/")})
    assert back.n == 9 and back.S.tobytes() == k.S.tobytes()
    assert list(sample_back.ids) == list(sample.ids) and sample_back.seen == 3
    np.testing.assert_array_equal(sample_back.rows["image"], sample.rows["image"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_named(bad: float) -> None:
    z = rows(30)
    z[17, 2] = bad
    with pytest.raises(ValueError, match="row 17 is not finite"):
        Sketch.from_rows(z)
    with pytest.raises(ValueError, match="text: row 17"):
        RowSample.from_rows([str(i) for i in range(30)], [""] * 30, [""] * 30, {"text": z}, 5)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="dimensions 3 and 4"):
        Sketch.empty(3).merge(Sketch.empty(4))
    with pytest.raises(ValueError, match="no moments"):
        _ = Sketch.empty(3).mean
    with pytest.raises(ValueError, match="shape"):
        Sketch.from_rows(np.zeros(3))
    with pytest.raises(ValueError, match="overflow"):
        Sketch.from_rows(np.full((2, 2), 1e30, dtype=np.float32))


def sample_of(ids: list[str], k: int) -> RowSample:
    z = np.array([float(i) for i in ids]).reshape(-1, 1)
    return RowSample.from_rows(ids, [f"base-{i}" for i in ids], ids, {"text": z}, k)


@settings(max_examples=60, deadline=None)
@given(st.permutations([str(i) for i in range(25)]), st.integers(1, 30), st.integers(0, 25))
def test_row_sample_is_the_k_smallest_hashes_however_it_was_made(ids: list[str], k: int, cut: int) -> None:
    expected = sorted(ids, key=lambda i: hash64(i, b"sample"))[:k]
    for sample in (
        sample_of(ids, k),
        sample_of(ids[:cut], k).merge(sample_of(ids[cut:], k)),
        sample_of(ids[cut:], k).merge(sample_of(ids[:cut], k)),
    ):
        assert list(sample.ids) == expected
        assert list(sample.base_ids) == [f"base-{i}" for i in expected]
        np.testing.assert_array_equal(sample.rows["text"][:, 0], [float(i) for i in expected])
        assert sample.seen == 25 and sample.complete == (k >= 25)


def test_row_samples_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="different k"):
        sample_of(["1"], 3).merge(sample_of(["2"], 4))
    with pytest.raises(ValueError, match="2 text for 1 ids"):
        RowSample.from_rows(["a"], ["a"], ["a"], {"text": rows(2)}, 3)
