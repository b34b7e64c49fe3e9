"""Workers that are not what the run's folder is of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import AuditError
from auditor.pipeline.workers.answers import GenerateSettings, GenerateWorker
from auditor.pipeline.workers.embeddings import EmbedSettings, EmbedWorker


class Loaded:
    """An encoder or a generator with these weights."""

    modality, dim, identity = "text", 2, "weights here"


WORKERS: dict[str, Callable[..., Any]] = {
    "embed": lambda folder, wanted: EmbedWorker(EmbedSettings(Loaded, folder, wanted)),  # type: ignore[arg-type]
    "generate": lambda folder, wanted: GenerateWorker(GenerateSettings(Loaded, 0, folder, wanted)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", WORKERS)
def test_a_worker_with_other_weights_than_the_run_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"weights here instead of weights there.*on every node"):
        WORKERS[kind](tmp_path, "weights there")
    assert WORKERS[kind](tmp_path, "weights here").identity == "weights here"
