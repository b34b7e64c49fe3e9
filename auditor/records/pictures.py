"""Pictures are decoded here, from bytes that may be anything. The formats are listed, sizes are read from the
header before any pixel is decoded, and what fails says how: a format that is not read, a file that ends too
early, or one that is corrupt."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError, features

from auditor.errors import EXTRAS, RowError
from schemas.record import Reason

MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Only these: others of Pillow's formats start programs (EPS), hold pictures larger than their header says
(ICO), are known by no mark (TGA), or have no use here."""
HEIF = "pillow_heif"
_BIT_DEPTHS = (8, 10, 12, 14, 16)
_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE = 258, 281  # tags of TIFF

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_ICONS = {b"\x00\x00\x01\x00": "ICO", b"\x00\x00\x02\x00": "CUR"}
_MARKS = (
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"%PDF", "PDF"),
    (b"8BPS", "PSD"),
    (b"DDS ", "DDS"),
    (b"icns", "ICNS"),
    (b"qoif", "QOI"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"SIMPLE  =", "FITS"),
    (b"\x1aE\xdf\xa3", "WebM or Matroska (a video)"),
    (b"<svg", "SVG"),
    (b"<?xml", "SVG"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
)
_TGA_KINDS, _TGA_DEPTHS = {1, 2, 3, 9, 10, 11}, {8, 15, 16, 24, 32}


def inspect(data: bytes, max_pixels: int = MAX_PIXELS) -> None:
    """Check the header of an image: that its format is read, and its size. No pixel is decoded.

    Raises `RowError`: image_format_not_read, image_too_large, image_truncated, image_corrupt.
    """
    with _opened(data, max_pixels):
        pass


def decode(data: bytes, max_pixels: int | None = MAX_PIXELS, least: int | None = None) -> Pillow.Image:
    """Decode the image to RGB: upright (EXIF), the first frame of an animation, transparency over white, 10
    to 16 bits scaled to 8 (see `rgb`).

    The size is read from the header before any pixel is decoded; `max_pixels` is None for an image that was
    admitted. With `least`, a JPEG that is larger comes out at the smallest half, quarter or eighth that has
    no side below `least`: made while it is decoded, it takes less time.

    Raises `RowError`: image_format_not_read, image_too_large, image_truncated, image_corrupt.
    """
    with _opened(data, max_pixels) as image:
        if least is not None:
            image.draft(None, (least, least))  # other formats than JPEG have no draft and stay as they are
        image.load()
        depth = bit_depth(image)
        return rgb(upright(image), depth)


def allow_pixels(max_pixels: int) -> None:
    """Raise the bound at which Pillow itself refuses an image, where the user's own limit lies above it."""
    if Pillow.MAX_IMAGE_PIXELS is not None and max_pixels > Pillow.MAX_IMAGE_PIXELS:
        Pillow.MAX_IMAGE_PIXELS = max_pixels


def too_many_pixels(size: tuple[int, int], max_pixels: int) -> RowError:
    """Return the error of an image with more pixels than `data.max_image_pixels` allows."""
    width, height = size
    return RowError(
        Reason.IMAGE_TOO_LARGE,
        f"{width} x {height} pixels, at most {max_pixels:,}; raise data.max_image_pixels to read it",
    )


def readable_formats() -> tuple[str, ...]:
    """Return the names, as Pillow knows them, of the formats that are read here."""
    return (*FORMATS, "HEIF") if _reads_heif() else FORMATS


def upright(image: Pillow.Image) -> Pillow.Image:
    """Turn the image itself as its EXIF says, and return it."""
    with suppress(Exception):  # broken EXIF beside sound pixels: take these as they lie
        ImageOps.exif_transpose(image, in_place=True)
    return image


