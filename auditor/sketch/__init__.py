"""The sketch of a set of rows: moments, a row sample, blocks, and the order of merging. Imports nothing
of ours."""

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
