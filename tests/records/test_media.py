from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from auditor.errors import BadInput, RowError
from auditor.records import MediaPolicy, load_image
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
    with pytest.raises(RowError, match=r"data\.max_image_bytes"):
        load_image(Image(path="a.png"), limit)
    assert reason(Image(path="a.png"), limit) is Reason.IMAGE_TOO_LARGE
    assert reason(Image(data=PNG), limit) is Reason.IMAGE_TOO_LARGE
    assert reason(Image(data=PNG), MediaPolicy(max_pixels=47)) is Reason.IMAGE_TOO_LARGE
    assert load_image(Image(data=PNG), MediaPolicy(max_pixels=48)) == PNG


def test_an_admitted_image_must_be_the_same(root: Path) -> None:
    image = Image(path="a.png", digest=hashlib.sha256(PNG).hexdigest())
    assert load_image(image, MediaPolicy(root=root)) == PNG
    (root / "a.png").write_bytes(encoded(Pillow.new("RGB", (8, 6), "blue")))
    assert reason(image, MediaPolicy(root=root)) is Reason.IMAGE_CHANGED


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
