"""Entropies of sampled answers from their embeddings."""

import numpy as np
import pytest

from auditor.measures.sampled_entropies import query_entropies
from auditor.storage.embedding_store import EmbeddingStore, embedding_table
from auditor.storage.row_cache import write_table
from auditor.storage.work_units import text_key

BOOK = np.eye(4, dtype=np.float32)


def keys(*numbers):
    return tuple(text_key(f"{i}") for i in numbers)


def store(tmp_path, n, failed=()):
    """Answer i lies in cell i % 4."""
    vectors = (BOOK[np.arange(n) % 4] + 0.05).astype(np.float32)
    errors = ["model_failed: no" if i in failed else None for i in range(n)]
    write_table(tmp_path / "a.parquet", embedding_table(keys(*range(n)), vectors, errors))
    return EmbeddingStore(tmp_path)


def test_one_cell_has_no_entropy_and_four_even_cells_have_the_most(tmp_path):
    texts = store(tmp_path, 40)
    same, even = keys(0, 4, 8, 12), keys(0, 1, 2, 3)
    got = query_entropies([("a", same), ("b", even)], texts, BOOK)
    assert got.source == "sampled_cells" and got.samples == 4
    assert list(got.base_ids) == ["a", "b"]
    assert got.values[0] == pytest.approx(0) and got.values[1] >= np.log(4)


def test_answers_without_a_vector_are_left_out(tmp_path):
    texts = store(tmp_path, 40, failed={1})
    even = keys(0, 1, 2, 3)
    got = query_entropies([("a", even), ("b", keys(0, 4, 1, 8, 12))], texts, BOOK)
    assert list(got.base_ids) == ["b"] and got.values[0] == pytest.approx(0)
