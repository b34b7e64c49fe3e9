"""The same 200 conversations in ten formats are the same records, and have the same profile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import auditor
from auditor.records import MediaPolicy, admit
from schemas.record import Image, Record
from tests.records.formats.writers import WRITERS, talks

N = 200
OTHERS = [name for name in WRITERS if name != "records"]
NAMES = {"otel_uploads": "otel", "hf_parquet": "records"}
"""The format that is told, where it has another name."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats")


@pytest.fixture(scope="module")
def sources(folder: Path) -> dict[str, str]:
    all_ = talks(N)
    (folder / "media").mkdir()
    return {name: write(all_, folder) for name, write in WRITERS.items()}


def admitted(source: str, media: Path) -> tuple[dict[str, Record], set[str]]:
    """The records by id, each image by its digest alone; and the formats of the files."""
    rows = auditor.read(source, media_root=media).rows()
    found = list(admit(rows, MediaPolicy(media)))
    assert all(isinstance(row, Record) for row in found), [
        row for row in found if not isinstance(row, Record)
    ][:2]
    plain = [
        replace(row, images=tuple(Image(digest=image.digest) for image in row.images))
        for row in found
        if isinstance(row, Record)
    ]
    assert len({row.record_id for row in plain}) == len(plain)
    return {row.record_id: row for row in plain}, set(rows.progress.formats.values())


@pytest.mark.parametrize("name", OTHERS)
def test_the_records_are_equal(name: str, sources: dict[str, str], folder: Path) -> None:
    expected, _ = admitted(sources["records"], folder / "media")
    found, formats = admitted(sources[name], folder / "media")
    assert formats == {NAMES.get(name, name)}
    assert len(found) == len(expected) == N
    for record_id, record in expected.items():
        assert found[record_id] == record
    assert sum(len(record.images) > 1 for record in found.values()) > 20
    assert sum(len(record.history) > 1 for record in found.values()) > 20


def test_the_profiles_are_equal_to_the_bit(sources: dict[str, str], folder: Path) -> None:
    baseline = auditor.build_baseline(
        sources["records"],
        encoders={"image": "lab", "text": "lab"},
        critic={"seeds": 1, "steps": 20, "hidden": 8, "batch": 32, "cross_fit": 2},
        media_root=folder / "media",
        out=folder / "baseline",
        progress=False,
    )
    kept: dict[str, dict[str, bytes]] = {}
    for name, source in sources.items():
        profile = auditor.profile(
            source, baseline=baseline, media_root=folder / "media", out=folder / name, progress=False
        )
        assert profile.n == N
        profile.save(folder / f"{name}.npz")
        with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
            kept[name] = {key: arrays[key].tobytes() for key in arrays.files}
    for name in OTHERS:
        assert kept[name].keys() == kept["records"].keys()
        differing = [key for key, value in kept[name].items() if value != kept["records"][key]]
        assert not differing, (name, differing)
