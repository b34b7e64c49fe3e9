"""This module makes the identity of a grader."""

from __future__ import annotations

import json

from auditor.registry import Settings


def grader_identity(name: str, settings: Settings, version: int = 1) -> str:
    """Return canonical JSON of all that a grade depends on beside record and answer; `version` counts the
    changes of a grader's rule."""
    return json.dumps(
        {"grader": name, "version": version, **settings.model_dump(mode="json")}, sort_keys=True
    )
