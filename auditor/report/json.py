"""`report.json` is the report as it is, checked against its schema and written whole or not at all."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from auditor.errors import AuditError
from auditor.storage.atomic import write_text
from schemas.report import Report


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of `report.json`, as `schemas/report.schema.json` must hold it.

    Made in serialization mode: every field is always written, so every field is required.
    """
    return {"$schema": Draft202012Validator.META_SCHEMA["$id"]} | Report.model_json_schema(
        mode="serialization"
    )


def schema_text() -> str:
    """Return the text of `schemas/report.schema.json`."""
    return json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n"


def write_json(report: Report, path: Path) -> None:
    """Write `report` to `path`. Raises `AuditError` if it does not keep to the shipped schema."""
    content = report.model_dump(mode="json")
    schema = json.loads((files("schemas") / "report.schema.json").read_text(encoding="utf-8"))
    error = next(Draft202012Validator(schema).iter_errors(content), None)
    if error is not None:
        raise AuditError(f"{path}: {error.json_path}: {error.message.splitlines()[0][:200]}")
    # allow_nan: JSON has no NaN, and a reader would stumble over it long after we are gone.
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


if __name__ == "__main__":  # python -m auditor.report.json > schemas/report.schema.json
    print(schema_text(), end="")
