"""Embedded contents, as they are cached: one row a distinct content, in files of Arrow."""

from __future__ import annotations

import pyarrow as pa

EMBEDDINGS_FORMAT = 2
"""Of the files; part of what their folder is named by, so that those of another format are made again. (1 was
Parquet with zstd, which took ten times longer to read.)"""


def embeddings(dim: int) -> pa.Schema:
    """Arrow schema of a shard of embeddings of `dim` numbers.

    `vector` is L2-normalised (float32); `norm` is the length before that; `error` says why a content has
    no vector (then `vector` is null).
    """
    return pa.schema(
        [
            pa.field("key", pa.string(), nullable=False),
            ("vector", pa.list_(pa.float32(), dim)),
            ("norm", pa.float32()),
            ("error", pa.string()),
        ]
    )
