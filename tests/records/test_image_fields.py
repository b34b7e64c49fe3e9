"""Images come as paths, addresses, bytes, base64, `data:` addresses and structs, wherever one may stand."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import RowError
from auditor.records import read_records
from auditor.records.coercions import Coercions
from auditor.records.image_fields import images
from schemas.record import Image, Reason

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
TEXT = base64.b64encode(PNG).decode()
SAFE = base64.urlsafe_b64encode(PNG).decode()
LINES = "\n".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76))
URL = f"data:image/png;base64,{TEXT}"


def read(**fields: Any) -> tuple[tuple[Image, ...], Coercions]:
    counts = Coercions()
    return images(fields, counts), counts


FORMS: list[tuple[Any, str]] = [
    (PNG, ""),
    (URL, "data: address"),
    (URL.replace("data:", "DATA:"), "data: address"),
    (f"data:image/png;name=x.png;base64,{SAFE.rstrip('=')}", "data: address"),
    (f"data:;base64,{LINES}", "data: address"),
    (
        f"data:image/png;base64,{TEXT.replace('+', '%2B').replace('/', '%2F').replace('=', '%3D')}",
        "data: address",
    ),
    (f"data:image/png,{quote_from_bytes(PNG)}", "data: address"),
    (f"image/png;base64,{TEXT}", "data: address"),
    (URL.encode(), ""),
    (TEXT, "base64"),
    (SAFE, "base64"),
    (LINES, "base64"),
    (TEXT.rstrip("="), "base64"),
    ({"bytes": PNG, "path": None}, ""),
    ({"bytes": PNG, "path": "x.png"}, ""),
    ({"bytes": TEXT, "path": "x.png"}, ""),
    ({"bytes": None, "path": URL}, "data: address"),
    ({"image_bytes": TEXT}, ""),
    ({"url": URL}, "data: address"),
    ({"type": "image_url", "image_url": {"url": URL}}, "data: address"),
    ({"$binary": {"base64": TEXT, "subType": "00"}}, ""),
]


@pytest.mark.parametrize(("form", "said"), FORMS, ids=lambda value: str(value)[:40])
def test_one_picture_in_every_form_and_place(form: Any, said: str) -> None:
    for fields in ({"image": form}, {"images": [form]}, {"image": [form]}, {"images": form}):
        found, counts = read(**fields)
        assert found == (Image(data=PNG),), fields
        assert any(said in kind for _, kind in counts) if said else True
    assert read(image=form, images=[form])[0] == (Image(data=PNG),)  # often repeated


@pytest.mark.parametrize(
    "form", [PNG, TEXT, SAFE, LINES, URL, URL.encode()], ids=lambda value: str(value)[:40]
)
def test_image_bytes(form: Any) -> None:
    assert read(image_bytes=form, image="x.png")[0] == (Image(data=PNG),)


@pytest.mark.parametrize(
    ("form", "path"),
    [
        ("a/b.png", "a/b.png"),
        ("https://host/data:image.png", "https://host/data:image.png"),
        ("iVBORw0KGgo.png", "iVBORw0KGgo.png"),
        ("/9j/photos/1.jpg", "/9j/photos/1.jpg"),
        ("x" * 64, "x" * 64),
        (7, "7"),
        ({"path": "x.png"}, "x.png"),
        ({"bytes": None, "path": "x.png"}, "x.png"),
        ('{"bytes": null, "path": "x.png"}', "x.png"),
        ('["x.png"]', "x.png"),
        ("[1].png", "[1].png"),
        ("[1]", "[1]"),
    ],
    ids=str,
)
def test_paths(form: Any, path: str) -> None:
    assert read(image=form)[0] == (Image(path=path),)


def test_lists_and_structs_of_lists() -> None:
    several, counts = read(image=["a.png", "b.png"])
    assert several == (Image(path="a.png"), Image(path="b.png"))
    assert counts == {("image", "taken as several images"): 1}
    columns = {"bytes": [PNG, None], "path": ["a.png", "b.png"]}
    assert read(images=columns)[0] == (Image(data=PNG), Image(path="b.png"))
    assert read(image=None, images=None, image_bytes=" ")[0] == ()
    assert read(image={"bytes": None, "path": None})[0] == ()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"image_bytes": "???"}, Reason.IMAGE_CORRUPT),
        ({"image_bytes": b""}, Reason.IMAGE_CORRUPT),
        ({"image_bytes": 7}, Reason.IMAGE_CORRUPT),
        ({"image": "data:image/png;base64"}, Reason.IMAGE_CORRUPT),
        ({"image": "data:image/png;base64,"}, Reason.IMAGE_CORRUPT),
        ({"image": "data:image/png;base64,é"}, Reason.IMAGE_CORRUPT),
        ({"image": {"bytes": [1, 2]}}, Reason.IMAGE_CORRUPT),
        ({"image": [[1]]}, Reason.IMAGE_CORRUPT),
        ({"images": ["a.png", None]}, Reason.IMAGE_MISSING),
        ({"images": [{"height": 3}]}, Reason.IMAGE_MISSING),
    ],
    ids=str,
)
def test_what_cannot_be_read_costs_the_row(fields: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(RowError) as caught:
        read(**fields)
    assert caught.value.reason is reason and caught.value.detail


@given(st.binary(min_size=1, max_size=300), st.sampled_from(["base64", "safe", "percent"]))
def test_data_addresses_come_back(data: bytes, way: str) -> None:
    encoded = {
        "base64": ";base64," + base64.b64encode(data).decode(),
        "safe": ";base64," + base64.urlsafe_b64encode(data).decode().rstrip("="),
        "percent": "," + quote_from_bytes(data),
    }[way]
    assert read(image=f"data:image/x{encoded}")[0] == (Image(data=data),)


def test_structs_and_lists_in_parquet(tmp_path: Path) -> None:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    one = {"bytes": PNG, "path": "x.png"}
    columns = {
        "image": pa.array([one], struct),
        "images": pa.array([[one]], pa.list_(struct)),
        "image_bytes": pa.array([PNG]),
    }
    for name, column in columns.items():
        pq.write_table(pa.table({"record_id": ["a"], name: column}), tmp_path / "a.parquet")
        (row,) = read_records(tmp_path / "a.parquet")
        assert getattr(row, "images", None) == (Image(data=PNG),), name
