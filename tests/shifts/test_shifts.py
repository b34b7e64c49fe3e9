"""Shifts: strength, repeatability, and what becomes of a record."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.ndimage import convolve

from auditor.errors import BadInput, RowError
from auditor.records import decode
from auditor.registry import Settings
from auditor.shifts import apply_shift, shift, shift_image, shift_text, source_mark
from auditor.shifts.blur import RADII, blur, disk
from auditor.shifts.frost import texture
from auditor.shifts.keyboard import NEIGHBOURS, SHARES, keyboard
from schemas.record import Image, Record, Turn

TEXT = "What is the colour of the two Suitcases in the image, and how many people stand beside them?"


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(pixels.astype(np.uint8)).save(out, format="PNG")
    return out.getvalue()


def scene(height: int, width: int, level: int) -> np.ndarray:
    """A smooth ground with hard-edged squares and a little grain: (h, w, 3), 0 to 255."""
    rng = np.random.default_rng(level)
    pixels = np.full((height, width, 3), float(level)) + np.linspace(0, 40, width)[None, :, None]
    for _ in range(6):
        y, x = rng.integers(0, height - 12), rng.integers(0, width - 12)
        pixels[y : y + 12, x : x + 12] = rng.integers(0, 256, 3)
    return np.clip(pixels + rng.normal(0, 5, pixels.shape), 0, 255)


def record(base: str, **given: object) -> Record:
    return Record(
        record_id=base, base_id=base, images=(Image(data=png(scene(64, 64, 90))),), query=TEXT, **given
    )  # type: ignore[arg-type]


def lost(clean: np.ndarray, shifted: np.ndarray) -> float:
    """The share of the shifted image's variance that no brighter or flatter clean one explains."""
    return 1 - float(np.corrcoef(clean.ravel(), shifted.ravel())[0, 1] ** 2)


def squared_error(clean: np.ndarray, shifted: np.ndarray) -> float:
    return float(((shifted - clean) ** 2).mean())


# Frost by what it hides: its squared error falls between ImageNet-C's severities 3 and 4, where the image
# gets darker under the same frost.
@pytest.mark.parametrize(("name", "distortion"), [("blur", squared_error), ("blur", lost), ("frost", lost)])
@pytest.mark.parametrize(
    ("size", "level"), [((64, 64), 20), ((64, 64), 120), ((64, 64), 190), ((96, 150), 90)]
)
def test_images_are_hurt_more_at_every_severity(
    name: str, distortion: Callable[..., float], size: tuple[int, int], level: int
) -> None:
    data = png(scene(*size, level))
    clean = np.asarray(decode(data), dtype=float)
    hurt = []
    for severity in range(1, 6):
        shifted = decode(shift_image(data, name, severity, np.random.default_rng(4)))
        assert shifted.size == (size[1], size[0])
        hurt.append(distortion(clean, np.asarray(shifted, dtype=float)))
    assert all(a < b for a, b in pairwise(hurt)), hurt


def test_blur_is_a_convolution_with_a_disk() -> None:
    image = scene(224, 224, 60) / 255
    radius = RADII[0]
    y, x = np.mgrid[-3:4, -3:4]
    hard = (x**2 + y**2 <= radius**2) / np.sum(x**2 + y**2 <= radius**2)
    truth = convolve(image, hard[:, :, None], mode="nearest")
    ours = blur(image, 1, np.random.default_rng(0))
    assert np.abs(ours - truth).mean() < 0.01 < np.abs(image - truth).mean()
    exact = convolve(image, disk(radius)[:, :, None], mode="nearest")
    np.testing.assert_allclose(ours, np.clip(exact, 0, 1), atol=1e-12)


@pytest.mark.parametrize("radius", [0.01, 0.4, 0.857, 2.9, 3.0, 10.0])
def test_a_disk_has_its_area_and_its_symmetry(radius: float) -> None:
    kernel = disk(radius)
    assert np.isclose(kernel.sum(), 1) and np.allclose(kernel, kernel.T) and np.allclose(kernel, kernel[::-1])
    if radius >= 0.8:
        # Its fullest pixel is wholly inside, so holds 1 / (pi r^2) of it.
        assert np.isclose(kernel.max(), 1 / (np.pi * radius**2), rtol=0.05)


def test_blur_scales_with_the_image() -> None:
    large, small = (
        scene(224, 224, 60) / 255,
        scene(224, 224, 60).reshape(112, 2, 112, 2, 3).mean((1, 3)) / 255,
    )
    rng = np.random.default_rng(0)
    shrunk = blur(large, 5, rng).reshape(112, 2, 112, 2, 3).mean((1, 3))
    assert np.abs(blur(small, 5, rng) - shrunk).mean() < 0.01


def test_frost_textures_differ_by_seed_and_have_structure() -> None:
    one, again = (texture(64, 80, np.random.default_rng(1)) for _ in range(2))
    other = texture(64, 80, np.random.default_rng(2))
    assert np.array_equal(one, again) and not np.allclose(one, other)
    assert one.shape == (64, 80) and one.min() >= 0 and one.max() <= 1 and 0.3 < one.mean() < 0.7
    assert one.std() > 0.1


