"""Sampled answers that travel: the same records from any cut, their entropies those of all rows."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.bounds.entropies import from_sampled_cells
from auditor.measures.sampled_entropies import query_entropies
from auditor.neighbours.codebook import nearest_cell
from auditor.profiles.answer_sample import (
    KEY_DIGITS,
    AnswerSample,
    RecordAnswers,
    hash_limit,
    record_answers,
    smallest,
)
from auditor.sketch import RowSample
from auditor.storage.embedding_store import Embeddings
from auditor.storage.npz import opened, write_arrays
from auditor.storage.row_cache import Failure
from auditor.storage.work_units import text_key
from schemas.record import Reason, Record

N, D = 60, 5
BOOK = np.eye(D, dtype=np.float32)[:4]
WORDS = [f"word {i}" for i in range(12)]
FAILED = WORDS[7]


def embedded():
    vectors = np.random.default_rng(3).normal(size=(len(WORDS), D)).astype(np.float32)
    failures = [Failure(Reason.MODEL_FAILED, "no") if word == FAILED else None for word in WORDS]
    return Embeddings(list(map(text_key, WORDS)), vectors, failures)


TEXTS = embedded()


def answered(i):
    """Some records have log-probabilities, most several answers."""
    rng = np.random.default_rng(i)
    words = tuple(WORDS[k] for k in rng.integers(0, len(WORDS), 4 + i % 3)) if i % 5 else ()
    logs = tuple((-rng.random(4)).tolist()) if i % 4 or not words else ()
    return RecordAnswers(i, f"r{i}", f"b{i // 2}", logs, words)


RECORDS = [answered(i) for i in range(N)]


def sample(records, k, limit=2**64):
    return AnswerSample.from_records(smallest(records, k, limit), len(records), TEXTS, k)


def same(a, b):
    a, b = a.to_arrays(), b.to_arrays()
    assert a.keys() == b.keys()
    for name in a:
        assert np.array_equal(a[name], b[name]), name


@given(st.integers(1, N + 5), st.lists(st.integers(0, N), max_size=6), st.randoms(use_true_random=False))
def test_any_cut_and_any_order_keep_the_same(k, cuts, random):
    ends = sorted({0, N, *cuts})
    parts = [sample(RECORDS[a:b], k) for a, b in pairwise(ends)]
    random.shuffle(parts)
    while len(parts) > 1:
        at = random.randrange(len(parts) - 1)
        parts[at : at + 2] = [parts[at].merge(parts[at + 1])]
    same(parts[0], sample(RECORDS, k))
    assert len(parts[0]) == min(k, N) and parts[0].seen == N


def test_they_are_the_records_of_the_row_sample():
    ids = [r.record_id for r in RECORDS]
    rows = RowSample.from_rows(ids, ids, ids, {"x": np.zeros((N, 1))}, 20)
    assert sample(RECORDS, 20).ids.tolist() == rows.ids.tolist()


def test_what_is_kept_of_all_is_all_that_there_is():
    """In the order of the window, to the bit; an answer without a vector is left out."""
    kept = sample(RECORDS[:30], N).merge(sample(RECORDS[30:], N))
    assert kept.log_probabilities() == [
        (r.group, r.log_probabilities) for r in RECORDS if r.log_probabilities
    ]
    there = [word for word in WORDS if word != FAILED]
    cell = dict(zip(there, nearest_cell(TEXTS.rows(list(map(text_key, there))), BOOK).tolist(), strict=True))
    several = [r for r in RECORDS if r.texts]
    cells = [[cell[word] for word in r.texts if word in cell] for r in several]
    truth = from_sampled_cells(cells, len(BOOK), [r.group for r in several])
    got = query_entropies([kept], BOOK)
    assert np.array_equal(got.values, truth.values) and len(truth) > 30 and len(set(truth.values)) > 3
    assert np.array_equal(got.base_ids, truth.base_ids) and got.noise == truth.noise
    assert (len(kept), kept.seen) == (N, N)
    apart = query_entropies([sample(RECORDS[:30], N), sample(RECORDS[30:], N)], BOOK)
    assert np.array_equal(apart.values, truth.values) and np.array_equal(apart.base_ids, truth.base_ids)


def test_no_record_above_the_limit_is_needed():
    assert hash_limit(50, 50) == hash_limit(50, 60) == 2**64
    records = [answered(i) for i in range(5000)]
    limit = hash_limit(50, len(records))
    same(sample(records, 50, limit), sample(records, 50))
    assert 50 < len(smallest(records, 5000, limit)) < 150


def test_memory_does_not_grow_with_the_records():
    def size(n, k):
        return sum(a.nbytes for a in sample([answered(i) for i in range(n)], k).to_arrays().values())

    total = sample([answered(i) for i in range(1000)], 20)
    assert len(total) == 20 and len(total.keys) <= len(WORDS) and total.seen == 1000
    assert size(1000, 20) < 1.5 * size(50, 20)
    merged = total.merge(sample([answered(i) for i in range(1000, 1010)], 20))
    assert set(merged.answers.tolist()) == set(range(len(merged.keys)))  # no vector that nobody has


def test_the_bytes_that_are_told():
    k, s, d = 40, 4, 64
    words = [f"word {i}" for i in range(k * s)]  # all distinct: the most that there is to keep
    texts = Embeddings(list(map(text_key, words)), np.ones((k * s, d), np.float32), [None] * (k * s))
    records = [
        RecordAnswers(i, f"{i:080}", f"{i:080}", (-1.0,) * s, tuple(words[i * s : (i + 1) * s]))
        for i in range(k)
    ]
    kept = AnswerSample.from_records(records, k, texts, k)
    size = sum(array.nbytes for array in kept.to_arrays().values())
    told = k * s * (4 * d + 144) + 700 * k
    assert 0.95 * told < size <= told


def test_files_are_plain_arrays_and_nonsense_is_refused(tmp_path):
    kept = sample(RECORDS, 25)
    write_arrays(tmp_path / "a.npz", kept.to_arrays())
    with opened(tmp_path / "a.npz") as file:
        same(AnswerSample.from_arrays(dict(file)), kept)
    empty = sample([], 25)
    same(AnswerSample.from_arrays(empty.to_arrays()), empty)
    same(empty.merge(kept), kept)
    good = kept.to_arrays()
    with pytest.raises(ValueError, match="no numbers"):
        AnswerSample.from_arrays(good | {"logs": good["logs"] * np.nan})
    for name, wrong in {
        "answers": good["answers"] + 100,
        "keys": good["keys"][1:],
        "logs": good["logs"][1:],
        "rows": good["rows"][1:],
        "vectors": good["vectors"] * np.nan,
        "log_counts": good["log_counts"]
        + np.eye(1, 25, 3, dtype=int)[0]
        - np.eye(1, 25, 0, dtype=int)[0] * 9,
        "k": np.array(24),
        "seen": np.array(3),
    }.items():
        with pytest.raises(ValueError, match=r"not a sample|not finite"):
            AnswerSample.from_arrays(good | {name: wrong})
    with pytest.raises(ValueError, match="different k"):
        kept.merge(sample(RECORDS, 24))


def test_which_records_say_anything():
    records = [Record(f"r{i}", f"r{i}") for i in range(4)]
    texts = [("a", "b", "c"), ("a", " ", "b", "c"), (), (" ", "", " ", "\n")]
    (one,) = record_answers([5, 6, 7, 8], records, texts, None)
    assert (one.row, one.texts, one.log_probabilities) == (6, ("a", "b", "c"), ())
    assert len(text_key("a")[:KEY_DIGITS]) == KEY_DIGITS
