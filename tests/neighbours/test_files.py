"""Files of a search come back as they were, and a damaged one is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auditor.errors import AuditError
from auditor.neighbours.files import Found, read_found, read_ids, read_vectors, write_found, write_vectors
from auditor.neighbours.index import Neighbours


def test_they_come_back(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.npz", np.arange(6, dtype=np.float32).reshape(2, 3)
    write_vectors(path, ["x", "yy"], rows)
    ids, back = read_vectors(path)
    assert ids.tolist() == read_ids(path).tolist() == ["x", "yy"]
    np.testing.assert_array_equal(back, rows)
    near = Neighbours(np.array([[0.5, 1.0]]), np.array([["x", "yy"]]))
    write_found(path, Found(near, np.array([0]), np.array([[0.5, 1.0]])))
    found = read_found(path)
    assert found.neighbours.ids.tolist() == [["x", "yy"]] and found.sample.tolist() == [0]
    assert found.neighbours.distance.tolist() == found.exact.tolist() == [[0.5, 1.0]]


def test_a_damaged_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(AuditError, match=r"a\.npz: not readable.*delete its folder"):
        read_vectors(path)
    write_vectors(path, ["x"], np.zeros((1, 2), np.float32))
    with pytest.raises(AuditError, match=r"a\.npz: not readable"):
        read_found(path)
