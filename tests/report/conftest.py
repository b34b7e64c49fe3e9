"""Reports as a real audit would make them, from a small made-up law; not results of anything."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFilter

from auditor.measures.models import TABLE
from schemas.report import (
    WHERE,
    Bound,
    ComparedRow,
    Correlation,
    Divergence,
    Example,
    Intervals,
    LabelFree,
    Report,
    Row,
    RowCounts,
    Run,
    Status,
    Verdict,
)

MODELS = ("lab-strong", "lab-weak", "llava-v1.5-13b", "llava-v1.6-vicuna-13b")


def divergence(excess: float, rng: random.Random, n: int = 400) -> Divergence:
    excess += rng.gauss(0, 0.002)
    moved = excess > 0.008
    return Divergence(
        value=0.094 + excess,
        excess=excess,
        null_mean=0.094,
        null_std=0.003,
        corrected=max(excess, 0.0) * 1.1,
        interval=(excess - 0.01, excess + 0.012),
        mmd2=excess / 10,
        p_value=0.0005 if moved else rng.uniform(0.05, 1),
        p_adjusted=0.002 if moved else rng.uniform(0.2, 1),
        n_id=400,
        n=n,
        paired=True,
    )


def scenario_row(name: str, model: str, family: str, image: float, text: float, rng: random.Random) -> Row:
    """`image` and `text` say how far the inputs moved."""
    strength = {"lab-strong": 0.0, "lab-weak": 0.16, "llava-v1.5-13b": 0.08}.get(model, 0.03)
    lost = 1.1 * (image + text) * (1 + strength) + rng.gauss(0, 0.012)
    emid = 0.0 if family == "id" else lost
    dv, dt = divergence(image, rng), divergence(text, rng)
    partial = max(dv.excess or 0, 0) ** 0.5 + max(dt.excess or 0, 0) ** 0.5
    deltas = 0.9 + strength + 0.4 * emid
    interval = (emid - 0.035, emid + 0.04)
    status: Status = "fail" if interval[0] > 0.2 else "warn" if emid > 0.2 else "pass"
    why = {
        "fail": "the whole interval is above the threshold",
        "warn": "above the threshold, but the interval reaches below it",
        "pass": "not above the threshold",
    }
    told = f"EMID {emid:.3f} [{interval[0]:.3f}, {interval[1]:.3f}] nats, n=400, threshold 0.2 (config)"
    has_image = family != "text"
    return Row(
        scenario=name,
        model=model,
        family=family,
        n=400,
        rows=RowCounts(used=400, groups=160, effective_n=230.5),
        n_labelled=400,
        n_emi=398,
        mi_model=1.9 - emid,
        mi_reference=2.1,
        emi=-0.1 - strength - emid,
        emi_spread=0.012,
        emid=emid,
        emid_spread=0.008,
        intervals=Intervals(
            emi=(-0.13 - strength - emid, -0.07 - strength - emid),
            emid=interval,
            accuracy=(0.72 - strength - emid, 0.8 - strength - emid),
        ),
        bounds={
            "scaled": Bound(
                value=partial + deltas, terms=["d_v", "d_t", "delta_p", "delta_q"], complete=True
            ),
            "partial": Bound(
                value=partial, terms=["d_v", "d_t"] if has_image else ["d_t"], complete=has_image
            ),
            "theorem_4_5": Bound(value=None, terms=[], complete=False),
        },
        divergences={
            "image": dv,
            "text": dt,
            "joint": divergence(image + text, rng),
            "response": divergence(0.6 * (image + text), rng),
        },
        delta=0.2,
        accuracy=max(0.76 - strength - emid, 0.02),
        descriptors={"query_chars": 41.2 + 80 * text, "response_chars": 18.0, "with_image": 1.0},
        quarantined=2 if family == "natural" else 0,
        verdict=Verdict(status=status, because=f"{told}: {why[status]}"),
        missing={"bounds.theorem_4_5": "this form needs an entropy, and no log-probabilities were recorded"},
        notes=[
            f"The text encoder does not know the language of {name} (2.4 times the characters a token): "
            "its text divergence says less"
        ]
        if "hindi" in name
        else [],
    )


def slices_of(row: Row, modality: str) -> list[dict[str, Any]]:
    """The slices of a row that moved, as `auditor.attribution.slices.table` gives them."""
    kinds = (("tag", "topic:medical"), ("cluster", "near r7, mostly topic:medical"), ("record", "r7"))
    return [
        {
            "scenario": row.scenario,
            "model": row.model if modality == "response" else None,
            "modality": modality,
            "slice": kind,
            "name": name,
            "rows": rows,
            "share_of_rows": rows / 400,
            "share_of_id_rows": None if kind == "tag" else 0.0,
            "share_of_divergence": 0.631 if rows > 1 else -0.002,
            "excess": 0.0123 if rows > 1 else 0.00004,
        }
        for (kind, name), rows in zip(kinds, (20, 20, 1), strict=True)
    ]


def audit(scenarios: int = 16, models: int = 2, seed: int = 0) -> Report:
    rng = random.Random(seed)
    kinds: list[tuple[str, str, float, float]] = [("clean", "id", 0.0, 0.0)]
    visual = [(f"{s}-{k}", "visual", 0.022 * k, 0.0) for s in ("blur", "frost", "noise") for k in (1, 3, 5)]
    texts = [(f"{s}-{k}", "text", 0.0, 0.018 * k) for s in ("keyboard", "synonym") for k in (1, 3)]
    natural = [
        (f"{lang}-{split}", "natural", 0.02 * d, 0.05 + 0.02 * i)
        for i, lang in enumerate(("german", "greek", "arabic", "chinese", "korean", "hindi"))
        for split, d in (("easy", 0), ("normal", 1), ("hard", 2))
    ]
    joint = [(f"{v[0]}+{t[0]}", "joint", v[2], t[3]) for v in visual for t in texts]
    for group in zip(visual, natural, texts, joint, strict=False):
        kinds.extend(group)
    kinds += visual[4:] + natural[4:] + joint[4:]
    rows = [scenario_row(*_args(kind, model), rng) for kind in kinds[:scenarios] for model in MODELS[:models]]
    fails = [row for row in rows if row.verdict.status == "fail"]
    worst = max(rows, key=lambda row: row.emid or 0)
    return Report(
        run=run("audit", models),
        scenarios=rows,
        correlations=[
            Correlation(x="bounds.scaled", y="emid", model=None, kind="pearson", value=0.93, n=len(rows)),
            Correlation(
                x="bounds.scaled", y="emid", model=MODELS[0], kind="pearson", value=0.95, n=scenarios
            ),
            Correlation(x="bounds.partial", y="emid", model=None, kind="pearson", value=0.9, n=len(rows)),
            Correlation(
                x="accuracy", y="emi", model=None, kind="spearman", value=0.91, n=len(rows), ceiling=0.96
            ),
        ],
        tables={
            "Table 2: EMI and accuracy": [{"model": MODELS[0], "spearman": 0.91, "kendall": None, "n": 16}],
            **({TABLE: compared(kinds[:scenarios], models, rng)} if models > 1 else {}),
            WHERE: [line for row in rows[models : 3 * models : models] for line in slices_of(row, "image")]
            + [line for row in rows[models : 2 * models] for line in slices_of(row, "response")],
        },
        quarantine={"image_corrupt": 3, "duplicate_id": 1},
        missing={"win_rate": "no judge was named"},
        verdict=Verdict(
            status="fail" if fails else "pass",
            because=f"{len(fails)} fail, {len(rows) - len(fails)} pass or warn. First: {worst.scenario}: "
            + worst.verdict.because,
        ),
        notes=["The plug-in bounds are estimates, not guarantees."],
    )


def compared(
    kinds: list[tuple[str, str, float, float]], models: int, rng: random.Random
) -> list[dict[str, object]]:
    """Every model against the first; the last scenario, where there are many, was not labelled."""
    rows = []
    for model in MODELS[1:models]:
        common = {"new": model, "current": MODELS[0], "level": 0.9}
        found = []
        for name, _, image, text in kinds[:-1] if len(kinds) > 2 else kinds:
            value = -0.5 * (image + text) + rng.gauss(0, 0.01)
            found.append(
                ComparedRow(scenario=name, n_new=400, n_current=400, **common, **around(value, 0.012))
            )
        mean = ComparedRow(
            scenario=None,
            margin=0.05,
            status="pass",
            because="no worse than the margin allows",
            **common,
            **around(sum(row.value or 0 for row in found) / len(found), 0.006) | {"p_adjusted": None},
        )
        rows += [mean, *found]
        if len(kinds) > 2:
            rows.append(ComparedRow(scenario=kinds[-1][0], blocks=0, reason="nobody labelled it", **common))
    return [row.model_dump() for row in rows]


def around(value: float, std: float) -> dict[str, float | None]:
    p = 0.0005 if abs(value) > 3 * std else 0.4
    return {
        "value": value + 0.001,
        "corrected": value,
        "std": std,
        "low": value - 1.65 * std,
        "high": value + 1.65 * std,
        "p_value": p,
        "p_adjusted": min(1.0, 4 * p),
        "blocks": 200,
    }


def _args(kind: tuple[str, str, float, float], model: str) -> tuple[str, str, str, float, float]:
    name, family, image, text = kind
    return name, model, family, image, text


def drift(windows: int, seed: int = 1) -> Report:
    rng = random.Random(seed)
    rows = [_window(i, windows, rng) for i in range(windows)]
    fails = [row for row in rows if row.verdict.status == "fail"]
    return Report(
        run=run("drift", 1),
        windows=rows,
        verdict=Verdict(
            status="fail" if fails else "pass", because=f"{len(fails)} of {windows} windows fail."
        ),
        notes=["The baseline holds fewer than ten windows: single windows may alarm more often than stated."],
    )


def _window(i: int, of: int, rng: random.Random) -> Row:
    moving = max(0.0, (i - 0.6 * of) / of)
    found = {
        "image": divergence(0.0, rng),
        "text": divergence(0.2 * moving, rng),
        "joint": divergence(0.15 * moving, rng),
        "response": divergence(0.1 * moving, rng),
    }
    few = i == 3
    moved = any((d.p_adjusted or 1) <= 0.01 for d in found.values())
    status: Status = "undecided" if few else "fail" if moved else "pass"
    day = f"2026-{1 + i // 28:02d}-{1 + i % 28:02d}T00:00:00Z"
    return Row(
        scenario=f"window-{i:03d}",
        model=MODELS[0],
        family="window",
        n=31 if few else 700,
        divergences=found,
        bounds={"partial": Bound(value=0.4, terms=["d_v", "d_t"], complete=True)},
        descriptors={"query_chars": 40 + 30 * moving, "with_image": 0.8},
        label_free=LabelFree(voice="identified", estimate=0.1, low=0.02, high=0.2, outside=0.02, overlap=0.9),
        verdict=Verdict(
            status=status, because="text p=0.002 (excess RJSD +0.05); n=700, threshold 0.01 (config)"
        ),
        missing={"emid": "no references in this window"},
        start=day,
        end=day.replace("T00", "T23"),
    )


def run(job: str, models: int) -> Run:
    return Run(
        run_id=f"{job}-20260301-4f2a",
        job=job,
        created="2026-03-01T09:30:00Z",
        seed=0,  # type: ignore[arg-type]
        config_hash="9d3f0c5a1b77e842",
        interval_level=0.9,
        config={"data": {"reader": "lab", "n": 400}, "seed": 0, "models": list(MODELS[:models])},
        versions={"auditor": "0.1.0", "python": "3.11.7", "torch": "2.14.1"},
        encoders={"image": "lab image encoder, 128-d", "text": "lab text encoder, 128-d"},
        models={m: "sha256 1f3b…" for m in MODELS[:models]},
        critic="CLUB, 250 hidden units, tanh, 3 seeds",
        id_scenario="clean",
        thresholds={"emid": 0.2, "p_value": 0.01},
    )


def thumbnail(blur: float, seed: int) -> bytes:
    rng = random.Random(seed)
    image = Image.new("RGB", (128, 128), tuple(rng.randrange(180, 240) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y, r = rng.randrange(10, 90), rng.randrange(10, 90), rng.randrange(14, 30)
        colour = tuple(rng.randrange(30, 230) for _ in range(3))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)((x, y, x + r, y + r), fill=colour)
    out = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(blur)).save(out, "PNG")
    return out.getvalue()


def some_examples(report: Report, each: int = 4) -> list[Example]:
    scenarios = dict.fromkeys(row.scenario for row in report.scenarios)
    models = dict.fromkeys(row.model or "" for row in report.scenarios)
    texts = {
        "arabic": ("ما لون الشكل الكبير؟", "red"),
        "hindi": ("बड़े आकार का रंग क्या है?", "red"),
        "chinese": ("大的形状是什么颜色?", "red"),
    }
    found = []
    for scenario in scenarios:
        for i in range(each):
            query, reference = texts.get(
                scenario.split("-")[0], ("What colour is the large shape on the left?", "red")
            )
            found.append(
                Example(
                    scenario=scenario,
                    record_id=f"scene-{i:05d}",
                    query=query,
                    reference=reference,
                    responses={m: "red" if i % 2 else "a striped blue square on the left" for m in models},
                    thumbnail=None if i == 3 else thumbnail(2.0 * ("blur" in scenario), i),
                )
            )
    return found


@pytest.fixture
def make_audit() -> Callable[..., Report]:
    return audit


@pytest.fixture
def make_drift() -> Callable[..., Report]:
    return drift


@pytest.fixture
def make_slices() -> Callable[[Row, str], list[dict[str, Any]]]:
    return slices_of