def test_typos_are_neighbours_nested_and_of_the_stated_share() -> None:
    before: set[tuple[int, str]] = set()
    for severity in range(1, 6):
        out = keyboard(TEXT, severity, np.random.default_rng(0))
        changed = {(i, b) for i, (a, b) in enumerate(zip(TEXT, out, strict=True)) if a != b}
        assert len(changed) == round(SHARES[severity - 1] * len(TEXT)) and before < changed
        for i, typed in changed:
            assert typed.lower() in NEIGHBOURS[TEXT[i].lower()]
            assert not typed.isalpha() or typed.isupper() == TEXT[i].isupper()
        before = changed


def test_neighbours_touch_on_a_keyboard() -> None:
    assert set(NEIGHBOURS["g"]) == set("ftyhbv") and set(NEIGHBOURS["a"]) == set("qwsz")
    assert all(key in NEIGHBOURS[other] for key, near in NEIGHBOURS.items() for other in near)


@pytest.mark.parametrize("text", ["", "क्या है?", "  ", "a"])
def test_typos_of_odd_texts(text: str) -> None:
    out = shift_text(text, "keyboard", 3, np.random.default_rng(0))
    assert (out != text) == (text == "a") and len(out) == len(text)


def test_records_keep_what_is_theirs() -> None:
    source = record(
        "r1",
        history=(Turn("user", "hello there"),),
        responses={"m": ("red",)},
        reference="blue",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        tags=("a",),
    )
    (joint,) = apply_shift([source], [("blur", 3), ("keyboard", 1)], seed=0)
    assert joint.record_id == "r1~blur-3~keyboard-1" and joint.base_id == "r1"
    assert joint.responses == {} and joint.reference == "blue" and joint.tags == ("a",)
    assert joint.history == source.history and joint.timestamp == source.timestamp
    assert joint.query != TEXT and joint.images[0].digest is None and joint.images[0].path is None
    assert joint.images[0].data is not None and joint.images[0].data.startswith(b"\x89PNG")
    (blurred,) = apply_shift([source], [("blur", 3)], seed=0)
    (typed,) = apply_shift([source], [("keyboard", 1)], seed=0)
    assert joint.images == blurred.images and joint.query == typed.query
    assert blurred.query == TEXT and typed.images == source.images


def test_what_is_drawn_depends_on_seed_and_base_id_only() -> None:
    records = [record(f"r{i}") for i in range(4)]
    shifts = [("frost", 2), ("keyboard", 3)]
    forwards = list(apply_shift(records, shifts, seed=0))
    assert list(apply_shift(records[::-1], shifts, seed=0))[::-1] == forwards
    assert len({r.query for r in forwards}) == 4 and len({r.images for r in forwards}) == 4
    assert list(apply_shift(records, shifts, seed=1)) != forwards


def test_missing_modalities_pass() -> None:
    bare = Record(record_id="x", base_id="x", query=None, images=())
    (out,) = apply_shift([bare], [("blur", 1), ("keyboard", 1)], seed=0)
    assert out.query is None and out.images == ()


@pytest.mark.parametrize("shift", [("fog", 1), ("blur", 0), ("blur", 6), ("keyboard", True)])
def test_refused_before_the_first_record(shift: tuple[str, int]) -> None:
    with pytest.raises(BadInput, match=r"known: blur, frost, keyboard|must be 1 to 5"):
        apply_shift([], [shift], seed=0)


def test_paths_are_not_opened_without_a_policy() -> None:
    row = Record(record_id="x", base_id="x", images=(Image(path="/etc/hostname"),))
    with pytest.raises(RowError):
        list(apply_shift([row], [("blur", 1)], seed=0))


def test_a_new_shift_has_options_of_its_own() -> None:
    class Ending(Settings):
        mark: str = "!"

    @shift("shout", "text", settings=Ending)
    def shout(text: str, severity: int, rng: np.random.Generator, settings: Ending) -> str:
        return text.upper() + severity * settings.mark

    (out,) = apply_shift([record("r1")], [("shout", 2)], seed=0)
    assert out.query == TEXT.upper() + "!!"
    (out,) = apply_shift([record("r1")], [("shout", 1, {"mark": "?"})], seed=0)
    assert out.query == TEXT.upper() + "?"
    with pytest.raises(BadInput, match="shift shout: unknown setting 'marks'; it takes: mark"):
        apply_shift([record("r1")], [("shout", 1, {"marks": "?"})], seed=0)
    with pytest.raises(BadInput, match="shift blur: unknown setting 'radius'; it takes: none"):
        apply_shift([record("r1")], [("blur", 1, {"radius": 3})], seed=0)


def test_the_mark_of_a_shift_follows_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that rows of an older version of somebody's shift are not taken for those of the new one."""
    code = "def louder(text, severity, rng):\n    return text + severity * '!'\n"
    marks = []
    monkeypatch.syspath_prepend(tmp_path)
    for number, text in enumerate((code, code.replace("!", "?"), code)):
        (tmp_path / f"louder_{number}.py").write_text(text)
        module = importlib.import_module(f"louder_{number}")
        shift(f"louder-{number}", "text")(module.louder)
        marks.append(source_mark(f"louder-{number}"))
    assert marks[0] == marks[2] != marks[1]
    assert source_mark("blur") == ""