def rgb(image: Pillow.Image, depth: int | None = None) -> Pillow.Image:
    """Convert the image to RGB: transparency lies over white, grey values of `depth` bits (see `bit_depth`)
    are scaled to 8, and values without a fixed range by their own."""
    depth = depth or bit_depth(image)
    if depth is not None:
        image = Pillow.fromarray((np.asarray(image) >> (depth - 8)).astype(np.uint8))
    elif image.mode in ("I", "F"):  # no agreed range: the image's own
        values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
        low, high = float(values.min()), float(values.max())
        image = Pillow.fromarray(((values - low) * (255.0 / ((high - low) or 1.0))).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Pillow.new("RGBA", image.size, "white")
        return Pillow.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def bit_depth(image: Pillow.Image) -> int | None:
    """Return how many of 16 bits the values of a grey picture use; None for other pictures. What its file
    says counts (TIFF), else the fewest of 8, 10, 12, 14 or 16 that hold the largest value: cameras and
    scanners write 10 and 12 bits into 16 without a word."""
    if not (image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")):
        return None
    tags = getattr(image, "tag_v2", {})
    declared = int(np.max(tags.get(_BITS_PER_SAMPLE, 16)))
    if 8 < declared < 16:
        return declared
    largest = max(int(np.asarray(image).max(initial=0)), int(np.max(tags.get(_MAX_SAMPLE_VALUE, 0))))
    return next((depth for depth in _BIT_DEPTHS if largest < 2**depth), 16)


@contextmanager
def _opened(data: bytes, max_pixels: int | None) -> Iterator[Pillow.Image]:
    """Open the image, its size checked; whatever fails in the block is a `RowError`."""
    try:
        with Pillow.open(io.BytesIO(data), formats=readable_formats()) as image:
            width, height = image.size
            if max_pixels is not None and width * height > max_pixels:
                raise too_many_pixels(image.size, max_pixels)
            yield image
    except RowError:
        raise
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):
        raise RowError(
            Reason.IMAGE_TOO_LARGE,
            f"more pixels than at most {max_pixels or MAX_PIXELS:,}; raise data.max_image_pixels to read it",
        ) from None
    except UnidentifiedImageError:
        raise _unidentified(data) from None
    except Exception as error:  # what Pillow's decoders raise on hostile bytes is documented nowhere
        if ends_early(data) or "truncated" in str(error).lower():
            raise RowError(
                Reason.IMAGE_TRUNCATED, f"the file ends before its picture does, after {len(data):,} bytes"
            ) from None
        raise RowError(Reason.IMAGE_CORRUPT, f"cannot be decoded ({type(error).__name__})") from None


def _unidentified(data: bytes) -> RowError:
    """Return why Pillow knows no image in these bytes."""
    name = other_format(data)
    if name == "HEIC" and not _reads_heif():
        return RowError(
            Reason.IMAGE_FORMAT_NOT_READ,
            f"the format HEIC is read with pillow-heif: pip install 'shift-auditor[{EXTRAS[HEIF]}]'",
        )
    if name not in (None, "HEIC"):
        return RowError(
            Reason.IMAGE_FORMAT_NOT_READ, f"the format {name} is not read; convert it to PNG or JPEG"
        )
    if data and ends_early(data):
        return RowError(Reason.IMAGE_TRUNCATED, f"the file ends within its header, after {len(data):,} bytes")
    return RowError(Reason.IMAGE_CORRUPT, "no image is found in its bytes" if data else "the file is empty")


def other_format(data: bytes) -> str | None:
    """Return the name of a format that these bytes begin like and that is not among `FORMATS`; None where
    they begin like none that is known."""
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand in (b"avif", b"avis"):
            return None if features.check("avif") else "AVIF"
        return "HEIC" if brand in _HEIC_BRANDS else "MP4 (a video)"
    if data[4:8] == b"jP  ":
        return None if features.check("jpg_2000") else "JPEG 2000"
    if data[:4] in _ICONS and data[4:6] != b"\x00\x00":  # how many; a TGA has zeros there
        return _ICONS[data[:4]]
    start = data.lstrip()[:16] if data[:64].lstrip()[:1] == b"<" else data[:16]
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    return "TGA" if _like_tga(data) else None


def ends_early(data: bytes) -> bool:
    """Return whether the bytes of a known format stop before its end: the mark that closes it does not come,
    or it says itself that it is longer."""
    if data.startswith(b"\xff\xd8"):
        return data.find(b"\xff\xd9", max(0, data.rfind(b"\xff\xda"))) < 0
    if data.startswith(b"\x89PNG"):
        return b"IEND\xaeB`\x82" not in data
    if data.startswith(b"GIF8"):
        return not data.rstrip(b"\x00").endswith(b";")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data.startswith(b"BM") and len(data) >= 6:
        return int.from_bytes(data[2:6], "little") > len(data)
    if data[4:8] in (b"ftyp", b"jP  "):
        return _boxes_end_early(data)
    return False


def _boxes_end_early(data: bytes) -> bool:
    """Whether a file of boxes (AVIF, HEIC, JPEG 2000: length, name, content) stops within one of them."""
    place = 0
    while place < len(data):
        header = data[place : place + 16]
        if len(header) < 8:
            return True
        length = int.from_bytes(header[:4], "big")
        if length == 0:  # the last box goes on to the end, wherever that is
            return header[4:8] == b"jp2c" and not data.endswith(b"\xff\xd9")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8:
            return False
        place += length
    return place > len(data)


def _like_tga(data: bytes) -> bool:
    """Whether the bytes are a TGA's: newer ones have a mark at their end, older ones have none at all."""
    if data[-18:-2] == b"TRUEVISION-XFILE":
        return True
    return (
        len(data) > 18
        and data[1] in (0, 1)
        and data[2] in _TGA_KINDS
        and data[16] in _TGA_DEPTHS
        and data[17] & 0xC0 == 0
        and 0 not in (int.from_bytes(data[12:14], "little"), int.from_bytes(data[14:16], "little"))
    )


@cache
def _reads_heif() -> bool:
    """Whether pillow-heif is here; then it is made known to Pillow."""
    if importlib.util.find_spec(HEIF) is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
    return True
