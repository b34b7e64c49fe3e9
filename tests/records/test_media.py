from __future__ import annotations

import hashlib
import io
import os
import zlib
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from auditor.errors import BadInput, RowError
from auditor.records import MediaPolicy, decode, load_image
from auditor.records.media import allowed
from schemas.record import Image, Reason


def encoded(image: Pillow.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


PNG = encoded(Pillow.new("RGB", (8, 6), "red"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    (root / "a.png").write_bytes(PNG)
    (root / "sub" / "ünï #1.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    (root / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "in.png").symlink_to(root / "a.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "up").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.png")
    return root


def reason(image: Image, policy: MediaPolicy) -> Reason:
    with pytest.raises(RowError) as caught:
        load_image(image, policy)
    assert caught.value.detail
    return caught.value.reason


def test_paths_under_the_root(root: Path) -> None:
    policy = MediaPolicy(root=root)
    absolute = str(root / "a.png")
    odd = "sub/ünï #1.png"
    for path in (
        "a.png",
        "./a.png",
        odd,
        "in.png",
        absolute,
        f"file://{absolute}",
        f"file://localhost{absolute}",
    ):
        assert load_image(Image(path=path), policy) == PNG
    assert load_image(Image(path=absolute), MediaPolicy(root=f"file://{root}")) == PNG
    assert load_image(Image(path="a.png"), MediaPolicy(root=str(root))) == PNG


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("../secret.png", Reason.IMAGE_OUTSIDE_ROOT),
        ("sub/../../secret.png", Reason.IMAGE_OUTSIDE_ROOT),
        ("sub/../a.png", Reason.IMAGE_OUTSIDE_ROOT),
        ("..\\secret.png", Reason.IMAGE_OUTSIDE_ROOT),
        ("out.png", Reason.IMAGE_OUTSIDE_ROOT),
        ("up/secret.png", Reason.IMAGE_OUTSIDE_ROOT),
        ("/etc/passwd", Reason.IMAGE_OUTSIDE_ROOT),
        ("/nonexistent/x.png", Reason.IMAGE_OUTSIDE_ROOT),
        ("file:///etc/passwd", Reason.IMAGE_OUTSIDE_ROOT),
        ("file:///%2e%2e/etc/passwd", Reason.IMAGE_OUTSIDE_ROOT),
        ("file://elsewhere/a.png", Reason.IMAGE_OUTSIDE_ROOT),
        ("missing.png", Reason.IMAGE_MISSING),
        ("loop.png", Reason.IMAGE_MISSING),
        ("sub", Reason.IMAGE_MISSING),
        ("pipe.png", Reason.IMAGE_MISSING),
        ("a\x00.png", Reason.IMAGE_MISSING),
        ("x" * 5000, Reason.IMAGE_MISSING),
        ("\ud800.png", Reason.IMAGE_MISSING),
        ("a.png/b.png", Reason.IMAGE_MISSING),
        ("http://example.org/a.png", Reason.URL_NOT_ALLOWED),
        ("s3://bucket/a.png", Reason.URL_NOT_ALLOWED),
        ("local:///etc/passwd", Reason.URL_NOT_ALLOWED),
        ("simplecache::file:///etc/passwd", Reason.URL_NOT_ALLOWED),
        ("data:image/png;base64,AAAA", Reason.URL_NOT_ALLOWED),
        ("http://[", Reason.URL_NOT_ALLOWED),
        ("file://[", Reason.IMAGE_OUTSIDE_ROOT),
    ],
)
def test_paths_that_are_refused(root: Path, path: str, expected: Reason) -> None:
    assert reason(Image(path=path), MediaPolicy(root=root)) is expected


def test_no_root(root: Path) -> None:
    with pytest.raises(RowError, match=r"data\.media_root") as caught:
        load_image(Image(path=str(root / "a.png")), MediaPolicy())
    assert caught.value.reason is Reason.IMAGE_OUTSIDE_ROOT
    assert load_image(Image(data=PNG), MediaPolicy()) == PNG
    with pytest.raises(BadInput, match="media_root"):
        MediaPolicy(root=root / "nowhere")


@settings(max_examples=200, deadline=None)
@given(path=st.text() | st.text(alphabet="./\\%:ae2f#?@[]"))
def test_no_path_raises_anything_else_or_leaves_the_root(path: str) -> None:
    for policy in (MediaPolicy(), MediaPolicy(root=Path(__file__).parent, url_allow=("a", "file://a/"))):
        with pytest.raises(RowError):
            load_image(Image(path=path), policy)


def test_sizes(root: Path) -> None:
    limit = MediaPolicy(root=root, max_bytes=len(PNG) - 1)
    assert reason(Image(path="a.png"), limit) is Reason.IMAGE_TOO_LARGE
    assert reason(Image(data=PNG), limit) is Reason.IMAGE_TOO_LARGE
    assert reason(Image(data=PNG), MediaPolicy(max_pixels=47)) is Reason.IMAGE_TOO_LARGE
    assert load_image(Image(data=PNG), MediaPolicy(max_pixels=48)) == PNG


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


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", PNG[:40], JPEG[:-300], b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", PNG[:8] * 9],
)
def test_what_does_not_decode(data: bytes) -> None:
    assert reason(Image(data=data), MediaPolicy()) is Reason.IMAGE_CORRUPT


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, len(JPEG) - 1), byte=st.integers(0, 255), source=st.sampled_from([PNG, JPEG]))
def test_damaged_images_decode_or_are_quarantined(place: int, byte: int, source: bytes) -> None:
    data = bytearray(source)
    data[place % len(data)] = byte
    try:
        assert decode(bytes(data)).mode == "RGB"
    except RowError as error:
        assert error.reason in (Reason.IMAGE_CORRUPT, Reason.IMAGE_TOO_LARGE)


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


