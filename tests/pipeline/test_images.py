"""Images on their way through a job: decoded once, and quarantined where they do not decode."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from auditor.pipeline.audit import audit
from auditor.pipeline.bars import Bars
from auditor.pipeline.baseline import build
from auditor.pipeline.drift import drift
from schemas.config import AuditConfig, BaselineConfig, DriftConfig

N = 24
ENCODERS = {"image": "lab", "text": {"name": "lab", "layer": 0}}
CRITIC = {"seeds": 1, "steps": 5, "hidden": 8, "batch": 64, "sample_rows": 60}
WORKERS = {"executor": "serial", "cpu": 1}


def noise(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
        out, "JPEG"
    )
    return out.getvalue()


def write(folder: Path, name: str, first: int, spoiled: dict[int, bytes]) -> str:
    """N rows, each with an image of its own; `spoiled` says what lies in the place of some of them."""
    lines = []
    for i in range(first, first + N):
        (folder / f"{i}.jpg").write_bytes(spoiled.get(i, noise(i)))
        row: dict[str, Any] = {"record_id": f"r{i}", "image": f"{i}.jpg", "query": f"what is {i}?"}
        lines.append(json.dumps(row | {"responses": {"m": f"noise {i}"}, "reference": f"noise {i}"}))
    (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return str(folder / f"{name}.jsonl")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """How often the pixels of each file were decoded, by whomever, thumbnails of the report left out."""
    counts: Counter[bytes] = Counter()
    load = ImageFile.ImageFile.load

    def counting(image: ImageFile.ImageFile) -> Any:
        if image.tile and image.fp is not None:
            counts[image.fp.getvalue()] += 1  # type: ignore[union-attr]
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counting)
    monkeypatch.setattr("auditor.report.examples.thumbnail", lambda record, policy: None)
    return counts


@pytest.mark.parametrize(("pool", "times"), [("pool", {1}), ("sample", {1, 2})])
def test_an_audit_of_recorded_answers_decodes_each_image_once(
    tmp_path: Path, decoded: Counter[bytes], pool: str, times: set[int]
) -> None:
    """Where critics are trained on a sample, the images of the sample are embedded a second time."""
    cut = noise(N + 3)[:-40]
    data = {
        "id": write(tmp_path, "id", 0, {}),
        "scenarios": {"q": write(tmp_path, "q", N, {N + 3: cut})},
        "media_root": str(tmp_path),
    }
    config = AuditConfig.model_validate(
        {
            "data": data,
            "encoders": ENCODERS,
            "models": ["m"],
            "critic": {**CRITIC, "train_on": pool},
            "workers": WORKERS,
            "thresholds": {"emid": 0.5},
        }
    )
    report = audit(config, tmp_path / "out", Bars())
    assert decoded.pop(cut) <= 2 * max(times)  # each time once more, to say what is wrong with it
    assert len(decoded) == 2 * N - 1 and set(decoded.values()) <= times
    assert report.quarantine == {"image_truncated": 1}
    rows = {row.scenario: (row.n, row.quarantined) for row in report.scenarios}
    assert rows == {"id": (N, 0), "q": (N - 1, 1)}


def test_images_of_a_window_that_do_not_decode_are_counted_in_it(tmp_path: Path) -> None:
    build(
        BaselineConfig.model_validate(
            {
                "data": {"id": write(tmp_path, "id", 0, {2: noise(2)[:-40]}), "media_root": str(tmp_path)},
                "encoders": ENCODERS,
                "critic": CRITIC,
                "workers": WORKERS,
            }
        ),
        tmp_path / "baseline",
        Bars(),
    )
    report = drift(
        DriftConfig.model_validate(
            {
                "baseline": str(tmp_path / "baseline"),
                "data": {
                    "traffic": write(
                        tmp_path, "t", N, {N + 1: noise(N + 1)[:-40], N + 2: b"", N + 20: bytes(9)}
                    ),
                    "media_root": str(tmp_path),
                },
                "window_rows": 12,
                "workers": WORKERS,
            }
        ),
        tmp_path / "out",
        Bars(),
    )
    assert report.quarantine == {"image_truncated": 1, "image_corrupt": 2}
    assert sum(window.n for window in report.windows) == N - 3
    assert sorted(window.quarantined for window in report.windows) == [1, 2]


def test_a_scenario_without_a_sound_image_says_so(tmp_path: Path) -> None:
    spoiled = {i: noise(i)[:-40] for i in range(N, 2 * N)}
    data = {
        "id": write(tmp_path, "id", 0, {}),
        "scenarios": {"q": write(tmp_path, "q", N, spoiled)},
        "media_root": str(tmp_path),
    }
    config = {"data": data, "encoders": ENCODERS, "models": ["m"], "critic": CRITIC, "workers": WORKERS}
    report = audit(AuditConfig.model_validate(config), tmp_path / "out", Bars())
    assert report.quarantine == {"image_truncated": N}
    assert {row.scenario: row.n for row in report.scenarios} == {"id": N, "q": 0}


def test_a_perturbed_copy_of_an_image_that_does_not_decode_is_quarantined(tmp_path: Path) -> None:
    data = {
        "id": write(tmp_path, "id", 0, {4: noise(4)[:-40]}),
        "scenarios": {"blur": {"shifts": [{"shift": "blur", "severity": 3}]}},
        "media_root": str(tmp_path),
    }
    models = [{"name": "weak", "generator": "transformers", "path": "lab:mllm-weak", "max_new_tokens": 2}]
    config = {"data": data, "encoders": ENCODERS, "models": models, "critic": CRITIC, "workers": WORKERS}
    report = audit(AuditConfig.model_validate(config), tmp_path / "out", Bars())
    assert {row.scenario: row.n for row in report.scenarios} == {"id": N - 1, "blur": N - 1}
    assert report.quarantine["image_truncated"] >= 2
