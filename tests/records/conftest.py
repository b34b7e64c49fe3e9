from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines (objects, texts or bytes) to a file."""

    def write(*lines: object) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_bytes(b"".join(_encoded(line) + b"\n" for line in lines))
        return path

    return write


def _encoded(line: object) -> bytes:
    if isinstance(line, bytes):
        return line
    return (line if isinstance(line, str) else json.dumps(line)).encode()
