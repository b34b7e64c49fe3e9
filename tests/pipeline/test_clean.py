"""What no result was made of goes; everything that one was made of stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.errors import AuditError, BadInput
from auditor.pipeline.audit import audit
from auditor.pipeline.clean import clean
from auditor.pipeline.progress import Silent, Tally
from schemas.config import AuditConfig


class Stages(Silent):
    def __init__(self) -> None:
        self.of: list[str] = []

    def update(self, tally: Tally) -> None:
        if tally.stage != "read records" and tally.total:
            self.of.append(tally.stage)


def config(tmp_path: Path, seed: int) -> AuditConfig:
    for name in ("id", "far"):
        lines = [
            json.dumps(
                {
                    "record_id": f"{name}{i}",
                    "query": f"{name} question {i % 7} of {i}",
                    "reference": f"answer {i % 5}",
                    "responses": {"m": f"answer {i % 4}"},
                }
            )
            for i in range(60)
        ]
        path = tmp_path / f"{name}.jsonl"
        if not path.exists():  # a file written again is read again
            path.write_text("\n".join(lines))
    return AuditConfig.model_validate(
        {
            "data": {"id": str(tmp_path / "id.jsonl"), "scenarios": {"far": str(tmp_path / "far.jsonl")}},
            "encoders": {"image": None, "text": "lab"},
            "models": ["m"],
            "critic": {"hidden": 4, "steps": 10, "batch": 32, "seeds": 1},
            "workers": {"executor": "serial", "cpu": 1},
            "seed": seed,
        }
    )


def test_what_results_need_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = audit(config(tmp_path, 0), out, Silent())
    (out / "run" / "profiles" / "0123").mkdir()
    (out / "run" / "profiles" / "0123" / "left.npz").write_bytes(b"x" * 1000)
    assert clean(out, dry_run=True).bytes == 1000
    assert [folder.name for folder in clean(out).folders] == ["0123"]
    assert clean(out).folders == ()
    stages = Stages()
    again = audit(config(tmp_path, 0), out, stages)
    assert stages.of == [] and again.scenarios == first.scenarios  # nothing had to be made again


def test_with_two_results_the_latest_may_be_kept_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    audit(config(tmp_path, 0), out, Silent())
    audit(config(tmp_path, 1), out, Silent())
    assert clean(out).folders == ()
    gone = clean(out, latest=True)
    assert {folder.parent.name for folder in gone.folders} == {"profiles", "measures"}
    stages = Stages()
    audit(config(tmp_path, 1), out, stages)
    assert stages.of == []


def test_nothing_is_deleted_where_it_is_not_known_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no run"):
        clean(tmp_path / "nothing")
    out = tmp_path / "out"
    report = audit(config(tmp_path, 0), out, Silent())
    (out / "run" / "used" / f"{report.run.run_id}.json").unlink()
    with pytest.raises(AuditError, match=report.run.run_id):
        clean(out)
