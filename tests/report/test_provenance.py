"""What a report says of itself."""

from __future__ import annotations

from dataclasses import replace

from auditor.report.provenance import Provenance, run
from schemas.config import AuditConfig, DriftConfig

MADE = Provenance("hash", "content", {"text": "t"}, {"m": "recorded responses"}, "CLUB", beside={"more": [1]})


def test_the_same_config_on_the_same_data_is_the_same_run() -> None:
    config = AuditConfig(
        data={"id": "a", "scenarios": {"b": "c"}},
        encoders={"image": None, "text": "minilm"},
        models=["m"],
        thresholds={"emid": 0.5},
    )
    one = run(config, "id", MADE)
    assert one.run_id == run(config, "id", MADE).run_id
    assert one.run_id != run(config, "id", replace(MADE, content="other")).run_id
    assert one.run_id != run(config, "id", replace(MADE, config_hash="other")).run_id
    assert (one.job, one.id_scenario, one.critic, one.encoders) == ("audit", "id", "CLUB", {"text": "t"})
    assert one.thresholds["emid"] == 0.5 and None not in one.thresholds.values()
    assert one.config == config.model_dump(mode="json") | {"more": [1]}
    assert run(DriftConfig(baseline="b", data={"traffic": "t"}), "baseline", MADE).job == "drift"


def test_where_the_work_was_done_and_how_long_it_took_is_said_and_changes_no_run() -> None:
    config = DriftConfig(baseline="b", data={"traffic": "t"})
    one = run(config, "baseline", replace(MADE, executor="in this process", seconds={"embed": 1.23456}))
    assert (one.executor, one.seconds) == ("in this process", {"embed": 1.235})
    assert one.run_id == run(config, "baseline", MADE).run_id
