from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image as Pillow

from auditor.records import Limits, MediaPolicy, admit, read_records
from schemas.record import Image, Quarantined, Reason, Record


def png(color: int) -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", (4, 4), (color, 0, 0)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(params=["here", "in threads"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor | None]:
    if request.param == "here":
        yield None
    else:
        with ThreadPoolExecutor(2) as pool:
            yield pool


def test_records_are_admitted_in_order(tmp_path: Path, executor: Executor | None) -> None:
    for i in range(150):
        (tmp_path / f"{i}.png").write_bytes(png(i) if i % 10 else b"broken")
    records = [Record(str(i), str(i), images=(Image(path=f"{i}.png"),)) for i in range(150)]
    out = list(admit(records, MediaPolicy(root=tmp_path), scenario="s", executor=executor))
    assert [row.record_id for row in out] == [record.record_id for record in records]
    for i, row in enumerate(out):
        if i % 10:
            digest = hashlib.sha256(png(i)).hexdigest()
            assert isinstance(row, Record) and row.images == (Image(path=f"{i}.png", digest=digest),)
        else:
            assert isinstance(row, Quarantined)
            assert row == Quarantined("s", i, Reason.IMAGE_CORRUPT, row.detail, str(i), "s")


def test_bytes_stay_inline(executor: Executor | None) -> None:
    (row,) = admit([Record("a", "a", images=(Image(data=png(1)),))], MediaPolicy(), executor=executor)
    assert isinstance(row, Record)
    assert row.images == (Image(data=png(1), digest=hashlib.sha256(png(1)).hexdigest()),)


def test_one_bad_image_costs_the_row(executor: Executor | None) -> None:
    record = Record("a", "a", images=(Image(data=png(1)), Image(path="x.png")), query="q")
    (row,) = admit([record], MediaPolicy(), scenario="s", executor=executor)
    assert isinstance(row, Quarantined) and row.reason is Reason.IMAGE_OUTSIDE_ROOT


def test_duplicates_within_a_scenario(executor: Executor | None) -> None:
    records = [
        Record("a", "a", query="first"),
        Record("b", "b", query="q"),
        Record("a", "a", query="second"),
        Record("a", "a", query="first"),
    ]
    out = list(admit(records, MediaPolicy(), scenario="s", executor=executor))
    assert out[:2] == records[:2]
    reasons = [row.reason for row in out[2:] if isinstance(row, Quarantined)]
    assert reasons == [Reason.CONFLICTING_ID, Reason.DUPLICATE_ID]  # others, and the same again
    assert next(iter(admit(records[2:], MediaPolicy(), scenario="another"))) == records[2]


def test_limits_hold_for_records_of_any_reader() -> None:
    long, blank = Record("a", "a", query="q" * 11), Record("b", "b", query=" ")
    answered = Record("c", "c", query="q", responses={"m": ("",), "n": ("yes",)})
    out = list(admit([long, blank, answered], MediaPolicy(), Limits(text_chars=10), "s"))
    assert [row.reason for row in out[:3] if isinstance(row, Quarantined)] == [
        Reason.TEXT_TOO_LONG,
        Reason.MISSING_INPUT,
        Reason.EMPTY_RESPONSE,
    ]
    assert out[3] == Record("c", "c", query="q", responses={"n": ("yes",)})


def test_quarantined_rows_pass_with_their_place_and_scenario(jsonl: Callable[..., Path]) -> None:
    path = jsonl({"record_id": "a", "image": "x.png"}, "broken", {"record_id": "b", "query": "q"})
    bad_image, broken, good = admit(read_records(path), MediaPolicy(), scenario="s")
    assert isinstance(bad_image, Quarantined) and isinstance(broken, Quarantined) and isinstance(good, Record)
    assert (bad_image.source, bad_image.row, bad_image.scenario) == (str(path), 1, "s")
    assert (broken.source, broken.row, broken.scenario) == (str(path), 2, "s")


def test_look_ahead_is_bounded_and_may_be_abandoned() -> None:
    taken = itertools.count()
    endless = (Record(str(next(taken)), "x", images=(Image(data=png(1)),)) for _ in itertools.count())
    with ThreadPoolExecutor(1) as pool:
        out = admit(endless, MediaPolicy(), executor=pool)
        for _ in range(10):
            next(out)
        out.close()  # type: ignore[attr-defined]
    assert next(taken) <= 10 + 64
