"""What came and what is missing, put together for a report."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from auditor.measures.assessment import Assessment, nothing
from auditor.measures.census import Rules, Standard
from auditor.measures.contents import contents
from auditor.profiles.profile import GroupKey, Profile
from auditor.records import FileRows, Quarantine
from auditor.report.census import of_scenarios, of_windows
from auditor.scenarios import Scenario
from auditor.scenarios.reading import Reading
from auditor.scenarios.windows import Clock, Window
from schemas.record import Quarantined, Reason
from schemas.report import Measures
from tests.measures.conftest import profiled, rows

N = 40
FACTS = {"n": N, "answered": N, "with_image": N, "with_query": N, "with_reference": N, "refused": 0}
RULES = Rules(0.01, 0.2, 10)
CLOCK = Clock(timedelta(days=1))
DAYS = [CLOCK.window(datetime(2026, 4, 1 + i, tzinfo=UTC)) for i in range(4)]


def profile(seed: int, **facts: int) -> Profile:
    return replace(profiled(rows(N, seed)), facts={**FACTS, **facts})


def assessed(of: Profile) -> Assessment:
    return Assessment(measures=Measures(n=of.n), contents=contents(of), conditional=[], set_aside=[])


def scenario(name: str, *files: FileRows) -> Scenario:
    return Scenario(name, "window", Path(f"{name}.parquet"), N, 0, reading=Reading(name, files=files))


def watched(
    profiles: list[Profile], set_aside: dict[Window | None, list[Quarantined]] | None = None
) -> dict[str, list[str]]:
    base = profile(100)
    found, feed = of_windows(
        scenario("traffic", FileRows("empty", 0)),
        DAYS[: len(profiles)],
        set_aside or {},
        {w.name: assessed(p) for w, p in zip(DAYS, profiles, strict=False) if p.n},
        Standard.of("the baseline", base),
        base,
        RULES,
        CLOCK,
    )
    assert [finding.because for finding in feed] == ["empty holds no rows"]
    return {w.name[:10]: [f.because for f in counts.findings] for w, counts in found.items()}


def test_days_are_held_against_the_baseline() -> None:
    days = [profile(1), profile(2), profile(3, answered=0), profile(4)]
    said = watched(days)
    assert [bool(found) for found in said.values()] == [False, False, True, False]
    assert said["2026-04-03"] == ["On 2026-04-03 none of 40 rows has an answer; 100% in the baseline"]


def test_a_day_of_which_nothing_could_be_read_is_there() -> None:
    lost = [Quarantined("f", i, Reason.UNREADABLE_LINE) for i in range(7)]
    said = watched([profile(1), Profile(), profile(3)], {DAYS[1]: lost, None: lost})
    assert said["2026-04-02"] == ["On 2026-04-02 nothing was usable: 7 rows came (unreadable_line 7)"]
    assert said["2026-04-01"] == said["2026-04-03"] == []


def test_correct_answers_are_missed_where_the_middle_day_has_them() -> None:
    bare = {"with_reference": 0}
    assert watched([profile(1), profile(2), profile(3, **bare)])["2026-04-03"]
    assert not any(watched([profile(1, **bare), profile(2, **bare), profile(3)]).values())


def test_scenarios_are_held_against_the_in_distribution_records() -> None:
    """A loss of these is said of the whole, and fails nothing: they are not what is judged."""
    named = [scenario("id", FileRows("id.jsonl", 60, {"image_missing": 20})), scenario("far")]
    profiles = {GroupKey("id", "m"): profile(1), GroupKey("far", "m"): profile(2, with_image=10)}
    aside = Quarantine(Quarantined("f", i, Reason.IMAGE_MISSING, scenario="id") for i in range(20))
    assessments = {key: assessed(p) for key, p in profiles.items()}
    found, feed = of_scenarios(named, profiles, assessments, aside, RULES)
    (said,) = found[GroupKey("far", "m")].findings
    assert said.because.startswith("In far 10 of 40 rows (25%) have an image; 100% in the in-distribution")
    assert found[GroupKey("id", "m")].census.left_out == {"image_missing": 20}
    assert [(f.where, f.status) for f in feed] == [("id", "warn"), ("id.jsonl", "warn")]
    nobody = {key: nothing(Profile(), ()) for key in profiles}
    assert (
        of_scenarios(named, {k: Profile() for k in profiles}, nobody, Quarantine(), RULES)[0].keys()
        == profiles.keys()
    )
