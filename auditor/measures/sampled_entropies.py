"""Entropies of several sampled answers a query, from the cells that their embeddings fall into."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.bounds.entropies import QueryEntropies, from_sampled_cells
from auditor.neighbours.codebook import nearest_cell
from auditor.storage.embedding_store import UnitVectors

_QUERIES_AT_ONCE = 512


def query_entropies(
    samples: Sequence[tuple[str, tuple[str, ...]]], texts: UnitVectors, codebook: NDArray[np.float32]
) -> QueryEntropies:
    """H of the quantised answer (nats) of each query: (base id, keys of its answers) pairs, embedded in
    `texts`; codebook (K, d). Answers that could not be embedded are left out."""
    failed = texts.errors()
    cells: list[list[int]] = []
    for start in range(0, len(samples), _QUERIES_AT_ONCE):
        kept = [[k for k in keys if k not in failed] for _, keys in samples[start : start + _QUERIES_AT_ONCE]]
        flat = [key for keys in kept for key in keys]
        found = nearest_cell(texts.rows(flat), codebook).tolist() if flat else []
        for keys in kept:
            cells.append(found[: len(keys)])
            found = found[len(keys) :]
    return from_sampled_cells(cells, len(codebook), [base for base, _ in samples])
