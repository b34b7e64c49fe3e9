"""The page: it says what the report says, loads nothing, and obeys nothing that is in the data."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from auditor.measures.models import TABLE
from auditor.report import write_reports
from auditor.report.html import html
from auditor.report.store import Store
from auditor.report.words import GLOSSARY, QUARANTINE, short_names
from schemas.record import Reason
from schemas.report import WHERE, Example, Report, Row

Slices = Callable[[Row, str], list[dict[str, Any]]]
VOID = {"meta", "input", "img", "br"}


class Page(HTMLParser):
    """Every element with its attributes, the texts, and whether all is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.mark.parametrize(("scenarios", "models"), [(0, 1), (1, 1), (2, 1), (16, 2), (61, 4)])
def test_audits_of_every_size(make_audit: Callable[..., Report], scenarios: int, models: int):
    report = make_audit(max(scenarios, 1), models)
    if scenarios == 0:
        report = report.model_copy(update={"scenarios": []})
    page = Page(html(report))
    assert report.verdict.because in page.text
    for row in report.scenarios:
        assert row.scenario in page.text and row.verdict.because in page.text
    # one mark in the forest for each result under a shift
    marks = [a for t, a in page.elements if t == "path" and str(a.get("class")).startswith("dot m")]
    assert len(marks) >= sum(row.family != "id" for row in report.scenarios)


def test_models_compared_have_their_own_section(make_audit: Callable[..., Report]):
    report = make_audit(16, 2)
    text = html(report)
    page = Page(text)
    (section,) = re.findall(r'<section id="compared">(.*?)</section>', text, re.S)
    said = Page(section).text
    assert "lab-weak is worse than lab-strong" in said and "over 15 scenarios" in said
    assert "1 scenario could not be compared" in said and "nobody labelled it" in said
    assert (
        "Not worse by more than 0.05 nats? no worse than the margin allows" in said and "margin 0.05" in said
    )
    for row in report.tables[TABLE]:
        assert row["scenario"] is None or row["scenario"] in said
    marks = [a for t, a in Page(section).elements if t == "path" and str(a.get("class")).startswith("dot m")]
    assert len(marks) == 1 + 15  # the mean and each scenario that was measured
    assert page.text.count("Why missing") == 1  # and not among the other tables again
    assert "Table 2: EMI and accuracy" in page.text
    assert 'id="compared"' not in html(make_audit(3, 1))


def test_many_models_compared_are_folded(make_audit: Callable[..., Report]):
    report = make_audit(61, 4)
    rows = list(report.tables[TABLE])
    report.tables[TABLE] += [
        {**row, "new": f"more-{i}"} for i in range(5) for row in rows if row["new"] == "lab-weak"
    ]
    (section,) = re.findall(r'<section id="compared">(.*?)</section>', html(report), re.S)
    assert section.count('<details class="card" open>') == 3 and section.count('<details class="card">') == 5
    assert "36 more scenarios" in Page(section).text


@pytest.mark.parametrize("windows", [1, 2, 100])
def test_drift_of_every_length(make_drift: Callable[..., Report], windows: int):
    report = make_drift(windows)
    page = Page(html(report))
    cells = [a for t, a in page.elements if t == "rect" and str(a.get("class")).startswith("cell s-")]
    assert [str(cell["class"]).removeprefix("cell s-") for cell in cells] == [
        row.verdict.status for row in report.windows
    ]
    assert "no references in this window" in page.text


def test_where_the_drift_is_stands_once_beside_what_moved(make_audit: Callable[..., Report]):
    report = make_audit(16, 2)
    text = html(report)
    page = Page(text)
    assert text.count("topic:medical") == 2 * len(report.tables[WHERE]) // 3  # not among the tables again
    section = text[text.index('<section id="where">') :].split("</section>")[0]
    assert text.index('id="moved"') < text.index('id="where"')
    for said in ("63.1%", "−0.2%", "5.0%", "0.0123", "near r7, mostly topic:medical"):
        assert said in section
    first = report.scenarios[2].model
    assert f"Responses of {first}" in page.text
    bars = [a for t, a in page.elements if t == "rect" and a.get("class") == "bar m1" and a.get("x") == "0"]
    assert [bar["width"] for bar in bars[:3]] == ["75.7", "75.7", "0"]


@pytest.mark.parametrize(("scenarios", "opened"), [(3, 3), (5, 1)])
def test_of_many_scenarios_the_first_is_open(
    make_audit: Callable[..., Report], make_slices: Slices, scenarios: int, opened: int
):
    report = make_audit(8, 1)
    lines = [line for row in report.scenarios[1 : scenarios + 1] for line in make_slices(row, "text")]
    text = html(report.model_copy(update={"tables": {WHERE: lines}}))
    section = text[text.index('<section id="where">') :].split("</section>")[0]
    assert section.count("<details") == scenarios and section.count(" open><summary") == opened
    assert 'id="where"' not in html(report.model_copy(update={"tables": {}}))


def test_what_is_missing_is_said_with_its_reason(make_audit: Callable[..., Report]):
    page = Page(html(make_audit(16, 2)))
    for said in (
        "no judge was named",
        "this form needs an entropy, and no log-probabilities were recorded",
        "only d_t. It stands for less than the whole form.",
        QUARANTINE[Reason.IMAGE_CORRUPT],
        "The plug-in bounds are estimates, not guarantees.",
        *(meaning for _, meaning in GLOSSARY),
        "9d3f0c5a1b77e842",
    ):
        assert " ".join(said.split()) in page.text


