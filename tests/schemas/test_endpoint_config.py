"""The endpoint section: what is refused, in words that never repeat a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from auditor.errors import BadInput
from jobs.run.settings import load_config
from schemas.config import AuditConfig, EndpointConfig, config_hash

SECRET = "sk-abcdef0123456789"


def load(tmp_path: Path, endpoint: str, *overrides: str, generator: str = "endpoint") -> AuditConfig:
    path = tmp_path / "audit.yaml"
    path.write_text(
        "data: {id: id.jsonl}\nencoders: {image: null, text: lab}\n"
        f"models: [{{name: m, generator: {generator}, endpoint: {endpoint}}}]\n"
    )
    return load_config(AuditConfig, path, overrides)


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("{}", "url is missing"),
        ("{url: api.openai.com/v1}", "no http(s) address"),
        ("{url: 'http://[::1/v1'}", "no http(s) address"),
        ("{url: 'http://h:99999/v1'}", "no http(s) address"),
        (f"{{url: 'https://me:{SECRET}@host/v1'}}", "credentials"),
        (f"{{url: 'https://host/v1?key={SECRET}'}}", "credentials"),
        (f"{{url: 'https://host/v1', api_key: {SECRET}}}", "did you mean api_key_env?"),
        (f"{{url: 'https://host/v1', api_key_env: {SECRET}}}", "api_key_env"),
        ("{url: 'https://host/v1', api_key_env: 0a1b2c3d4e5f60718293a4b5c6d7e8f9}", "api_key_env"),
        ("{url: 'http://gpu-7:8000/v1'}", "api_key_env to null"),
        ("{url: 'https://host/v1', timeout_seconds: 90, total_seconds: 30}", "timeout_seconds (90)"),
        ("{url: 'https://host/v1', requests_per_minute: 0}", "greater than 0"),
        ("{url: 'https://host/v1', requests_per_minute: .inf}", "finite"),
        ("{url: 'https://host/v1', tries: 1000}", "tries"),
        ("{url: 'https://host/v1', extra: {messages: [], n: 3}}", "messages, n cannot be set here"),
        ("{url: 'https://host/v1', extra: {until: 2026-01-01}}", "extra.until"),
        ("null", "go together"),
    ],
)
def test_refused_in_one_line_without_the_secret(tmp_path: Path, endpoint: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, endpoint)
    told = str(caught.value)
    assert said in told and "\n" not in told
    assert SECRET not in told and "0a1b2c3d4e5f" not in told


def test_a_section_without_its_generator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="go together"):
        load(tmp_path, "{url: 'https://host/v1'}", generator="transformers")


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("https://host/v1/", "https://host/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_addresses(url: str, base: str) -> None:
    assert EndpointConfig(url=url).url == base


@pytest.mark.parametrize("named", [None, "MY_KEY"])
def test_plain_http_to_another_machine_needs_a_word_about_the_key(named: str | None) -> None:
    assert EndpointConfig(url="http://gpu-7:8000/v1", api_key_env=named).api_key_env == named


def test_how_it_is_asked_does_not_change_the_run(tmp_path: Path) -> None:
    def hashed(*settings: str) -> str:
        given = [f"models.0.endpoint.{setting}" for setting in settings]
        return config_hash(load(tmp_path, "{url: 'https://host/v1'}", *given))

    base = hashed()
    assert base == hashed("concurrency=2", "tries=1", "price_per_million_tokens_in=3", "api_key_env=OTHER")
    others = ["url=https://other/v1", "model=x", "version=b2", "extra={top_k: 3}"]
    assert len({base, *(hashed(setting) for setting in others)}) == 5


def test_every_setting_is_one_or_the_other() -> None:
    """A new setting changes the run unless it is known not to."""
    known: set[Any] = {"url", "model", "version", "extra"}
    assert EndpointConfig.asking() | known == set(EndpointConfig.model_fields)
