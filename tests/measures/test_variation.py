"""Windows judged one after the other: ranks, evidence, alarms that begin and end, and what they depend on."""

import numpy as np
import pytest

from auditor.measures.variation import ENOUGH_WINDOWS, judged
from auditor.measures.window_means import WindowMeans

D = 20


def windows(rng, count, moved=0.0, n=100):
    """Windows with a text and an image mean, days that differ; the text mean of some moved."""
    found = []
    for i in range(count):
        size = moved[i] if isinstance(moved, list) else moved
        text, image = (0.3 * rng.normal(size=D) + rng.normal(size=D) / np.sqrt(n) for _ in range(2))
        text[0] += size
        found.append(
            WindowMeans(
                {"text.mean": text, "image.mean": image}, dict.fromkeys(("text.mean", "image.mean"), D / n), n
            )
        )
    return found


def run(baseline, current, budget=30.0, **settings):
    named = {f"w{i}": window for i, window in enumerate(current)}
    seed_of = settings.pop("seed_of", lambda name: int(name[1:]))
    return judged(baseline, named, budget=budget, seed_of=seed_of, **settings)


def test_a_step_raises_an_alarm_that_is_dated_and_ends():
    rng = np.random.default_rng(1)
    found = run(windows(rng, 20), windows(rng, 24, [0.0] * 10 + [3.0] * 8 + [0.0] * 6))
    alarms = [name for name, v in found.items() if v.alarm]
    assert alarms[0] in ("w10", "w11", "w12") and set(alarms) >= {f"w{i}" for i in range(12, 18)}
    assert {found[name].since for name in alarms} <= {"w9", "w10"}
    assert not found["w20"].alarm and found["w20"].since is None
    moved = found["w11"]
    assert moved.distance.rank <= 2 and moved.modalities["text"].rank <= 2 < moved.modalities["image"].rank
    assert moved.distance.value > moved.distance.band[1]
    # Windows under alarm are none that later ones are ranked among.
    assert found["w17"].distance.of == found["w13"].distance.of
    assert all(v.baseline_windows == 20 and v.budget == 30 for v in found.values())


def test_with_few_windows_nothing_is_said():
    rng = np.random.default_rng(2)
    assert run(windows(rng, ENOUGH_WINDOWS - 1), windows(rng, 3)) == {}
    small = windows(rng, ENOUGH_WINDOWS - 1) + windows(rng, 5, n=40)
    assert run(small, windows(rng, 3), least_rows=50) == {}
    assert len(run(small, windows(rng, 3), least_rows=40)) == 3


def test_windows_of_few_rows_or_none_are_left_out():
    rng = np.random.default_rng(3)
    baseline, current = windows(rng, 15), windows(rng, 6)
    current[2] = windows(rng, 1, n=20)[0]
    current[4] = WindowMeans(n=80)
    found = run(baseline, current, least_rows=50)
    assert set(found) == {"w0", "w1", "w3", "w5"}
    alone = {f"w{i}": current[i] for i in (0, 1, 3, 5)}
    assert found == judged(baseline, alone, budget=30.0, seed_of=lambda name: int(name[1:]))


def test_later_windows_change_nothing():
    rng = np.random.default_rng(4)
    baseline, current = windows(rng, 12), windows(rng, 30, [0.0] * 15 + [2.0] * 15)
    whole = run(baseline, current)
    for count in (1, 7, 20):
        part = run(baseline, current[:count])
        assert part == {name: whole[name] for name in part}


def test_a_modality_that_few_windows_have_is_left_out():
    rng = np.random.default_rng(5)
    baseline, current = windows(rng, 12), windows(rng, 2)
    for window in (*baseline, current[1]):
        del window.means["image.mean"], window.noise["image.mean"]
    found = run(baseline, current)
    assert set(found["w0"].modalities) == {"text"} == set(found["w1"].modalities)


@pytest.mark.parametrize("day", [0.0, 1.0])
def test_quiet_windows_alarm_no_more_often_than_the_budget(day):
    """Twelve baselines, 120 quiet windows each, a budget of 20: their own days, or none."""
    rng, begins, quiet = np.random.default_rng(6), 0, 0
    for number in range(12):
        every = windows(rng, 132)
        for window in every:
            window.means["text.mean"][:] *= 1 if day else 0.5
        found = list(
            run(
                every[:12], every[12:], 20.0, seed_of=lambda name, k=number: 1000 * k + int(name[1:])
            ).values()
        )
        on = [v.alarm for v in found]
        begins += sum(now and not before for now, before in zip(on, [False, *on], strict=False))
        quiet += len(on) - sum(on)
    print(f"{quiet} quiet windows, {begins} alarms")
    assert quiet / max(begins, 1) >= 20
