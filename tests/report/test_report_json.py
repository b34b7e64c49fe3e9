"""`report.json` is valid, whole and finite."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from auditor.errors import AuditError
from auditor.report.json import report_schema, write_json
from schemas.report import Report


@pytest.mark.parametrize("kind", ["audit", "drift"])
def test_a_written_report_is_valid_and_comes_back(
    tmp_path: Path, kind: str, make_audit: Callable[..., Report], make_drift: Callable[..., Report]
):
    report = make_audit(5, 2) if kind == "audit" else make_drift(4)
    path = tmp_path / "new" / "report.json"
    write_json(report, path)
    content = json.loads(path.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(report_schema())
    Draft202012Validator(report_schema()).validate(content)
    assert Report.model_validate(content) == report
    assert [p.name for p in path.parent.iterdir()] == ["report.json"]


def test_what_breaks_the_schema_is_not_written(tmp_path: Path, make_audit: Callable[..., Report]):
    report = make_audit(1, 1)
    report.scenarios[0].n = "many"  # type: ignore[assignment]
    with pytest.warns(UserWarning), pytest.raises(AuditError, match=r"\$\.scenarios\[0\]\.n: 'many' is not"):
        write_json(report, tmp_path / "report.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_that_is_not_finite(value: float, make_audit: Callable[..., Report]):
    content = make_audit(1, 1).model_dump()
    for place in (
        content["scenarios"][0],
        content["run"]["config"],
        content["tables"]["Table 2: EMI and accuracy"][0],
    ):
        with pytest.raises(ValidationError, match="finite"):
            before = dict(place)
            try:
                place["emi"] = value
                Report.model_validate(content)
            finally:
                place.clear()
                place.update(before)
