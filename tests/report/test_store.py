"""The store gives back what was written, to the bit, whatever happens to its writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import AuditError, BadInput
from auditor.report.store import _ROW_SCALARS, Store
from schemas.report import (
    Bound,
    Census,
    Correlation,
    Divergence,
    Example,
    Finding,
    Intervals,
    LabelFree,
    Report,
    Row,
    Run,
    Verdict,
)

NUMBER = st.floats(allow_nan=False, allow_infinity=False)
MAYBE = st.none() | NUMBER
TEXT = st.text(max_size=12)
MAYBE_TEXT = st.none() | TEXT
COUNT = st.integers(0, 2**40)
MAYBE_COUNT = st.none() | COUNT
INTERVAL = st.none() | st.tuples(NUMBER, NUMBER)
WORDS = st.dictionaries(TEXT, TEXT, max_size=3)
VERDICT = st.builds(Verdict, status=st.sampled_from(["pass", "warn", "fail", "undecided"]), because=TEXT)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
BOUND = st.builds(
    Bound,
    value=MAYBE,
    terms=st.lists(TEXT, max_size=3),
    complete=st.booleans(),
    entropy=MAYBE,
    entropy_source=MAYBE_TEXT,
    interval=INTERVAL,
)
DIVERGENCE = st.builds(
    Divergence,
    value=MAYBE,
    excess=MAYBE,
    null_mean=MAYBE,
    null_std=MAYBE,
    corrected=MAYBE,
    interval=INTERVAL,
    mmd2=MAYBE,
    p_value=MAYBE,
    p_adjusted=MAYBE,
    n_id=MAYBE_COUNT,
    n=MAYBE_COUNT,
    paired=st.booleans(),
)
LABEL_FREE = st.builds(
    LabelFree,
    voice=MAYBE_TEXT,
    estimate=MAYBE,
    low=MAYBE,
    high=MAYBE,
    outside=MAYBE,
    overlap=MAYBE,
    reason=MAYBE_TEXT,
)
FINDINGS = st.lists(
    st.builds(
        Finding,
        where=TEXT,
        kind=st.sampled_from(["share", "gap", "file"]),
        status=st.sampled_from(["warn", "fail"]),
        because=TEXT,
    ),
    max_size=2,
)
CENSUS = st.builds(
    Census,
    rows_in=COUNT,
    used=COUNT,
    left_out=st.dictionaries(TEXT, COUNT, max_size=2),
    repeats=COUNT,
    lost_answers=st.dictionaries(TEXT, COUNT, max_size=2),
    answered=MAYBE_COUNT,
    scripts=st.dictionaries(TEXT, COUNT, max_size=2),
    distinct=st.dictionaries(TEXT, COUNT, max_size=2),
)
ROW = st.builds(
    Row,
    scenario=TEXT,
    model=MAYBE_TEXT,
    family=MAYBE_TEXT,
    n=COUNT,
    n_labelled=COUNT,
    n_emi=MAYBE_COUNT,
    mi_model=MAYBE,
    mi_reference=MAYBE,
    emi=MAYBE,
    emi_spread=MAYBE,
    emid=MAYBE,
    emid_spread=MAYBE,
    intervals=st.builds(Intervals, emi=INTERVAL, emid=INTERVAL, accuracy=INTERVAL),
    bounds=st.dictionaries(TEXT, BOUND, max_size=2),
    divergences=st.dictionaries(TEXT, DIVERGENCE, max_size=2),
    delta=MAYBE,
    label_free=st.none() | LABEL_FREE,
    accuracy=MAYBE,
    win_rate=MAYBE,
    descriptors=st.dictionaries(TEXT, MAYBE, max_size=2),
    quarantined=COUNT,
    census=st.none() | CENSUS,
    findings=FINDINGS,
    verdict=VERDICT,
    missing=WORDS,
    notes=st.lists(TEXT, max_size=2),
    start=MAYBE_TEXT,
    end=MAYBE_TEXT,
)
ROWS = st.lists(ROW, max_size=3, unique_by=lambda row: (row.scenario, row.model))
RUN = st.builds(
    Run,
    run_id=st.just("r1"),
    job=st.sampled_from(["audit", "drift"]),
    created=TEXT,
    seed=st.integers(0, 2**63 - 1),
    config_hash=TEXT,
    interval_level=NUMBER,
    config=st.dictionaries(TEXT, JSON, max_size=3),
    versions=WORDS,
    encoders=WORDS,
    models=WORDS,
    critic=MAYBE_TEXT,
    id_scenario=MAYBE_TEXT,
    thresholds=st.dictionaries(TEXT, NUMBER, max_size=2),
    complete=st.booleans(),
)
REPORT = st.builds(
    Report,
    run=RUN,
    scenarios=ROWS,
    windows=ROWS,
    tables=st.dictionaries(TEXT, st.lists(st.dictionaries(TEXT, JSON, max_size=2), max_size=2), max_size=2),
    correlations=st.lists(
        st.builds(
            Correlation,
            x=TEXT,
            y=TEXT,
            model=MAYBE_TEXT,
            kind=st.sampled_from(["pearson", "spearman"]),
            value=MAYBE,
            n=COUNT,
            ceiling=MAYBE,
        ),
        max_size=2,
    ),
    quarantine=st.dictionaries(TEXT, COUNT, max_size=2),
    feed=FINDINGS,
    missing=WORDS,
    verdict=VERDICT,
    notes=st.lists(TEXT, max_size=2),
)
EXAMPLE = st.builds(
    Example,
    scenario=TEXT,
    record_id=TEXT,
    query=MAYBE_TEXT,
    reference=MAYBE_TEXT,
    responses=WORDS,
    thumbnail=st.none() | st.binary(max_size=20),
)


def small_report(run_id: str = "r1", created: str = "2026-01-01T00:00:00Z", rows: int = 3) -> Report:
    verdict = Verdict(status="pass", because="EMID 0.01 is below the threshold.")
    run = Run(
        run_id=run_id,
        job="audit",
        created=created,
        seed=1,
        config_hash="abc",
        interval_level=0.9,
        config={"seed": 1},
        versions={"auditor": "0.1.0"},
    )
    scenarios = [
        Row(
            scenario=f"blur-{i}",
            model="m",
            n=100,
            emid=i / 3,
            intervals=Intervals(emid=(i / 3 - 1, i / 3 + 1)),
            bounds={"partial": Bound(value=0.5, terms=["d_t"], complete=False)},
            divergences={"text": Divergence(value=0.1, excess=0.05)},
            verdict=verdict,
            missing={"emi": "no rows"},
        )
        for i in range(rows)
    ]
    return Report(run=run, scenarios=scenarios, verdict=verdict)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(report=REPORT, examples=st.lists(EXAMPLE, max_size=2))
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, report: Report, examples: list[Example]
):
    store = Store(tmp_path_factory.getbasetemp() / "round_trip")
    store.write_run(report, examples)  # each example replaces the run before it
    back = store.load_report("r1")
    assert back == report
    assert back.model_dump_json() == report.model_dump_json()  # the order of names too
    assert store.load_examples("r1") == examples


def test_columns_are_the_fields_of_a_row(tmp_path: Path):
    Store(tmp_path).write_run(small_report())
    with duckdb.connect(str(tmp_path / "audit.duckdb"), read_only=True) as con:
        columns = {c[0] for c in con.execute("DESCRIBE results").fetchall()}
    assert columns == {
        *_ROW_SCALARS,
        *("run_id", "kind", "pos", "status", "because", "groups", "effective_n", "variation", "census"),
    }


def test_the_latest_run_is_the_default(tmp_path: Path):
    store = Store(tmp_path)
    store.write_run(small_report("old", "2026-01-01T00:00:00Z"))
    store.write_run(small_report("new", "2026-02-01T00:00:00Z", rows=1))
    assert [run.run_id for run in store.runs()] == ["new", "old"]
    assert store.load_report().run.run_id == "new"
    assert store.load_report("old") == small_report("old")
    with pytest.raises(BadInput, match="no run other; it holds new, old"):
        store.load_report("other")


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 1000])
def test_no_store(tmp_path: Path, content: bytes | None):
    path = tmp_path / "audit.duckdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        Store(tmp_path).load_report()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_damaged_store(tmp_path: Path):
    Store(tmp_path).write_run(small_report(rows=50))
    path = tmp_path / "audit.duckdb"
    data = path.read_bytes()
    path.write_bytes(data[:12288] + b"\xff" * (len(data) - 12288))
    with pytest.raises(BadInput):
        Store(tmp_path).load_report()


def test_another_database_and_other_formats(tmp_path: Path):
    path = tmp_path / "audit.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE mine (x INTEGER)")
    with pytest.raises(BadInput, match="not one that this program wrote"):
        Store(tmp_path).load_report()
    with pytest.raises(BadInput, match="not one that this program wrote"):
        Store(tmp_path).write_run(small_report())
    for version, age in [(0, "older"), (99, "newer")]:
        with duckdb.connect(str(path)) as con:
            con.execute("CREATE OR REPLACE TABLE store_format (version INTEGER, written_by VARCHAR)")
            con.execute("INSERT INTO store_format VALUES (?, '9.9')", (version,))
        with pytest.raises(BadInput, match=rf"format {version} \({age}\), written by auditor 9.9"):
            Store(tmp_path).load_report()


def test_the_open_file_reaches_nothing_else(tmp_path: Path):
    store = Store(tmp_path)
    store.write_run(small_report())
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    for opened in (store._reading, store._writing):
        with pytest.raises(AuditError, match=r"[Pp]ermission"), opened() as con:
            con.execute(f"SELECT * FROM '{tmp_path / 'secret.csv'}'")
        with pytest.raises(AuditError, match="locked"), opened() as con:
            con.execute("SET enable_external_access = true")


HOLD = """
import sys, time, duckdb
con = duckdb.connect(sys.argv[1])
print("open", flush=True)
time.sleep(float(sys.argv[2]))
"""


def hold(path: Path, seconds: float) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "open\n"
    return holder


def test_readers_and_writers_wait_for_each_other(tmp_path: Path):
    store = Store(tmp_path)
    store.write_run(small_report())
    holder = hold(store.path, 1.0)
    assert store.load_report() == small_report()
    assert holder.wait(10) == 0
    holder = hold(store.path, 60)
    try:
        for act in (store.load_report, lambda: store.write_run(small_report())):
            store.wait_seconds = store.write_wait_seconds = 0.3
            said = rf"another process \({holder.pid}\) kept the store open for 0\.3 s"
            with pytest.raises(AuditError, match=said) as caught:
                act()
            assert not isinstance(caught.value, BadInput)
    finally:
        holder.kill()
        holder.wait()


READ_FOREVER = """
import sys, time, duckdb
from auditor.report.store import Store
store, end, reads = Store(sys.argv[1]), time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    for run in store.runs():
        report = store.load_report(run.run_id)
        assert len(report.scenarios) == 200 and report.run.run_id == run.run_id
        reads += 1
    while True:  # what a notebook does
        try:
            con = duckdb.connect(str(store.path), read_only=True)
            break
        except duckdb.IOException:
            time.sleep(0.01)
    counts = con.execute("SELECT run_id, count(*) FROM results GROUP BY run_id").fetchall()
    con.close()
    assert counts and all(n == 200 for _, n in counts), counts
