"""The checks of the machine: what is wrong is found, and every finding that is not well has a way out."""

from __future__ import annotations

import socket
from pathlib import Path

import duckdb
import pytest

from jobs.doctor import environment
from jobs.doctor.environment import Check, guarded


def by_name(checks) -> dict[str, Check]:
    found = {check.name: check for check in checks}
    for check in found.values():
        assert (check.status == "ok") == (check.way_out == ""), check
        assert "\n" not in check.found
    return found


def test_packages_are_held_against_what_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=2", "ray>=99", "no-such-package>=1", "vllm>=1; extra == 'vllm'"]
    monkeypatch.setattr(environment, "requires", lambda name: wanted)
    found = by_name(environment.packages())
    assert found["ray"].status == "warn" and ">=99" in found["ray"].found
    assert found["no-such-package"].status == "fail"
    assert "pip install" in found["no-such-package"].way_out and "vllm" not in found
    monkeypatch.setattr(environment, "requires", lambda name: wanted[:1])
    assert by_name(environment.packages())["packages"].found.startswith("1 as required")


def test_both_kinds_of_faiss_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_name(environment.faiss_kind())["faiss"].status == "ok"
    monkeypatch.setattr(environment, "_installed", lambda name: name in ("faiss-cpu", "faiss-gpu-cu12"))
    assert by_name(environment.faiss_kind())["faiss"].status == "fail"
    monkeypatch.setattr(environment, "_installed", lambda name: False)
    assert by_name(environment.faiss_kind())["faiss"].status == "fail"


def test_vllm_is_missed_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_installed", lambda name: False)
    assert by_name(environment.vllm_presence())["vllm"].status == "ok"
    assert by_name(environment.vllm_presence(needed=True))["vllm"].status == "fail"


def test_processors_are_told() -> None:
    found = by_name(environment.processors())
    assert "CPUs for this process" in found["cpu"].found and "gpu" in " ".join(found)


@pytest.mark.parametrize(("needed", "status"), [(False, "warn"), (True, "fail")])
def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, needed: bool, status: str) -> None:
    with socket.socket() as port:  # bound, not listening: the connection is refused at once
        port.bind(("127.0.0.1", 0))
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{port.getsockname()[1]}")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        check = by_name(environment.hub_reachability(needed))["model hub"]
        assert check.status == status and "127.0.0.1 cannot be reached" in check.found
        port.listen()
        assert by_name(environment.hub_reachability(needed))["model hub"].status == "ok"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    offline = by_name(environment.hub_reachability(needed))["model hub"]
    assert offline.status == ("fail" if needed else "ok")


def test_disk_space_and_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "not" / "yet"
    assert by_name(environment.disk(out))["disk of --out"].status in ("ok", "warn")
    assert not out.exists()
    (tmp_path / "file").touch()
    assert by_name(environment.disk(tmp_path / "file" / "out"))["disk of --out"].status == "fail"
    for least, low, status in ((2**80, 2**81, "fail"), (1, 2**80, "warn"), (1, 2, "ok")):
        monkeypatch.setattr(environment, "LEAST_BYTES", least)
        monkeypatch.setattr(environment, "LOW_BYTES", low)
        assert by_name(environment.disk(out))["disk of --out"].status == status


def test_the_store(tmp_path: Path) -> None:
    assert "none yet" in by_name(environment.store(tmp_path))["store"].found
    (tmp_path / "audit.duckdb").write_bytes(b"no database" * 1000)
    assert by_name(environment.store(tmp_path))["store"].status == "fail"
    (tmp_path / "audit.duckdb").unlink()
    with duckdb.connect(str(tmp_path / "audit.duckdb")) as con:
        con.execute("CREATE TABLE store_format (version INTEGER, written_by VARCHAR)")
        con.execute("INSERT INTO store_format VALUES (99, '9.9')")
    check = by_name(environment.store(tmp_path))["store"]
    assert check.status == "fail" and "format 99 (newer), written by auditor 9.9" in check.found


def test_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def status(name: str) -> str:
        (check,) = by_name(environment.weights(name, "model")).values()
        return check.status

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert status("lab") == status("lab:mllm-weak") == "ok"
    assert status(str(tmp_path)) == "fail" and status(str(tmp_path / "none")) == "fail"
    (tmp_path / "a.safetensors").touch()
    assert status(str(tmp_path)) == "ok"
    assert status("some/model-that-was-never-fetched") == "warn"
    assert status("a/b/c/d") == "fail"


def test_a_broken_check_is_a_finding() -> None:
    def broken():
        yield Check("first", "ok", "well")
        raise RuntimeError("libcuda.so\nis gone")

    (check,) = guarded("gpu", broken)
    assert check.status == "fail" and check.found == "RuntimeError: libcuda.so is gone"
