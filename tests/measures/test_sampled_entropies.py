"""Entropies of sampled answers from their embeddings."""

import numpy as np
import pytest

from auditor.measures.sampled_entropies import query_entropies
from auditor.profiles.answer_sample import AnswerSample, RecordAnswers
from auditor.storage.embedding_store import Embeddings
from auditor.storage.row_cache import Failure
from auditor.storage.work_units import text_key
from schemas.record import Reason

BOOK = np.eye(4, dtype=np.float32)


def sample(given, failed=()):
    """Of one record a base id, with the answers of these numbers; answer i lies in cell i % 4."""
    vectors = (BOOK[np.arange(40) % 4] + 0.05).astype(np.float32)
    errors = [Failure(Reason.MODEL_FAILED, "no") if i in failed else None for i in range(40)]
    texts = Embeddings([text_key(f"{i}") for i in range(40)], vectors, errors)
    records = [
        RecordAnswers(row, f"r{base}", base, (), tuple(map(str, of)))
        for row, (base, of) in enumerate(given.items())
    ]
    return AnswerSample.from_records(records, len(records), texts, 50)


def test_one_cell_has_no_entropy_and_four_even_cells_have_the_most():
    got = query_entropies([sample({"a": (0, 4, 8, 12), "b": (0, 1, 2, 3)})], BOOK)
    assert got.source == "sampled_cells" and got.samples == 4
    assert list(got.base_ids) == ["a", "b"]
    assert got.values[0] == pytest.approx(0) and got.values[1] >= np.log(4)


def test_several_samples_are_one():
    one, other = {"a": (0, 4, 8, 12)}, {"b": (0, 1, 2, 3)}
    got = query_entropies([sample(one), sample(other)], BOOK)
    whole = query_entropies([sample(one | other)], BOOK)
    assert list(got.base_ids) == list(whole.base_ids) == ["a", "b"]
    assert np.array_equal(got.values, whole.values)
    assert len(query_entropies([sample({})], BOOK)) == 0


def test_answers_without_a_vector_are_left_out():
    got = query_entropies([sample({"a": (0, 1, 2, 3), "b": (0, 4, 1, 8, 12)}, failed={1})], BOOK)
    assert list(got.base_ids) == ["b"] and got.values[0] == pytest.approx(0)
