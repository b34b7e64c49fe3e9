"""The page of a sweep: a panel a setting, the base marked, and nothing in it but its own."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser

import pytest

from auditor.estimators.sweep import Summary
from auditor.report.plots.sensitivity import Point, common_axis, sensitivity
from auditor.report.sweep import sweep_html

HOSTILE = "\"'></script></title><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}"


def summary(setting: str, value: float, emi: float | None, default: bool = False, seeds: int = 3) -> Summary:
    return Summary(
        setting=setting,
        value=value,
        default=default,
        seeds=seeds,
        log_likelihood=-3.5,
        mi=1.2,
        mi_spread=0.02 if seeds > 1 else 0.0,
        emi=emi,
        emi_spread=None if emi is None else 0.03 if seeds > 1 else 0.0,
        mi_trained=1.9,
        last_variance=None if setting == "hidden" else 0.000123,
        seconds=4.2,
    )


LINES = [
    summary("lr", 0.0005, -0.25),
    summary("lr", 0.001, -0.2, default=True),
    summary("batch", 64, -0.31),
    summary("batch", 1024, -0.2, default=True),
    summary("hidden", 250, -0.2, default=True),
]


def test_a_panel_a_setting_with_the_base_marked() -> None:
    page = sweep_html(LINES, "5 trainings on 200 pairs", {"Seed": "0"})
    assert page.count("<svg") == 3 and page.count("<tr>") == 1 + len(LINES)
    assert page.count('class="dot m1"') == 3 and page.count('class="dot m0"') == 2
    assert page.count('class="whisker') == len(LINES)
    for said in ("EMI by learning rate", "−0.310 to −0.200", "0.110 nats", "5 trainings on 200", "0.00012"):
        assert said in page
    assert "batch size 64\nEMI −0.310 nats ± 0.030 over 3 seeds" in page


def test_one_seed_has_no_whisker_and_without_models_answers_it_is_mi() -> None:
    page = sweep_html([summary("lr", 0.001, None, default=True, seeds=1)], "", {})
    assert 'class="whisker' not in page and "MI by learning rate" in page
    assert "EMI by" not in page and "one seed" in page
    assert "<svg" not in sweep_html([], "", {})


@pytest.mark.parametrize("n", [1, 2, 9])
def test_points_lie_inside_the_drawing(n: int) -> None:
    points = [Point(10.0**i, 0.1 * i, 0.02, 2, i == 0) for i in range(n)]
    drawn = sensitivity(points, common_axis(points), "EMI", "batch size")
    at = [tuple(map(float, m)) for m in re.findall(r"translate\(([\d.]+),([\d.]+)\)", drawn)]
    assert len(at) == n and all(62 < x < 440 and 12 <= y <= 182 for x, y in at)


def test_all_is_escaped_and_the_policy_lets_only_the_pages_own_in() -> None:
    page = sweep_html([summary(HOSTILE, 1, 0.1)], HOSTILE, {HOSTILE: HOSTILE})
    assert page.count("<script>") == page.count("</script>") == 1
    assert "<img" not in page and ">49<" not in page
    names: list[str] = []

    class Attributes(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names.extend(name for name, _ in attrs)

    Attributes().feed(page)
    assert "class" in names
    assert not [name for name in names if name in {"style", "src", "href"} or name.startswith("on")]
    policy = re.search('Content-Security-Policy" content="(.*?)"', page)
    assert policy is not None
    for tag in ("style", "script"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", page, re.S)
        assert inside is not None
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in unescape(policy[1])
