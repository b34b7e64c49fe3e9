import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import AuditError
from auditor.storage.embedding_store import EmbeddingStore, embedding_table, normalise
from auditor.storage.response_store import ResponseStore, response_table
from auditor.storage.row_cache import ARROW, PARQUET, Failure, ShardIndex
from auditor.storage.work_units import text_key
from schemas.record import Reason
from schemas.response import Answer


def names(*numbers):
    return [text_key(str(n)) for n in numbers]


def shard(folder, name, numbers, failed=(), d=3):
    vectors = np.array([[n + 1, n + 2, n + 3] for n in numbers], dtype=np.float32)
    failures = [Failure(Reason.MODEL_FAILED, f"no {n}") if n in failed else None for n in numbers]
    ARROW.write(folder, name, embedding_table(names(*numbers), vectors, failures))


def unit(n):
    v = np.array([n + 1, n + 2, n + 3], dtype=np.float64)
    return v / math.sqrt(float(v @ v))


def test_rows_come_back_normalised_in_the_order_asked(tmp_path):
    shard(tmp_path, "a", range(5))
    shard(tmp_path, "b", range(5, 9))
    store = EmbeddingStore(tmp_path)
    asked = [7, 0, 3, 7, 5, 8, 1]
    rows = store.rows(names(*asked))
    assert rows.dtype == np.float32 and rows.shape == (7, 3)
    np.testing.assert_allclose(rows, [unit(n) for n in asked], atol=1e-7)
    np.testing.assert_allclose(store.norms(names(2)), [math.sqrt(9 + 16 + 25)], rtol=1e-6)
    assert len(store) == 9 and names(4)[0] in store and names(9)[0] not in store
    assert store.rows([]).shape == (0, 3) and EmbeddingStore(tmp_path / "none").rows([]).shape == (0, 0)


def test_bad_vectors_and_failures_cost_nobody_else_anything(tmp_path):
    vectors = np.array([[3, 4], [0, 0], [np.nan, 1], [1, np.inf], [3e38, 3e38], [0, 2]], dtype=np.float32)
    failures = [None] * 5 + [Failure(Reason.IMAGE_CORRUPT, "line\nbreak")]
    ARROW.write(tmp_path, "a", embedding_table(names(*range(6)), vectors, failures))
    store = EmbeddingStore(tmp_path)
    key = names(*range(6))
    assert store.errors() == {
        key[1]: Failure(Reason.NON_FINITE_EMBEDDING, "the vector is zero"),
        key[2]: Failure(Reason.NON_FINITE_EMBEDDING, "the vector is not finite"),
        key[3]: Failure(Reason.NON_FINITE_EMBEDDING, "the vector is not finite"),
        key[5]: Failure(Reason.IMAGE_CORRUPT, "line break"),
    }
    np.testing.assert_allclose(store.rows([key[4], key[0]]), [[0.5**0.5] * 2, [0.6, 0.8]], rtol=1e-6)
    with pytest.raises(AuditError, match=r"has no vector .non_finite_embedding: the vector is zero"):
        store.rows([key[0], key[1]])


@given(st.integers(0, 2**32 - 1))
def test_a_row_does_not_depend_on_its_neighbours(seed):
    z = np.random.default_rng(seed).normal(size=(7, 12)).astype(np.float32)
    whole = normalise(z)
    for i in range(7):
        assert (normalise(z[i : i + 1]).rows[0] == whole.rows[i]).all()
    np.testing.assert_allclose(np.linalg.norm(whole.rows.astype(float), axis=1), 1, atol=1e-6)


def test_a_missing_key_is_named(tmp_path):
    shard(tmp_path, "a", range(3))
    with pytest.raises(AuditError, match=f"2 of 3 .* never made, the first is {names(50)[0]}"):
        EmbeddingStore(tmp_path).rows(names(0, 50, 51))


