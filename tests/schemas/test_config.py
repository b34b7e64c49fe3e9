"""The configs of the three jobs: what they share, what each has of its own, and what is no longer there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from auditor.errors import BadInput
from jobs.run.settings import job_of, load_config
from schemas.config import (
    JOBS,
    AuditConfig,
    BaselineConfig,
    BaselineCritic,
    DataConfig,
    DriftConfig,
    JobConfig,
    config_hash,
)

LAB = {"image": "lab", "text": "lab"}
AUDIT: dict[str, Any] = {"data": {"id": "a"}, "encoders": LAB, "models": ["m"]}
BASELINE: dict[str, Any] = {"data": {"id": "a"}, "encoders": LAB}
DRIFT: dict[str, Any] = {"data": {"traffic": "t"}, "baseline": "b"}
JOB = [(AuditConfig, AUDIT), (BaselineConfig, BASELINE), (DriftConfig, DRIFT)]


@pytest.mark.parametrize(("job", "tree"), JOB)
def test_records_are_read_alike_in_every_job(job: type[JobConfig], tree: dict[str, Any]) -> None:
    shared = {
        "url_allow": ["https://images.example.org/"],
        "url_private": True,
        "media_root": "images",
        "max_image_bytes": 5,
        "max_image_pixels": 6,
        "max_text_chars": 7,
        "options": {"columns": 3},
        "group_by": ["image", "group"],
        "format": "otel",
    }
    assert set(DataConfig.model_fields) == {*shared, "reader", "root", "n", "map"}
    data = job.model_validate(tree | {"data": tree["data"] | shared}).data
    assert {key: getattr(data, key) for key in shared} == shared | {
        key: tuple(shared[key]) for key in ("url_allow", "group_by")
    }


def test_a_partly_given_critic_keeps_the_other_defaults() -> None:
    given = BaselineConfig.model_validate(BASELINE | {"critic": {"seeds": 1}}).critic
    assert given == BaselineCritic(seeds=1) and (given.cross_fit, given.early_stopping) == (5, True)
    config = load_config(
        BaselineConfig, None, ["critic.seeds=1", "encoders={image: null, text: lab}"], {"data.id": "a"}
    )
    assert config.critic == given
    assert AuditConfig.model_validate(AUDIT | {"critic": {"seeds": 1}}).critic.cross_fit == 0


@pytest.mark.parametrize(
    ("job", "tree", "key", "said"),
    [
        (
            DriftConfig,
            DRIFT,
            "bounds.conditional=true",
            "of auditor audit, auditor drift does not read it: ",
        ),
        (DriftConfig, DRIFT, "thresholds.partial_bound=0.1", "thresholds.p_value"),
        (DriftConfig, DRIFT, "encoders={}", "those of the baseline"),
        (DriftConfig, DRIFT, "data.id=x", "drift compares data.traffic with the folder"),
        (BaselineConfig, BASELINE, "thresholds={}", "is of auditor audit and auditor drift"),
        (BaselineConfig, BASELINE, "shards.generate=3", "generates none"),
        (BaselineConfig, BASELINE, "data.scenarios={}", "from the reference records alone"),
        (AuditConfig, AUDIT, "data.traffic=x", "is of auditor drift"),
        (AuditConfig, AUDIT, "window=1d", "is of auditor baseline build and auditor drift"),
        (DriftConfig, DRIFT, "nonsense=1", "unknown key nonsense"),
        (DriftConfig, DRIFT, "window=soon", "is no length of time"),
        (
            DriftConfig,
            DRIFT,
            "data.reader=lab --window 1d",
            "the records of the reader lab have no timestamps",
        ),
    ],
)
def test_a_key_that_a_job_does_not_read_is_an_error_with_its_reason(
    job: type[JobConfig], tree: dict[str, Any], key: str, said: str
) -> None:
    key, _, window = key.partition(" --window ")
    values = tree | ({"window": window} if window else {})
    with pytest.raises(BadInput) as caught:
        load_config(job, None, [key], values)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert ("remove it" in str(caught.value)) == ("does not read it" in str(caught.value))


@pytest.mark.parametrize(
    ("job", "text", "said"),
    [
        (
            BaselineConfig,
            "records: a.jsonl\nmedia_root: images",
            "records is written data.id now (data: {id: ...})",
        ),
        (BaselineConfig, "records: a.jsonl\nmedia_root: images", "media_root is written data.media_root now"),
        (DriftConfig, "baseline: b\ntraffic: a.jsonl", "traffic is written data.traffic now"),
    ],
)
def test_a_key_of_an_earlier_version_says_where_it_has_gone(
    tmp_path: Path, job: type[JobConfig], text: str, said: str
) -> None:
    (tmp_path / "old.yaml").write_text(text + "\n")
    with pytest.raises(BadInput) as caught:
        load_config(job, tmp_path / "old.yaml")
    assert said in str(caught.value) and "is missing" not in str(caught.value)


def test_nobody_s_records_get_the_lab_s_encoders_unasked(tmp_path: Path) -> None:
    assert (
        AuditConfig.model_validate({"data": {"reader": "lab"}, "models": ["m"]}).encoders.text.name == "lab"
    )
    given = {"data": {"reader": "lab"}, "encoders": {"text": "minilm"}}
    encoders = BaselineConfig.model_validate(given).encoders
    assert (encoders.text.name, encoders.image and encoders.image.name) == ("minilm", "lab")
    with pytest.raises(BadInput) as caught:
        load_config(BaselineConfig, None, (), {"data.id": "a"})
    said = str(caught.value)
    assert "encoders.text is not named" in said and "lab (a toy" in said and "hf:NAME" in said
    assert said.endswith("--image-encoder efficientnet-lite0 --text-encoder minilm")
    with pytest.raises(BadInput, match=r"for instance: --set encoders\.image=efficientnet-lite0$"):
        load_config(AuditConfig, None, ["encoders.text=minilm"], {"data.id": "a", "models": ["m"]})


@pytest.mark.parametrize(("reader", "key"), [("lab", "data.id"), ("llavabench", "data.id")])
def test_a_reader_with_records_of_its_own_takes_no_file(reader: str, key: str) -> None:
    with pytest.raises(BadInput, match=rf"{key}: the reader {reader} has in-distribution records of its own"):
        load_config(BaselineConfig, None, [f"data={{reader: {reader}, id: a, root: r}}"], {"encoders": LAB})


def test_a_missing_key_says_what_it_is() -> None:
    with pytest.raises(BadInput) as caught:
        load_config(DriftConfig, None)
    assert "data.traffic is missing: file or glob of the records to compare (--traffic)" in str(caught.value)
    assert "baseline is missing: folder made by `auditor baseline build` (--baseline)" in str(caught.value)


def test_the_job_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    for text, job in (
        ("data: {id: a, scenarios: {}}", AuditConfig),
        ("data: {reader: lab}\nmodels: [m]", AuditConfig),
        ("data: {id: a}\nencoders: {text: minilm}", BaselineConfig),
        ("data: {traffic: a}", DriftConfig),
        ("baseline: b", DriftConfig),
    ):
        path.write_text(text)
        assert job_of(path) is job
    assert set(JOBS.values()) == {AuditConfig, BaselineConfig, DriftConfig}


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    one = AuditConfig.model_validate(AUDIT | {"seed": 1})
    other = AuditConfig.model_validate({"seed": 1} | dict(reversed(AUDIT.items())))
    assert config_hash(one) == config_hash(other) != config_hash(AuditConfig.model_validate(AUDIT))