print(reads)
"""


def test_readers_work_while_a_run_is_written(tmp_path: Path):
    """A writer and two readers, each a process of its own: no read is half a run, and nobody fails or is
    kept from its work."""
    root = Path(__file__).resolve().parents[2]
    env = os.environ | {"PYTHONPATH": str(root)}
    Store(tmp_path).write_run(small_report("r0", rows=200))
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOREVER, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=root,
    )
    try:
        assert writer.stdout is not None and writer.stdout.readline() == b"go\n"
        before = Store(tmp_path).path.stat().st_mtime_ns
        readers = [
            subprocess.Popen(
                [sys.executable, "-c", READ_FOREVER, str(tmp_path), "6"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=env,
            )
            for _ in range(2)
        ]
        for reader in readers:
            read, said = reader.communicate(timeout=60)
            assert reader.returncode == 0, said
            assert int(read) >= 3
        assert writer.poll() is None, writer.stderr and writer.stderr.read()
        assert Store(tmp_path).path.stat().st_mtime_ns > before
        assert {run.run_id for run in Store(tmp_path).runs()} == {"r0", "r1", "r2"}
    finally:
        writer.kill()
        writer.communicate()


def test_a_writer_waits_for_a_notebook_and_says_so(tmp_path: Path, monkeypatch, caplog):
    monkeypatch.setattr("auditor.report.store.TELL_SECONDS", 0.2)
    store = Store(tmp_path, wait_seconds=0.1)
    store.write_run(small_report())
    holder = hold(store.path, 1.5)
    store.write_run(small_report("r2"))
    assert f"waiting for another process ({holder.pid})" in caplog.text
    assert holder.wait(10) == 0 and len(store.runs()) == 2


WRITE_FOREVER = """
import sys
from auditor.report.store import Store
from tests.report.test_store import small_report
store = Store(sys.argv[1])
print("go", flush=True)
i = 0
while True:
    store.write_run(small_report("r%d" % (i % 3), rows=200))
    i += 1
"""


def test_kill_in_the_middle_of_a_write(tmp_path: Path):
    """Whenever the writer dies, the store opens, and every run in it is whole."""
    root = Path(__file__).resolve().parents[2]
    env = os.environ | {"PYTHONPATH": str(root)}
    store = Store(tmp_path)
    for delay in (0.0, 0.03, 0.11, 0.31, 2.0):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOREVER, str(tmp_path)], stdout=subprocess.PIPE, env=env, cwd=root
        )
        assert writer.stdout is not None and writer.stdout.readline() == b"go\n"
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        if not store.path.exists():
            continue
        for run in store.runs():
            assert store.load_report(run.run_id) == small_report(
                run.run_id, rows=3 if run.run_id == "mine" else 200
            )
        store.write_run(small_report("mine"))  # and it can be written to
        assert store.load_report("mine") == small_report("mine")
    assert store.path.exists()
