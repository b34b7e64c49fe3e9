import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import AuditError, BadInput
from auditor.storage.atomic import ORPHAN_SECONDS, sweep, temporary_name, write_bytes, write_whole
from auditor.storage.run_dir import RunDir, safe_name, work_identity

HOLD = """
import sys, time
from pathlib import Path
from auditor.storage.run_dir import RunDir
with RunDir(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@given(st.lists(st.text(min_size=1), unique=True, max_size=20))
def test_names_are_safe_and_distinct(names):
    files = [safe_name(name) for name in names]
    assert len(set(files)) == len(files)
    for file in files:
        assert "/" not in file and "\0" not in file and not file.startswith(".")
        assert len(file.encode()) < 200 and safe_name(file) != safe_name("../" + file)


def test_plain_names_stay_readable():
    assert safe_name("blur-3") == "blur-3"
    assert safe_name("../../etc/passwd").startswith("etc-passwd~")
    assert safe_name("wild ø").startswith("wild~")


def test_folders_say_in_clear_whose_they_are(tmp_path):
    run = RunDir(tmp_path)
    identity = work_identity('{"name": "x", "layer": 0}', threads=1, shard=4)
    folder = run.embeddings(identity)
    assert folder.parent == tmp_path / "run" / "embeddings"
    assert json.loads((folder / "identity.json").read_text()) == {
        "by": {"name": "x", "layer": 0},
        "threads": 1,
        "shard": 4,
    }
    assert run.embeddings(identity) == folder
    assert run.embeddings(work_identity('{"name": "x", "layer": 0}', threads=2, shard=4)) != folder
    (folder / "identity.json").write_text("{}")
    with pytest.raises(AuditError, match="delete the folder"):
        run.embeddings(identity)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.parquet"
    write_bytes(path, b"first")

    def fails(temporary):
        temporary.write_bytes(b"hal")
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        write_whole(path, fails)
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"] and path.read_bytes() == b"first"
    write_bytes(path, b"second")
    assert path.read_bytes() == b"second"


def test_killed_in_the_middle_of_a_write_leaves_only_what_is_swept(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from auditor.storage.atomic import write_whole
def write(temporary):
    temporary.write_bytes(b"hal")
    os.kill(os.getpid(), signal.SIGKILL)
write_whole(Path(sys.argv[1]) / "a.parquet", write)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".tmp") and not list(tmp_path.glob("*.parquet"))
    assert sweep(tmp_path) == 1 and not list(tmp_path.iterdir())


def test_the_sweep_spares_the_living_and_the_foreign_until_they_are_old(tmp_path):
    (tmp_path / "run").mkdir()
    keep = tmp_path / "run" / ".mine.tmp"  # no name of ours

    def check(temporary):
        assert sweep(tmp_path) == 0 and temporary.exists()

    keep.touch()
    write_whole(tmp_path / "a", lambda t: (t.touch(), check(t)))
    foreign = tmp_path / "run" / ".b.parquet.00000000-1-0123abcd.tmp"
    foreign.touch()
    assert sweep(tmp_path) == 0
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours = temporary_name(tmp_path / "id.parquet").replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    (tmp_path / "run" / ours).touch()
    assert sweep(tmp_path) == 1
    old = time.time() - ORPHAN_SECONDS - 1
    os.utime(foreign, (old, old))
    assert sweep(tmp_path) == 1 and keep.exists()


def test_two_drivers_do_not_share_a_folder(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(AuditError, match=f"in use by process {other.pid} on "), RunDir(tmp_path).lock():
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
        with RunDir(tmp_path).lock():  # taken over from the dead
            held = json.loads((tmp_path / "run" / "lock.json").read_text())
            assert held["pid"] == os.getpid()
            with pytest.raises(AuditError, match="in use"), RunDir(tmp_path).lock():
                pass
    finally:
        other.kill()
        other.wait()
    with RunDir(tmp_path).lock():
        pass


def test_another_format_is_refused(tmp_path):
    RunDir(tmp_path).open()
    stamp = tmp_path / "run" / "format.json"
    stamp.write_text('{"format": 99}')
    with pytest.raises(BadInput, match="format 99"):
        RunDir(tmp_path).open()
    stamp.write_text("{")
    with pytest.raises(BadInput, match="not readable"):
        RunDir(tmp_path).open()


def test_a_folder_that_cannot_be_made_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        RunDir(tmp_path / "file").open()


@pytest.mark.parametrize("out", ["s3://bucket/out", "gs://bucket/out", "memory://out"])
def test_an_object_store_is_no_run_directory(out: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"must be a folder, not a remote address.* mount shared storage"):
        RunDir(Path(out))
    assert list(tmp_path.iterdir()) == []
