"""The shipped JSON Schema is the model's."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from auditor.report.json import schema_text
from schemas.report import Report, Row, Run, Verdict

SHIPPED = Path(__file__).resolve().parents[2] / "schemas" / "report.schema.json"


def test_the_shipped_schema_is_the_models():
    assert SHIPPED.read_text(encoding="utf-8") == schema_text(), (
        "write it again: python -m auditor.report.json > schemas/report.schema.json"
    )


def report(*rows: Row, **config: object) -> Report:
    run = Run(
        run_id="r",
        job="audit",
        created="",
        seed=0,
        config_hash="",
        interval_level=0.9,
        config=config,
        versions={},
    )
    return Report(run=run, scenarios=list(rows), verdict=VERDICT)


VERDICT = Verdict(status="pass", because="")


def test_one_row_a_scenario_and_model():
    row = Row(scenario="a", model="m", n=1, verdict=VERDICT)
    report(row, row.model_copy(update={"model": None}))
    with pytest.raises(ValidationError, match="two rows for scenario a and model m"):
        report(row, row)


def test_free_objects_hold_plain_json():
    assert report(shifts=("blur", {"severity": 3})).run.config == {"shifts": ["blur", {"severity": 3}]}
    with pytest.raises(ValidationError, match="cannot be written as JSON"):
        report(path=Path("x"))