def test_a_second_try_that_worked_counts(tmp_path):
    shard(tmp_path, "z", [0, 1, 2], failed=[1, 2])
    shard(tmp_path, "a", [1, 2], failed=[2])
    store = EmbeddingStore(tmp_path)
    assert len(store) == 3 and set(store.errors()) == set(names(2))
    np.testing.assert_allclose(store.rows(names(1)), [unit(1)], atol=1e-7)


def test_decoded_shards_are_bounded(tmp_path):
    for i in range(6):
        shard(tmp_path, f"{i}", range(10 * i, 10 * i + 10))
    one = 10 * 4 * 4  # rows and norms of a shard
    store = EmbeddingStore(tmp_path, cache_bytes=2 * one)
    store.rows(names(*range(60)))
    assert store._shards.bytes == 2 * one
    backwards = store.rows(names(*range(59, -1, -1)))
    assert (backwards[::-1] == EmbeddingStore(tmp_path).rows(names(*range(60)))).all()


def test_half_a_file_from_elsewhere_is_made_again(tmp_path, caplog):
    shard(tmp_path, "a", range(3))
    shard(tmp_path, "b", range(3, 6))
    file = tmp_path / "b.arrow"
    file.write_bytes(file.read_bytes()[:100])
    store = EmbeddingStore(tmp_path)
    assert names(0)[0] in store and names(3)[0] not in store and "made again" in caplog.text


@pytest.mark.parametrize("left", [0, 7, 100, -1])
def test_any_part_of_a_file_counts_as_none(tmp_path, left):
    shard(tmp_path, "b", range(3, 6))
    file = tmp_path / "b.arrow"
    file.write_bytes(file.read_bytes()[:left])
    assert len(EmbeddingStore(tmp_path)) == 0


def test_keys_that_begin_alike_are_told_apart(tmp_path):
    keys = [half * 16 + end * 48 for half in "a0f" for end in "9b1"]
    ARROW.write(tmp_path, "a", embedding_table(keys[:7], np.eye(7, 9, dtype=np.float32), [None] * 7))
    store = EmbeddingStore(tmp_path)
    np.testing.assert_array_equal(store.rows(keys[6::-1]), np.eye(7, 9)[::-1])
    assert [key in store for key in keys] == [True] * 7 + [False] * 2
    assert keys[7][:16] + "0" * 48 not in store and "f" * 64 not in store
    assert len(ShardIndex(tmp_path, PARQUET)) == 0


def test_a_row_that_failed_has_no_numbers_in_the_file(tmp_path):
    shard(tmp_path, "a", range(3), failed=[1])
    vectors = ARROW.read(tmp_path / "a.arrow")["vector"].chunk(0).values.to_numpy().reshape(3, 3)
    assert (vectors[1] == 0).all() and (vectors[[0, 2]] != 0).all()


def test_answers_come_back_with_their_errors(tmp_path):
    answers = [
        Answer(("a cat", "a dog"), (-1.5, -2.25), (3, 4)),
        Answer(error="model_failed: out of memory"),
        Answer(("  ",), (-0.1,), (1,)),
        Answer(),
        Answer(("ein Hund ü",)),
        Answer(("kept", ""), (-1.0, -2.0), (1, 1)),
    ]
    PARQUET.write(tmp_path, "a", response_table(names(*range(6)), answers))
    store = ResponseStore(tmp_path)
    got = store.answers(names(5, 0, 4, 0))
    assert got == [answers[5], answers[0], answers[4], answers[0]]
    assert store.errors() == {
        names(1)[0]: Failure(Reason.MODEL_FAILED, "out of memory"),
        names(2)[0]: Failure(Reason.EMPTY_RESPONSE, ""),
        names(3)[0]: Failure(Reason.MODEL_FAILED, "no answer came back"),
    }
    assert store.answers(names(2)) == [Answer(error="empty_response")]
    with pytest.raises(AuditError, match="never made"):
        store.answers(names(77))


def test_a_reason_of_another_program_is_the_models():
    assert Failure.parse("boom: x") == Failure(Reason.MODEL_FAILED, "boom: x")
    assert Failure.parse(str(Failure(Reason.IMAGE_MISSING, "x: y"))) == Failure(Reason.IMAGE_MISSING, "x: y")
