"""What came, and what of it is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auditor.measures.census import Came, Rules, Standard, findings, window_counts
from auditor.measures.contents import Commonest, Contents
from auditor.measures.shares import Counted
from schemas.record import Quarantined, Reason

RULES = Rules(0.01, 0.2, 20)
HAVING = {"image": 1.0, "query": 1.0, "answer": 1.0, "reference": 1.0}


def contents(rows: int, refusal: float = 0.01, **shares: float) -> Contents:
    having = {name: round(share * rows) for name, share in {**HAVING, **shares}.items()}
    return Contents(rows=rows, having=having | {"refusal": round(refusal * having["answer"])})


def came(used: int = 40, of: Contents | None = None, **left_out: int) -> Came:
    aside = [Quarantined("f", i, Reason(reason)) for reason, count in left_out.items() for i in range(count)]
    return Came("d", "On d", used, of or contents(used), aside)


STANDARD = Standard(
    "the baseline",
    contents(1200),
    {key: {} for key in ("image", "query", "answer")},
    Counted(0, 1200),
    Counted(0, 1200),
)


def told(of: Came, standard: Standard = STANDARD, rules: Rules = RULES) -> list[tuple[str, str, str]]:
    return [(f.kind, f.status, f.because) for f in findings(of, standard, rules)]


def test_a_quiet_day_has_no_findings() -> None:
    assert told(came()) == []
    assert told(Came("d", "On d", 0)) == []


def test_rows_left_out() -> None:
    ((kind, status, said),) = told(came(20, image_corrupt=15, text_too_long=5))
    assert (kind, status) == ("left_out", "fail")
    assert said == (
        "On d 20 of 40 rows (50%) were left out (image_corrupt 15, text_too_long 5), more than the 20% of "
        "thresholds.max_left_out; 0% in the baseline"
    )
    ((kind, status, said),) = told(came(20, image_corrupt=20), rules=replace(RULES, max_left_out=0.5))
    assert (kind, status) == ("left_out", "warn") and "(p=" in said
    ((_, status, said),) = told(came(0, contents(0), image_corrupt=20, conflicting_id=20))
    assert status == "fail"
    assert said == "On d nothing was usable: 40 rows came (conflicting_id 20, image_corrupt 20)"
    usual = replace(STANDARD, left_out=Counted(240, 1200))
    assert told(came(33, image_corrupt=7), usual) == []


def test_repeats_are_no_loss() -> None:
    ((kind, status, said),) = told(came(40, duplicate_id=40))
    assert (kind, status) == ("repeats", "warn") and "40 of 80 rows are repeats" in said
    ((kind, status, said),) = told(came(0, contents(0), duplicate_id=40))
    assert (kind, status) == ("repeats", "warn") and "all 40 rows are repeats" in said
    counted = came(30, image_corrupt=2, duplicate_id=8).census()
    assert (counted.rows_in, counted.used, counted.repeats) == (40, 30, 8)
    assert counted.left_out == {"image_corrupt": 2}


def test_answers() -> None:
    ((kind, status, said),) = told(came(of=contents(40, answer=0)))
    assert (kind, status) == ("nothing", "fail")
    assert said == "On d none of 40 rows has an answer; 100% in the baseline"
    ((kind, status, said),) = told(came(of=contents(40, answer=0.5)))
    assert (kind, status) == ("share", "warn") and "20 of 40 rows (50%) have an answer; 100% in" in said
    never = replace(STANDARD, contents=contents(1200, answer=0))
    assert told(came(of=contents(40, answer=0)), never) == []
    ((_, _, said),) = told(came(of=contents(40, refusal=0.5)))
    assert "20 of 40 answers (50%) refuse; 1% in the baseline" in said


@pytest.mark.parametrize("name", ["image", "query", "reference"])
def test_contents_that_are_gone(name: str) -> None:
    ((kind, status, said),) = told(came(of=contents(40, **{name: 0})))
    assert (kind, status) == ("share", "warn") and "0 of 40 rows (0%) have" in said


def test_traffic_that_nobody_labels_lacks_nothing() -> None:
    bare = came(of=contents(40, reference=0))
    assert told(bare, rules=replace(RULES, labelled=False)) == []


def test_scripts() -> None:
    latin = Contents(rows=1200, having={**contents(1200).having, "script_latin": 1200})
    greek = Contents(rows=40, having={**contents(40).having, "script_latin": 10, "script_greek": 30})
    standard = replace(STANDARD, contents=latin)
    said = [text for _, _, text in told(came(of=greek), standard)]
    assert any("30 of 40 queries (75%) are in Greek script; 0% in the baseline" in text for text in said)
    assert told(came(of=greek), standard, replace(RULES, scripts=False)) == []
    assert came(of=greek).census().scripts == {"latin": 10, "greek": 30}


def test_one_and_the_same() -> None:
    def of(mark: str, groups: int, of: int, distinct: int, rows: int) -> Contents:
        commonest = Commonest(mark=mark, groups=groups, of=of, distinct=distinct)
        return contents(rows).model_copy(update={"commonest": {"image": commonest}})

    standard = replace(STANDARD, contents=of("a", 6, 1200, 1100, 1200), marks={"image": {"a": 6, "b": 1}})
    ((kind, status, said),) = told(came(of=of("b", 40, 40, 1, 40)), standard)
    assert (kind, status) == ("constant", "fail")
    assert said.startswith(
        "On d all images are one and the same; the commonest has 0.50% in the baseline (p="
    )
    ((_, status, said),) = told(came(of=of("b", 26, 40, 15, 40)), standard)
    assert status == "warn" and "one and the same stands for 65% of the images" in said
    assert told(came(of=of("b", 12, 40, 29, 40)), standard) == []  # a quarter: what tests of images are for
    always = replace(standard, contents=of("a", 900, 1200, 60, 1200), marks={"image": {"a": 900}})
    assert told(came(of=of("a", 36, 40, 5, 40)), always) == []
    assert told(came(of=of("b", 1, 1, 1, 40)), standard) == []  # one group is one observation


def test_all_tests_of_a_window_are_one_family() -> None:
    """One moved share of many is adjusted for the others that could have moved."""
    single = {"answer": 0.9}
    ((_, _, alone),) = told(came(of=contents(40, **single)))
    shares = {"answer": 0.9, "image": 0.975, "query": 0.975, "reference": 0.975}
    both = told(came(of=contents(40, **shares)))
    p_alone, p_both = (float(said.split("(p=")[1].rstrip(")")) for said in (alone, both[0][2]))
    assert p_both > p_alone


def test_a_window_of_the_reference_is_counted_alike() -> None:
    aside = [Quarantined("f", 1, Reason.IMAGE_CORRUPT), Quarantined("f", 2, Reason.DUPLICATE_ID)]
    counted = window_counts({"n": 30, "answered": 29, "refused": 2, "script_latin": 28}, aside)
    assert counted == {
        "rows": 30, "rows_in": 32, "new": 31, "left_out": 1, "repeats": 1,
        "answer": 29, "refusal": 2, "script_latin": 28,
    }  # fmt: skip
    standard = replace(STANDARD, windows={"a": counted})
    assert standard.windows_with("refusal") == [Counted(2, 29)]
    assert standard.windows_with("left_out") == [Counted(1, 31)]
    assert standard.windows_with("repeats") == [Counted(1, 32)]
    assert standard.windows_with("answer") == [Counted(29, 30)]