def test_every_quarantine_reason_has_its_sentence():
    assert set(QUARANTINE) == set(Reason)


HOSTILE = (
    "\"'></script></title></style><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}\u202e\x00"
)


def hostile(report: Report, make_slices: Slices) -> tuple[Report, list[Example]]:
    """Every text of a report replaced by an attack."""

    def rename(row: Row, i: int) -> Row:
        return row.model_copy(
            update={
                "scenario": f"{HOSTILE}{i}",
                "model": HOSTILE,
                "family": HOSTILE,
                "start": HOSTILE,
                "end": HOSTILE,
                "verdict": row.verdict.model_copy(update={"because": HOSTILE}),
                "notes": [HOSTILE],
                "missing": {HOSTILE: HOSTILE},
                "descriptors": {HOSTILE: 1.0},
                "bounds": {
                    HOSTILE: row.bounds["partial"].model_copy(update={"terms": [HOSTILE], "complete": False})
                }
                | row.bounds,
                "divergences": row.divergences | {HOSTILE: row.divergences["text"]},
            }
        )

    run = report.run.model_copy(
        update={
            "run_id": HOSTILE,
            "created": HOSTILE,
            "models": {HOSTILE: HOSTILE},
            "encoders": {HOSTILE: HOSTILE},
            "versions": {HOSTILE: HOSTILE},
            "critic": HOSTILE,
            "config": {HOSTILE: HOSTILE},
        }
    )
    attacked = report.model_copy(
        update={
            "run": run,
            "scenarios": [rename(row, i) for i, row in enumerate(report.scenarios)],
            "windows": [rename(row, i) for i, row in enumerate(report.windows)],
            "tables": {
                HOSTILE: [{HOSTILE: HOSTILE}],
                TABLE: [
                    content
                    | {name: HOSTILE for name in ("new", "current", "because", "reason")}
                    | {"scenario": content["scenario"] and f"{HOSTILE}{i}"}
                    for i, content in enumerate(report.tables.get(TABLE, []))
                ],
                WHERE: [
                    line | dict.fromkeys(("scenario", "model", "modality", "slice", "name"), HOSTILE)
                    for row in (*report.scenarios, *report.windows)
                    for line in make_slices(row, "response")
                ],
            },
            "quarantine": {HOSTILE: 1},
            "notes": [HOSTILE],
            "missing": {HOSTILE: HOSTILE},
        }
    )
    example = Example(
        scenario=HOSTILE,
        record_id=HOSTILE,
        query=HOSTILE,
        reference=HOSTILE,
        responses={HOSTILE: HOSTILE},
        thumbnail=HOSTILE.encode(),
    )
    return attacked, [example]


@pytest.mark.parametrize("kind", ["audit", "drift"])
def test_nothing_in_the_data_becomes_part_of_the_page(
    kind: str,
    make_audit: Callable[..., Report],
    make_drift: Callable[..., Report],
    make_slices: Slices,
):
    clean = make_audit(4, 2) if kind == "audit" else make_drift(4)
    clean.scenarios = clean.scenarios[::2]  # one model: the attack gives all the same name
    report, examples = hostile(clean, make_slices)
    text = html(report, examples)
    page = Page(text)
    assert text.count("<script>") == 1 and text.count("</script>") == 1
    assert "49" not in re.findall(r"\{\{ 7\*7 \}\}|>49<", text)
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        assert tag in {"img", "a"} or not ({"src", "href"} & set(attributes))
    assert all(a["src"].startswith("data:image/png;base64,") for t, a in page.elements if t == "img")  # type: ignore[union-attr]
    assert all(a["href"].startswith("#") for t, a in page.elements if t == "a")  # type: ignore[union-attr]


def test_the_policy_lets_only_the_pages_own_script_and_style_in(make_audit: Callable[..., Report]):
    text = html(make_audit(3, 1))
    policy = next(a["content"] for t, a in Page(text).elements if "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", text, re.S)
        assert inside is not None
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
        assert "@import" not in inside[1] and "url(" not in inside[1] and "http" not in inside[1]


def test_both_reports_come_from_the_store_alone(tmp_path: Path, make_audit: Callable[..., Report]):
    report = make_audit(3, 2)
    example = Example(
        scenario="clean", record_id="r1", query="What is it?", reference="red", thumbnail=b"\x89PNG"
    )
    store = Store(tmp_path)
    store.write_run(report, [example])
    assert write_reports(store, tmp_path / "out") == report
    assert Report.model_validate_json((tmp_path / "out" / "report.json").read_text()) == report
    page = (tmp_path / "out" / "report.html").read_text()
    assert page == html(report, [example]) and "What is it?" in page
    write_reports(store, tmp_path / "out", examples=[])
    assert "What is it?" not in (tmp_path / "out" / "report.html").read_text()


def test_where_the_work_was_done_and_how_long_it_took(make_audit: Callable[..., Report]):
    report = make_audit(1, 1)
    made = {"executor": "serial: too little work for a cluster", "seconds": {"embed <1>": 72.2}}
    page = html(report.model_copy(update={"run": report.run.model_copy(update=made)}))
    assert "serial: too little work for a cluster" in page and "embed &lt;1&gt;: 1 min 12 s" in page
    assert "Time by stage" not in html(report)


def test_names_lose_what_all_begin_with():
    names = ["llava_bench_coco_German", "llava_bench_coco_Greek", "llava_bench_coco_frost_1"]
    assert list(short_names(names).values()) == ["German", "Greek", "frost_1"]
    assert list(short_names(["blur-1", "blur-3", "blur-5"]).values()) == ["blur-1", "blur-3", "blur-5"]
