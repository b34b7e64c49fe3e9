"""The rows of a scenario under a model: which of them are usable, and what they say without any embedding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditor.graders import scores as graded
from auditor.profiles.rows import (
    RowKeys,
    answers,
    descriptors,
    log_probabilities,
    row_keys,
    sampled_keys,
    unanswered,
    usable,
)
from auditor.protocols import Grader
from auditor.records import Quarantine
from auditor.scenarios import Scenario
from auditor.storage.embedding_store import Vectors
from auditor.storage.response_store import ResponseStore
from schemas.record import Quarantined


@dataclass(frozen=True)
class Told:
    """What the rows of one scenario and model say without any embedding."""

    keys: list[RowKeys]
    facts: dict[str, int]
    scores: NDArray[np.float64]
    """Scores of the graded answers."""
    log_probabilities: list[tuple[str, tuple[float, ...]]]
    """Base id and log-probabilities of the sampled answers, where they were sampled."""
    samples: list[tuple[str, tuple[str, ...]]]
    """Base id and keys of the answers, where a record has several."""


def told(
    scenario: Scenario,
    model: str,
    store: ResponseStore | None,
    images: Vectors | None,
    texts: Vectors,
    *,
    grader: Grader,
    sampled: bool = False,
) -> tuple[Told, list[Quarantined]]:
    """The usable rows of `scenario` under `model`, and all that is set aside: rows by their inputs (without a
    model), and single answers. `store`: the model's answers, None where the records have them; `sampled`:
    they were, so that their log-probabilities say something."""
    keys: list[RowKeys] = []
    facts = Counter[str]()
    scores: list[float] = []
    logs: list[tuple[str, tuple[float, ...]]] = []
    samples: list[tuple[str, tuple[str, ...]]] = []
    aside: list[Quarantined] = []
    for batch in scenario.batches():
        given = answers(batch, model, store)
        if store is not None:
            aside += unanswered(batch, store, scenario.name, model)
        kept, unusable = usable(row_keys(batch, given), images, texts, scenario.name, model)
        keys += kept
        aside += unusable
        facts.update(descriptors(batch, given))
        scores += graded(batch, given, grader, model)
        samples += sampled_keys(batch, given)
        if store is not None and sampled:
            logs += log_probabilities(batch, store)
    return Told(keys, facts, np.array(scores), logs, samples), aside


def all_told(
    scenarios: Sequence[Scenario],
    stores: Mapping[str, ResponseStore | None],
    images: Vectors | None,
    texts: Vectors,
    sampled: Container[str],
    grader: Grader,
) -> tuple[Quarantine, dict[tuple[str, str], Told]]:
    """Of every scenario and model, and everything set aside since the records were read: a row whose inputs
    are not usable once, whatever the number of models. `sampled`: models whose answers were."""
    quarantine = Quarantine(row for s in scenarios for row in s.quarantine())
    found: dict[tuple[str, str], Told] = {}
    for scenario in scenarios:
        inputs_told = False
        for model, store in stores.items():
            found[scenario.name, model], aside = told(
                scenario, model, store, images, texts, grader=grader, sampled=model in sampled
            )
            add_aside(quarantine, aside, model if inputs_told else None)
            inputs_told = True
    return quarantine, found


def add_aside(quarantine: Quarantine, aside: Iterable[Quarantined], only: str | None) -> None:
    """Add rows that were set aside: all, or those of `only` one model where the others are there already."""
    for row in aside:
        if only is None or row.model == only:
            quarantine.add(row)
