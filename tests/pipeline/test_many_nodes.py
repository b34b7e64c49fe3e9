"""An audit on nodes that do not share everything: with images that only the driver sees it is the audit of
one machine; with a run directory that only one node sees it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.test_audit import numbers


def write_records(folder: Path) -> None:
    """Sixty records and their brighter copies, with images under `folder`."""
    (folder / "media").mkdir()
    rng = np.random.default_rng(0)
    for name, factor in (("id", 1.0), ("bright", 1.6)):
        lines = []
        for i in range(60):
            pixels = np.clip(rng.integers(0, 160, (16, 16, 3)) * factor, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "media" / f"{name}-{i}.png")
            query, said = f"what is in picture {i}?", f"noise number {i % 7}"
            row = {"record_id": f"{name}-{i}", "image": f"{name}-{i}.png", "query": query}
            lines.append(json.dumps(row | {"responses": {"m": said}, "reference": said}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    (folder / "audit.yaml").write_text(
        "data: {id: id.jsonl, scenarios: {bright: bright.jsonl}, media_root: media}\n"
        "encoders: {image: lab, text: lab}\nmodels: [m]\n"
        "critic: {hidden: 8, steps: 5, seeds: 1}\nshards: {embed: 8, stream: 20}\n"
    )


def test_what_nodes_do_not_share(
    node_apart: Callable[[Path], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., int],
) -> None:
    private = tmp_path / "private"
    private.mkdir()
    write_records(private)
    command = ("audit", "-c", private / "audit.yaml")
    assert run(monkeypatch, *command, "-o", tmp_path / "alone") == 0
    with node_apart(private) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert run(monkeypatch, *command, "-o", private / "out") == 2
        said = capsys.readouterr().err
        assert f"does not write into {private / 'out' / 'run'}" in said and "every node mounts" in said
        assert run(monkeypatch, *command, "-o", tmp_path / "shared") == 0
    assert numbers(tmp_path / "shared") == numbers(tmp_path / "alone")
    assert numbers(tmp_path / "shared")["quarantine"] == {}
    log = (tmp_path / "shared" / "run" / "log.jsonl").read_text()
    assert "sent inside their shards" in log
