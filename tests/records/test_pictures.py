"""Pictures: which formats are read, how what fails is told apart, and what becomes of their values."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from auditor.errors import RowError
from auditor.records.pictures import allow_pixels, decode, inspect
from schemas.record import Reason


def encoded(image: Pillow.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def failure(data: bytes) -> RowError:
    with pytest.raises(RowError) as caught:
        decode(data)
    return caught.value


PNG = encoded(Pillow.new("RGB", (8, 6), "red"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(20_000, 20_000), (10_000, 10_000), (8_000, 8_000)])
def test_bombs_are_refused_from_their_header(size: tuple[int, int]) -> None:
    from_header = encoded(Pillow.new("1", (1, 1))).replace(
        b"\x00\x00\x00\x01\x00\x00\x00\x01", size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big"), 1
    )
    fixed = _with_checksum(from_header)
    with pytest.raises(RowError) as caught:
        decode(fixed)
    assert caught.value.reason is Reason.IMAGE_TOO_LARGE


def _with_checksum(png: bytes) -> bytes:
    return png[:29] + zlib.crc32(png[12:29]).to_bytes(4, "big") + png[33:]


JPEG = encoded(Pillow.effect_noise((64, 64), 80).convert("RGB"), "JPEG")


@pytest.mark.parametrize("data", [b"", b"hello", PNG[:8] * 9 + PNG[-12:], b"\xff\xd8\xff" + JPEG[-200:]])
def test_what_is_no_picture_is_corrupt(data: bytes) -> None:
    assert failure(data).reason is Reason.IMAGE_CORRUPT


NOISE = Pillow.effect_noise((64, 48), 80).convert("RGB")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "JPEG2000"])
def test_every_format_is_read_and_told_from_one_that_ends_early(kind: str) -> None:
    data = encoded(NOISE, kind)
    assert decode(data).size == (64, 48) and decode(data).mode == "RGB"
    assert failure(data[: len(data) // 2]).reason is Reason.IMAGE_TRUNCATED
    assert failure(data[:20]).reason is Reason.IMAGE_TRUNCATED


def test_damage_inside_a_whole_file_is_no_early_end() -> None:
    damaged = bytearray(encoded(NOISE))
    damaged[200:260] = bytes(60)
    assert failure(bytes(damaged)).reason is Reason.IMAGE_CORRUPT


def icon() -> bytes:
    return encoded(Pillow.new("RGB", (16, 16), "red"), "ICO")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS"),
        (icon(), "ICO"),
        (encoded(NOISE, "TGA"), "TGA"),
        (encoded(NOISE, "DDS"), "DDS"),
        (b"  <?xml version='1.0'?><svg/>", "SVG"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", r"MP4 \(a video\)"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
    ],
)
def test_a_format_that_is_not_read_is_named(data: bytes, name: str) -> None:
    told = failure(data)
    assert told.reason is Reason.IMAGE_FORMAT_NOT_READ
    with pytest.raises(RowError, match=f"the format {name} is not read"):
        inspect(data)


def test_heic_is_read_by_pillow_heif() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    pillow_heif.from_pillow(NOISE).save(out, quality=90)
    data = out.getvalue()
    assert decode(data).size == (64, 48)
    assert abs(float(np.mean(decode(data))) - float(np.mean(NOISE))) < 3
    assert failure(data[: len(data) // 2]).reason is Reason.IMAGE_TRUNCATED


def test_heic_without_pillow_heif_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditor.records.pictures._reads_heif", lambda: False)
    told = failure(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
    assert told.reason is Reason.IMAGE_FORMAT_NOT_READ and "shift-auditor[heif]" in told.detail


def test_inspecting_decodes_no_pixel() -> None:
    cut = JPEG[:-300]
    inspect(cut)
    assert failure(cut).reason is Reason.IMAGE_TRUNCATED
    with pytest.raises(RowError, match=r"8 x 6 pixels, at most 47; raise data\.max_image_pixels"):
        inspect(PNG, max_pixels=47)


def test_a_limit_above_pillows_own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 10)
    assert failure(PNG).reason is Reason.IMAGE_TOO_LARGE
    allow_pixels(48)
    assert decode(PNG, 48).size == (8, 6)


def test_a_jpeg_that_is_needed_small_is_decoded_small() -> None:
    large = encoded(Pillow.linear_gradient("L").resize((640, 480)).convert("RGB"), "JPEG", quality=95)
    assert decode(large, least=224).size == (320, 240)
    assert decode(large, least=60).size == (80, 60)
    assert decode(large, least=241).size == decode(large).size == (640, 480)
    whole = np.asarray(decode(large).resize((80, 60)), dtype=float)
    assert np.abs(np.asarray(decode(large, least=60), dtype=float) - whole).max() < 6
    png = encoded(Pillow.new("RGB", (640, 480), "red"))
    assert decode(png, least=60).size == (640, 480)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_grey_of_any_depth_has_the_same_brightness(kind: str, bits: int) -> None:
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    deep = encoded(Pillow.fromarray(levels << (bits - 8)), kind)
    assert np.array_equal(np.asarray(decode(deep))[:, :, 0], levels)


def test_a_depth_that_the_file_states_counts_before_its_values() -> None:
    dark = Pillow.fromarray(np.full((4, 4), 1000, np.uint16))
    assert np.asarray(decode(encoded(dark)))[0, 0, 0] == 1000 >> 2  # nothing is said: 10 bits hold it
    assert np.asarray(decode(encoded(dark, "TIFF", tiffinfo={281: 4095})))[0, 0, 0] == 1000 >> 4


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, len(JPEG) - 1), byte=st.integers(0, 255), source=st.sampled_from([PNG, JPEG]))
def test_damaged_images_decode_or_are_quarantined(place: int, byte: int, source: bytes) -> None:
    data = bytearray(source)
    data[place % len(data)] = byte
    try:
        assert decode(bytes(data)).mode == "RGB"
    except RowError as error:
        assert error.reason.value.startswith("image_")


def corner(data: bytes) -> tuple[int, ...]:
    return tuple(int(c) for c in np.asarray(decode(data))[0, 0])


def test_modes_become_rgb() -> None:
    assert corner(encoded(Pillow.new("RGBA", (2, 2), (0, 0, 0, 0)))) == (255, 255, 255)
    assert corner(encoded(Pillow.new("RGBA", (2, 2), (255, 0, 0, 255)))) == (255, 0, 0)
    assert corner(encoded(Pillow.new("LA", (2, 2), (0, 0)))) == (255, 255, 255)
    assert corner(encoded(Pillow.new("P", (2, 2), 0), transparency=0)) == (255, 255, 255)
    assert corner(encoded(Pillow.new("RGB", (2, 2), (9, 9, 9)), transparency=(9, 9, 9))) == (255, 255, 255)
    assert corner(encoded(Pillow.new("1", (2, 2), 1), transparency=1)) == (255, 255, 255)
    assert corner(encoded(Pillow.fromarray(np.full((2, 2), 0x8000, np.uint16)))) == (128, 128, 128)
    floats = np.array([[5.0, np.nan], [-5.0, 0.0]], np.float32)
    assert np.asarray(decode(encoded(Pillow.fromarray(floats), "TIFF")))[:, 0, 0].tolist() == [255, 0]
    cmyk = encoded(Pillow.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(np.subtract(corner(cmyk), (200, 30, 30))).max() < 12


def test_orientation_and_animation() -> None:
    pixels = Pillow.new("RGB", (4, 2), "black")
    exif = Pillow.Exif()
    exif[0x0112] = 6
    assert decode(encoded(pixels, "JPEG", exif=exif)).size == (2, 4)
    frames = [Pillow.new("RGB", (4, 4), c) for c in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=20)
        assert np.abs(np.subtract(corner(data), (255, 0, 0))).max() < 10
