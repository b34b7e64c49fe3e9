"""The summary of a set of rows that can be merged: its moments, a sample of its rows, its blocks, and the
order of merging. May import the rooms up to `records`."""

from auditor.sketch.moments import CHUNK_ROWS, Float, Floats, Sketch, as_rows
from auditor.sketch.row_sample import RowSample

__all__ = [
    "CHUNK_ROWS",
    "Float",
    "Floats",
    "RowSample",
    "Sketch",
    "as_rows",
]
