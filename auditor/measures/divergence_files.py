"""A measured divergence as a file: what a worker found, for whoever asked, to the bit."""

from __future__ import annotations

import json
from pathlib import Path

from auditor.errors import AuditError
from auditor.measures.reducer import Measured
from auditor.significance.jackknife import Left
from auditor.storage.run_dir import write_bytes
from schemas.report import Divergence

FORMAT = 2
"""Of the file, and of how its intervals are made: another one is measured anew."""


def write_measured(path: Path, measured: Measured) -> None:
    """Write whole (JSON; floats come back as they were)."""
    left = measured.left
    tree = {
        "divergence": None if measured.divergence is None else measured.divergence.model_dump(),
        "reason": measured.reason,
        "left": None
        if left is None
        else {
            "value": left.value,
            "without": [[*key, value] for key, value in left.without.items()],
            "quadratic": left.quadratic,
        },
    }
    write_bytes(path, json.dumps(tree).encode())


def read_measured(path: Path) -> Measured:
    """What `write_measured` wrote. Raises `AuditError` where the file is none."""
    try:
        tree = json.loads(path.read_bytes())
        found, left = tree["divergence"], tree["left"]
        return Measured(
            None if found is None else Divergence.model_validate(found),
            tree["reason"],
            None
            if left is None
            else Left(
                left["value"],
                {(side, group): value for side, group, value in left["without"]},
                left["quadratic"],
            ),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AuditError(f"{path}: not readable ({error}); delete it and run again") from error
