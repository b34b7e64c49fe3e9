"""From a good month of traffic a day is lost or spoilt in many ways: every one of them is named, with its day
and the reason, and the month itself passes.

The rows are the lab's: rendered scenes, questions about them, and mostly right answers. The baseline is of
the weeks before. Days are files, and each case spoils one of them, in the folder of a run that knows all the
others.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from auditor.lab.world import lab_item
from auditor.pipeline.bars import Bars
from auditor.pipeline.baseline import build
from auditor.pipeline.drift import drift
from schemas.config import BaselineConfig, DriftConfig
from schemas.report import Report

DAYS, BEFORE, ROWS = 30, 20, 40
FIRST = date(2026, 4, 1)
SPOILT = 11
"""The day that is spoilt, counted from 0."""
DAY = (FIRST + timedelta(days=SPOILT)).isoformat()

Row = dict[str, Any]


def rows_of(day: date, start: int, media: Path, rng: random.Random, seed: int = 0) -> list[Row]:
    """The rows of a day: at random moments of it, in their order; one answer in five is wrong."""
    moments = sorted(rng.randrange(86_400) for _ in range(ROWS))
    rows = []
    for number, seconds in enumerate(moments):
        item = lab_item(start + number, seed)
        (media / f"{item.record_id}.png").write_bytes(item.image)
        wrong = lab_item(start + number + 7, seed).reference
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=seconds)
        rows.append(
            {
                "record_id": item.record_id,
                "image": f"{item.record_id}.png",
                "query": item.query,
                "reference": item.reference,
                "responses": {"m": wrong if rng.random() < 0.2 else item.reference},
                "timestamp": moment.isoformat().replace("+00:00", "Z"),
            }
        )
    return rows


def write(path: Path, rows: Iterable[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_month(folder: Path, seed: int = 0) -> None:
    """Write the baseline and the files of the month after it."""
    rng, media = random.Random(seed), folder / "media"
    media.mkdir()
    (folder / "traffic").mkdir()
    before = [FIRST - timedelta(days=BEFORE - i) for i in range(BEFORE)]
    write(
        folder / "id.jsonl", (r for i, d in enumerate(before) for r in rows_of(d, ROWS * i, media, rng, seed))
    )
    for i in range(DAYS):
        day = FIRST + timedelta(days=i)
        write(folder / "traffic" / f"{day}.jsonl", rows_of(day, ROWS * (BEFORE + i), media, rng, seed))
    config = BaselineConfig(
        data={"id": str(folder / "id.jsonl"), "media_root": str(media)},
        encoders={"image": "lab", "text": "lab"},
        critic={"hidden": 16, "steps": 50, "seeds": 1, "cross_fit": 2},
        workers={"executor": "serial"},
        window="1d",
    )
    build(config, folder / "baseline", Bars())


def watch(folder: Path) -> Report:
    """Compare the month with the baseline; days that are known already are kept."""
    config = DriftConfig(
        baseline=str(folder / "baseline"),
        data={"traffic": str(folder / "traffic" / "*.jsonl"), "media_root": str(folder / "media")},
        thresholds={"min_rows": 10},
        workers={"executor": "serial"},
        window="1d",
    )
    return drift(config, folder / "out", Bars())


@dataclass
class Month:
    """The files of a month, of which one or more may be changed."""

    folder: Path

    def file(self, day: str = DAY) -> Path:
        return self.folder / "traffic" / f"{day}.jsonl"

    def rows(self, day: str = DAY) -> list[Row]:
        return [json.loads(line) for line in self.file(day).read_text().splitlines()]

    def write(self, rows: Iterable[Row], day: str = DAY) -> None:
        write(self.file(day), rows)

    def each(self, **changes: Any) -> None:
        """Change each row of the day: None drops a field."""
        kept = [{**row, **changes} for row in self.rows()]
        self.write({k: v for k, v in row.items() if v is not None} for row in kept)


Spoil = Callable[[Month], None]
CASES: dict[str, tuple[Spoil, str]] = {}
"""Name -> what is done to the month, and what the sentence that names the day says."""


def case(says: str) -> Callable[[Spoil], Spoil]:
    def add(spoil: Spoil) -> Spoil:
        CASES[spoil.__name__] = (spoil, says)
        return spoil

    return add


@case(rf"On {DAY} none of 40 rows has an answer")
def no_answers(month: Month) -> None:
    month.each(responses=None)


@case(rf"On {DAY} none of 40 rows has an answer")
def empty_answers(month: Month) -> None:
    month.each(responses={"m": "  "})


@case(rf"On {DAY} none of 40 rows has an answer")
def null_answers(month: Month) -> None:
    month.each(responses={"m": None})


@case(rf"On {DAY} 20 of 40 rows \(50%\) have an answer")
def half_the_answers(month: Month) -> None:
    rows = month.rows()
    for row in rows[::2]:
        row["responses"] = {"m": ""}
    month.write(rows)


@case(rf"On {DAY} 0 of 40 rows \(0%\) have an image")
def images_gone(month: Month) -> None:
    month.each(image=None)


@case(rf"On {DAY} nothing was usable: 40 rows came \(image_missing 40\)")
def images_not_found(month: Month) -> None:
    month.each(image="gone.png")


@case(rf"On {DAY} all images are one and the same")
def images_constant(month: Month) -> None:
    month.each(image=month.rows()[0]["image"])


@case(rf"On {DAY} one and the same stands for 65% of the images")
def a_placeholder_for_many_images(month: Month) -> None:
    rows = month.rows()
    for row in rows[:26]:
        row["image"] = rows[0]["image"]
    month.write(rows)


@case(rf"On {DAY} 10 of 40 rows \(25%\) were left out \(image_\w+ 10\)")
def images_in_another_format(month: Month) -> None:
    rows = month.rows()
    for row in rows[:10]:
        path = month.folder / "media" / f"{row['image']}.jxl"
        path.write_bytes(b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a" + bytes(500))
        row["image"] = path.name
    month.write(rows)


@case(rf"nothing of \S*{DAY}.jsonl was usable: 40 rows \(bad_timestamp 40\)")
def another_way_to_write_the_time(month: Month) -> None:
    rows = month.rows()
    month.write({**row, "timestamp": f"day {i} of the harvest"} for i, row in enumerate(rows))


@case(rf"nothing of \S*{DAY}.jsonl was usable: 40 rows \(bad_timestamp 40\)")
def no_time(month: Month) -> None:
    month.each(timestamp=None)


@case(r"On 2056-04-12 40 rows lie 10,9\d\d windows away from most others")
def another_clock(month: Month) -> None:
    month.write({**row, "timestamp": row["timestamp"].replace("2026", "2056")} for row in month.rows())


@case(rf"On {DAY} nothing was usable: 40 rows came \(conflicting_id 40\)")
def ids_used_again(month: Month) -> None:
    ids = [row["record_id"] for row in month.rows("2026-04-05")]
    month.write({**row, "record_id": i} for i, row in zip(ids, month.rows(), strict=True))


@case(rf"the last of \d+ rows of \S*{DAY}.jsonl cannot be read: it may have been cut off")
def a_truncated_file(month: Month) -> None:
    text = month.file().read_text()
    month.file().write_text(text[: len(text) * 4 // 5])


@case(rf"On {DAY} 8 rows came, where 40 are usual")
def a_file_cut_at_a_line(month: Month) -> None:
    month.write(month.rows()[:8])


@case(rf"{DAY}.jsonl holds no rows")
def an_empty_file(month: Month) -> None:
    month.file().write_text("")


@case(rf"no rows came for {DAY}")
def a_lost_file(month: Month) -> None:
    month.file().unlink()


@case(rf"On {DAY} 40 of 80 rows are repeats of rows before them")
def a_duplicated_file(month: Month) -> None:
    shutil.copy(month.file(), month.file(f"{DAY}-copy"))


@case(rf"On {DAY} 100% of the rows say what another row there says")
def rows_doubled_under_new_ids(month: Month) -> None:
    rows = month.rows()
    month.write([*rows, *({**row, "record_id": f"{row['record_id']}-b"} for row in rows)])


@case(rf"On {DAY} 100% of the rows say what rows said before, on 2026-04-11")
def a_feed_that_stands_still(month: Month) -> None:
    before = month.rows("2026-04-11")
    month.write(
        {**row, "record_id": f"{row['record_id']}-again", "timestamp": now["timestamp"]}
        for row, now in zip(before, month.rows(), strict=True)
    )


@case(r"moved by more than chance among rows")
def swapped_columns(month: Month) -> None:
    month.write(
        {**row, "query": row["responses"]["m"], "responses": {"m": row["query"]}} for row in month.rows()
    )


@case(rf"On {DAY} 40 of 40 answers \(100%\) refuse")
def refusals(month: Month) -> None:
    rows = month.rows()
    month.write({**row, "responses": {"m": f"I'm sorry, I cannot see {i}."}} for i, row in enumerate(rows))


@case(rf"On {DAY} 10 of 40 answers \(25%\) refuse")
def some_refusals(month: Month) -> None:
    rows = month.rows()
    for row in rows[::4]:
        row["responses"] = {"m": "I cannot help with that."}
    month.write(rows)


@case(rf"On {DAY} 40 of 40 queries \(100%\) are in Greek script")
def one_language(month: Month) -> None:
    rows = month.rows()
    for row in rows:
        row["query"] = lab_item(int(row["record_id"].rsplit("-", 1)[1]), language="el").query
    month.write(rows)


@case(rf"On {DAY} all queries are one and the same")
def queries_constant(month: Month) -> None:
    month.each(query="What is this?")


@case(rf"On {DAY} 0 of 40 rows \(0%\) have a query")
def queries_gone(month: Month) -> None:
    month.each(query=None)


@case(rf"On {DAY} all answers are one and the same")
def answers_constant(month: Month) -> None:
    month.each(responses={"m": "red"})


@case(rf"On {DAY} 0 of 40 rows \(0%\) have a correct answer")
def references_gone(month: Month) -> None:
    month.each(reference=None)


@case(rf"{DAY}.jsonl was read as question_answer, 29 other files were read as records")
def ids_gone(month: Month) -> None:
    month.each(record_id=None)


@case(rf"nothing of \S*{DAY}.jsonl was usable: 40 rows \(unreadable_line 40\)")
def a_table_instead_of_json(month: Month) -> None:
    lines = [";".join(map(str, row.values())) for row in month.rows()]
    month.file().write_text("\n".join(lines) + "\n")


@case(r"On 2026-04-30 15 rows came, where 40 are usual")
def a_feed_that_ends(month: Month) -> None:
    month.write(month.rows("2026-04-30")[:15], "2026-04-30")


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    folder = tmp_path_factory.mktemp("month")
    make_month(folder)
    return folder, watch(folder)


@pytest.fixture
def spoilt(month: tuple[Path, Report]) -> Iterator[Month]:
    """The month; its files are as before in the end."""
    folder, _ = month
    kept = folder / "kept"
    shutil.copytree(folder / "traffic", kept)
    yield Month(folder)
    shutil.rmtree(folder / "traffic")
    kept.rename(folder / "traffic")


def sentences(report: Report) -> list[str]:
    """What the report says of days and files, a sentence each."""
    judged = [row.verdict.because for row in report.windows if row.verdict.status != "pass"]
    return [*judged, *(finding.because for finding in report.feed)]


def test_the_untouched_month_passes(month: tuple[Path, Report]) -> None:
    _, report = month
    assert report.verdict.status == "pass", report.verdict.because
    assert not report.feed and not any(row.findings for row in report.windows)
    censuses = [row.census for row in report.windows]
    assert len(censuses) == DAYS
    for census in censuses:
        assert census is not None and not census.left_out
        assert census.rows_in == census.used == census.answered == census.with_image == ROWS


@pytest.mark.parametrize("name", CASES)
def test_a_spoilt_day_is_named_with_its_reason(name: str, spoilt: Month) -> None:
    spoil, says = CASES[name]
    spoil(spoilt)
    report = watch(spoilt.folder)
    assert report.verdict.status in ("warn", "fail"), report.verdict.because
    assert any(re.search(says, said) for said in sentences(report)), sentences(report)
