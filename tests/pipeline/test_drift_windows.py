"""A service whose days differ: the baseline's own days are the yardstick, and alarms keep to their budget."""

import json
from datetime import date, timedelta

import numpy as np
import pytest

from auditor.measures.verdict import EXIT_CODES
from auditor.measures.window_means import read_windows
from auditor.pipeline.bars import Bars
from auditor.pipeline.baseline import build
from auditor.pipeline.drift import drift, windows_between_alarms
from auditor.profiles.baseline import load
from auditor.report.store import Store
from auditor.report.text import summary
from schemas.config import BaselineConfig, DriftConfig

ROWS, BASELINE_DAYS, QUIET, MOVED, BUDGET = 60, 14, 5, 5, 20
TOPICS = {
    "weather": "Will it {} in the {} tomorrow?",
    "cooking": "How long do I {} a {} in the oven?",
    "travel": "Which train should I {} to reach the {}?",
    "sport": "Who will {} the {} this year?",
    "money": "May I {} my {} before the summer?",
}
VERBS = ("rain", "bake", "take", "win", "sell", "leave", "hold", "keep")
NOUNS = ("north", "cake", "harbour", "cup", "car", "house", "valley", "island", "market")
FIRST = date(2026, 3, 1)


def rows_of_day(number, rng, moved=False):
    """Rows of a day; each day has its own mix of topics."""
    day = (FIRST + timedelta(days=number)).isoformat()
    topics, mix = list(TOPICS), rng.dirichlet(np.full(len(TOPICS), 4.0))
    rows = []
    for i in range(ROWS):
        text = TOPICS[rng.choice(topics, p=mix)].format(rng.choice(VERBS), rng.choice(NOUNS))
        if moved and i % 2:
            text = f"translate to french: clause {rng.integers(99)} of the {rng.choice(NOUNS)} contract"
        moment = f"{day}T{rng.integers(24):02d}:30:00Z"
        rows.append({"record_id": f"{day}-{i}", "query": text, "timestamp": moment})
    return rows


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a baseline of BASELINE_DAYS, and the rows of the days after them, the last ones moved."""
    folder, rng = tmp_path_factory.mktemp("days"), np.random.default_rng(4)
    days = [
        rows_of_day(number, rng, moved=number >= BASELINE_DAYS + QUIET)
        for number in range(BASELINE_DAYS + QUIET + MOVED)
    ]
    write(folder / "id.jsonl", days[:BASELINE_DAYS])
    make(folder, "id.jsonl", folder / "baseline", window="1d")
    return folder, days[BASELINE_DAYS:]


def write(path, days):
    path.write_text("".join(json.dumps(row) + "\n" for rows in days for row in rows))


def make(folder, records, out, **settings):
    config = BaselineConfig(
        data={"id": str(folder / records)},
        encoders={"image": None, "text": "lab"},
        workers={"executor": "serial"},
        shards={"stream": 32},
        **settings,
    )
    return build(config, out, Bars())


def judge(world, days, out, baseline="baseline", **settings):
    folder, _ = world
    write(folder / "traffic.jsonl", days)
    given = {
        "baseline": str(folder / baseline),
        "data": {"traffic": str(folder / "traffic.jsonl")},
        "thresholds": {"windows_between_alarms": BUDGET},
        "workers": {"executor": "serial"},
        "window": "1d",
        **settings,
    }
    return drift(DriftConfig(**given), out, Bars())


@pytest.fixture(scope="module")
def report(world, tmp_path_factory):
    return judge(world, world[1], tmp_path_factory.mktemp("report"))


def test_a_baseline_keeps_how_its_windows_look(world):
    baseline = load(world[0] / "baseline")
    windows = read_windows(baseline.windows_file)
    assert len(windows.names) == BASELINE_DAYS == len(windows.windows)
    assert windows.names[0].startswith("2026-03-01") and list(windows.names) == sorted(windows.names)
    assert all(window.n == ROWS and "text.mean" in window.means for window in windows.windows)
    assert baseline.manifest.n == ROWS * BASELINE_DAYS


def test_days_that_differ_pass_and_a_change_fails(report):
    for row in report.windows:
        print(row.scenario[:10], row.verdict.status, row.variation.evidence, row.verdict.because[:100])
    quiet, moved = report.windows[:QUIET], report.windows[QUIET:]
    assert all(row.verdict.status in ("pass", "warn") for row in quiet)  # one in fifteen ranks first
    # By chance among rows alone, days that differ have moved.
    assert any(min(d.p_adjusted for d in row.divergences.values()) <= 0.01 for row in quiet)
    assert any("but not by more than this service varies" in row.verdict.because for row in quiet)
    assert moved[0].verdict.status in ("warn", "fail") and moved[0].variation.distance.rank == 1
    assert all(row.verdict.status == "fail" and row.variation.alarm for row in moved[2:])
    assert moved[-1].variation.since == moved[0].scenario
    assert "and by more than this service varies from window to window, since 2026-03-20" in (
        moved[-1].verdict.because
    )
    assert moved[-1].variation.evidence >= BUDGET == moved[-1].variation.budget
    assert report.verdict.status == "fail" and EXIT_CODES[report.verdict.status] == 1
    notes = " | ".join(report.notes)
    assert "compared with the 14 windows of the baseline" in notes and "at least 20 windows apart" in notes
    assert "a change began with 2026-03-20" in notes and "would fail by chance" not in notes


def test_the_band_is_that_of_the_baseline(report):
    for row in report.windows:
        place = row.variation.distance
        low, high = place.band
        assert low < 0 < high and place.p_value == place.rank / place.of
        assert set(row.variation.modalities) == {"text"}
    assert report.windows[-1].variation.distance.value > report.windows[-1].variation.distance.band[1]


def test_what_is_said_of_a_window_does_not_depend_on_later_ones(world, report, tmp_path):
    one = {"executor": "serial", "cpu": 1}
    first = judge(world, world[1][: QUIET + 1], tmp_path / "out", workers=one, window="24h")
    longer = judge(world, world[1], tmp_path / "out")
    assert [row.variation for row in longer.windows] == [row.variation for row in report.windows]
    assert [row.variation for row in first.windows] == [row.variation for row in report.windows[: QUIET + 1]]
    assert [row.verdict for row in longer.windows] == [row.verdict for row in report.windows]


def test_the_report_shows_it_and_the_store_keeps_it(report, world, tmp_path):
    again = judge(world, world[1], tmp_path / "out")
    loaded = Store(tmp_path / "out").load_report()
    assert [row.variation for row in loaded.windows] == [row.variation for row in again.windows]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Evidence of a change" in page and "Distance from the other windows" in page
    assert summary(again)


@pytest.mark.parametrize(
    "case, note",
    [
        ("few", "the baseline keeps 9 windows of at least 50 rows, fewer than 10"),
        ("none", "the baseline keeps no windows of its own"),
        ("otherwise", "the baseline's windows are cut by window: 1d, these are not"),
    ],
)
def test_without_enough_windows_rows_alone_are_judged(world, tmp_path, case, note):
    folder, days = world
    baseline, settings = "baseline", {}
    if case == "otherwise":
        settings = {"window": None}
    else:
        rng, baseline = np.random.default_rng(4), str(tmp_path / "baseline")
        write(folder / "few.jsonl", [rows_of_day(number, rng) for number in range(9)])
        make(folder, "few.jsonl", tmp_path / "baseline", **({"window": "1d"} if case == "few" else {}))
    found = judge(world, days[-1:], tmp_path / "out", baseline, **settings)
    assert any(note in line and "chance among rows alone" in line for line in found.notes)
    (row,) = found.windows
    assert row.variation is None and row.verdict.status == "fail"
    assert row.verdict.because.startswith("text moved: ")


@pytest.mark.parametrize(
    "cut, windows",
    [
        ({"window": "1d"}, 365),
        ({"window": "6h"}, 4 * 365),
        ({"window": "1w"}, 365 / 7),
        ({"window_rows": 500}, 365),
        ({"window": "1d", "thresholds": {"windows_between_alarms": 30}}, 30),
    ],
)
def test_the_default_budget_is_a_year(cut, windows):
    config = DriftConfig.model_validate({"baseline": "b", "data": {"traffic": "t.jsonl"}, **cut})
    assert windows_between_alarms(config) == pytest.approx(windows)


def test_windows_of_rows_are_compared_with_windows_of_rows(world, tmp_path):
    folder, days = world
    make(folder, "id.jsonl", tmp_path / "baseline", window_rows=ROWS)
    found = judge(world, days[-2:], tmp_path / "out", tmp_path / "baseline", window=None, window_rows=ROWS)
    assert [row.variation.baseline_windows for row in found.windows] == [BASELINE_DAYS] * 2
    assert found.windows[0].variation.distance.rank == 1 and found.windows[0].verdict.status == "warn"