def test_an_admitted_image_must_be_the_same(root: Path) -> None:
    image = Image(path="a.png", digest=hashlib.sha256(PNG).hexdigest())
    assert load_image(image, MediaPolicy(root=root)) == PNG
    (root / "a.png").write_bytes(JPEG)
    assert reason(image, MediaPolicy(root=root)) is Reason.IMAGE_CORRUPT


@pytest.mark.parametrize(
    ("url", "entry", "expected"),
    [
        ("https://a.org/x.png", "a.org", True),
        ("https://A.org/x.png", "a.org", True),
        ("https://a.org/x.png?sig=%2Fabc", "https://a.org/", True),
        ("https://a.org/pub/x.png", "https://a.org/pub", True),
        ("https://a.org/public/x.png", "https://a.org/pub", False),
        ("https://a.org/pub/../x.png", "https://a.org/pub", False),
        ("https://a.org/pub/%2e%2E/x.png", "https://a.org/pub", False),
        ("https://a.org/pub%5C..%5Cx.png", "https://a.org/", False),
        ("https://a.org.evil.net/x.png", "a.org", False),
        ("https://a.org@evil.net/x.png", "a.org", False),
        ("https://evil@a.org/x.png", "a.org", False),
        ("https://a.org:8080/x.png", "a.org", False),
        ("https://a.org\\@evil.net/x.png", "a.org", False),
        ("http://a.org/x.png", "https://a.org/", False),
        ("local://a.org/x.png", "a.org", False),
        ("s3://bucket/in/x.png", "s3://bucket/in/", True),
        ("s3://bucket2/in/x.png", "s3://bucket/in/", False),
        ("simplecache::https://a.org/x.png", "a.org", False),
        ("https://a.org/x y.png", "a.org", False),
        ("https:///x.png", "https://", False),
    ],
)
def test_the_allow_list(url: str, entry: str, expected: bool) -> None:
    assert allowed(url, (entry,)) is expected


def test_a_root_elsewhere() -> None:
    fsspec.filesystem("memory").pipe_file("/bucket/images/a.png", PNG)
    fsspec.filesystem("memory").pipe_file("/bucket/b.png", PNG)
    policy = MediaPolicy(root="memory://bucket/images")
    assert load_image(Image(path="a.png"), policy) == PNG
    assert load_image(Image(path="memory://bucket/images/a.png"), policy) == PNG
    assert reason(Image(path="gone.png"), policy) is Reason.IMAGE_MISSING
    for path in ("../b.png", "/bucket/b.png", "memory::a.png"):
        assert reason(Image(path=path), policy) is Reason.IMAGE_OUTSIDE_ROOT
    assert reason(Image(path="memory://bucket/b.png"), policy) is Reason.URL_NOT_ALLOWED
    assert reason(Image(path="a.png"), MediaPolicy(root=policy.root, max_bytes=9)) is Reason.IMAGE_TOO_LARGE
