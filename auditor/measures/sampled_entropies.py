"""This module estimates entropies of several sampled answers a query, from the cells that their embeddings
fall into."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.bounds.entropies import QueryEntropies, from_sampled_cells
from auditor.neighbours.codebook import nearest_cell
from auditor.profiles.answer_sample import AnswerSample


def query_entropies(samples: Sequence[AnswerSample], codebook: NDArray[np.float32]) -> QueryEntropies:
    """Estimate H of the quantised answer (nats) of each query of all `samples`; codebook (K, d). Answers that
    could not be embedded are in none of them."""
    cells: list[list[int]] = []
    groups: list[str] = []
    for sample in samples:
        of_answer = nearest_cell(sample.vectors, codebook) if len(sample.vectors) else np.zeros(0, np.int64)
        for group, rows in sample.answer_rows():
            groups.append(group)
            cells.append(of_answer[rows].tolist())
    return from_sampled_cells(cells, len(codebook), groups)
