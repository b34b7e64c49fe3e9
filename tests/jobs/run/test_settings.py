"""Config files and --set: what is understood, and what each mistake says."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from auditor.errors import BadInput
from jobs.run.settings import check, load_config
from schemas.config import AuditConfig, config_hash

GOOD = """
data:
  id: id.jsonl
  scenarios: {june: june.jsonl, far: /data/far.parquet, blurred: {shifts: [{shift: blur, severity: 2}]}}
  media_root: images
encoders: {image: lab, text: lab}
models: [one, {name: two, temperature: 0.7, samples: 2}]
"""
LAB = "\nencoders: {image: lab, text: lab}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "audit.yaml"
    path.write_text(GOOD)
    return path


def test_paths_are_relative_to_the_file(file: Path) -> None:
    config = load_config(AuditConfig, file)
    assert config.data.id == str(file.parent / "id.jsonl")
    assert config.data.media_root == str(file.parent / "images")
    assert config.data.scenarios["june"].path == str(file.parent / "june.jsonl")
    assert config.data.scenarios["far"].path == "/data/far.parquet"


def test_set_reaches_keys_list_items_and_short_forms(file: Path) -> None:
    given = [
        "critic.seeds=5",
        "models.1.samples=4",
        "models.0.max_new_tokens=9",
        "encoders.image.pooling=projected",
        "data.scenarios.june.partition=true",
        "data.scenarios.new={path: n.jsonl}",
    ]
    config = load_config(AuditConfig, file, given)
    assert config.critic.seeds == 5
    assert config.models[1].samples == 4
    assert (config.models[0].name, config.models[0].max_new_tokens) == ("one", 9)
    assert config.encoders.image is not None
    assert (config.encoders.image.name, config.encoders.image.pooling) == ("lab", "projected")
    june = config.data.scenarios["june"]
    assert june.partition and june.path == str(file.parent / "june.jsonl")
    assert config.data.scenarios["new"].path == "n.jsonl"


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        (GOOD, ["data.scenaros={}"], "unknown key data.scenaros (did you mean scenarios?)"),
        (GOOD, ["critic.seeds=many"], "critic.seeds"),
        (GOOD, ["critic.seeds"], "write KEY=VALUE"),
        (GOOD, ["critic.seeds=[1"], "not valid YAML"),
        (GOOD, ["models.7.samples=1"], "models"),
        (GOOD + "seed: 3\n", ["seed.x=1"], "holds a value"),
        (GOOD, ["models=[a, a]"], "same name"),
        (GOOD, ["models.0.samples=3"], "temperature"),
        (GOOD, ["comparison.current=three"], "comparison.current: no model 'three'; there is one, two"),
        (GOOD, ["comparison.margin=-1"], "comparison.margin"),
        (GOOD, ["models=[a]", "comparison.margin=0.1"], "needs two or more models"),
        ("data: {}\nmodels: [a]" + LAB, [], "data.id is missing"),
        ("data: {reader: llavabench}\nmodels: [a]" + LAB, [], "data.root is missing"),
        ("[1, 2]", [], "a config is a mapping"),
        ("a: [", [], "not valid YAML"),
    ],
)
def test_each_mistake_is_one_line(tmp_path: Path, text: str, overrides: list[str], said: str) -> None:
    path = tmp_path / "audit.yaml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        load_config(AuditConfig, path, overrides)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["file", "--set"])
def test_a_config_runs_nothing(tmp_path: Path, where: str) -> None:
    mark = tmp_path / "ran"
    hostile = f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]"
    path = tmp_path / "audit.yaml"
    path.write_text(GOOD + (f"seed: {hostile}\n" if where == "file" else ""))
    with pytest.raises(BadInput, match="YAML"):
        load_config(AuditConfig, path, [f"seed={hostile}"] if where == "--set" else [])
    assert not mark.exists()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read the config"):
        load_config(AuditConfig, tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="not a UTF-8"):
        load_config(AuditConfig, tmp_path / "bytes.yaml")


def test_the_hash_is_of_what_changes_numbers(file: Path) -> None:
    base = config_hash(load_config(AuditConfig, file))
    assert config_hash(load_config(AuditConfig, file, ["workers.cpu=3", "report.examples=0"])) == base
    assert config_hash(load_config(AuditConfig, file, ["comparison.margin=0.1"])) == base
    assert config_hash(load_config(AuditConfig, file, ["comparison.current=two"])) != base
    assert config_hash(load_config(AuditConfig, file, ["seed=1"])) != base
    assert config_hash(load_config(AuditConfig, file, ["shards.embed=7"])) != base


def test_placement_is_no_part_of_what_a_number_depends_on():
    given = ("data={id: a.jsonl}", "models=[{name: m, generator: transformers}]", "encoders={text: lab}")
    given = (*given, "encoders.image=lab")
    plain = config_hash(load_config(AuditConfig, None, given))
    for change in (
        "models.0.replicas=3",
        "models.0.gpus=0.5",
        "encoders.image.gpus=1",
        "encoders.text.gpus=0.5",
    ):
        assert config_hash(load_config(AuditConfig, None, (*given, change))) == plain
    assert config_hash(load_config(AuditConfig, None, (*given, "models.0.samples=1", "seed=1"))) != plain


@pytest.mark.parametrize(
    "change", ["models.0.replicas=0", "models.0.gpus=0", "models.0.gpus=2", "encoders.text.gpus=1.5"]
)
def test_placement_that_cannot_be(change: str):
    given = ("data={id: a.jsonl}", "models=[{name: m, generator: transformers}]")
    given = (*given, "encoders={image: null, text: lab}", change)
    with pytest.raises(BadInput, match=change.partition("=")[0].rpartition(".")[2]):
        load_config(AuditConfig, None, given)


def test_a_key_of_another_section_is_named_with_its_section(file: Path) -> None:
    with pytest.raises(BadInput, match=r"unknown key url_allow \(did you mean data\.url_allow\?\)"):
        load_config(AuditConfig, file, ["url_allow=[https://a.example/]"])


def test_a_dead_cluster_is_said_before_anything_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", place)
    config = load_config(AuditConfig, file)
    with pytest.raises(BadInput, match=f"the Ray cluster at {place} could not be reached.*RAY_ADDRESS"):
        check(config, file)
    serial = load_config(AuditConfig, file, ["workers.executor=serial"])
    with pytest.raises(BadInput, match="no such file"):
        check(serial, file)
