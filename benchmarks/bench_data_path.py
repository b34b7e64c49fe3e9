"""The data path beside the hardware's limit: each part takes turns with the least that could do its work.

Parts: embeddings (kept vectors against one raw .npy), decode (files to tensors against a bare decoder times
the cores), encoder (EfficientNet-Lite0 as it runs here, as it is loaded, and in ONNX Runtime where that is
installed), drift (images a second of the whole `auditor drift`, beside decoding and encoding alone), admit
(records admitted a second from JSONL and Parquet).

Other work on the machine stretches seconds, so the two that are compared take turns, and the ratio of the
medians is what counts. Run: python benchmarks/bench_data_path.py [--quick] [--only PART ...]
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from statistics import median

import numpy as np
from _shared import machine, now, options

from auditor.storage.embedding_store import EmbeddingStore, embedding_table
from auditor.storage.row_cache import ARROW

D = 768
SHARD = 4096
"""Rows of a shard of kept embeddings, as `shards.embed` has it by default."""


def in_turns(calls: Mapping[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Median seconds of each call. They take turns, after one turn that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns + 1):
        for name, call in calls.items():
            began = now()
            call()
            if turn:
                times[name].append(now() - began)
    return {name: median(found) for name, found in times.items()}


def embeddings(quick: bool) -> None:
    """Every kept vector by its key, in the order in which they were kept and in another one."""
    rows = 20_000 if quick else 200_000
    rng = np.random.default_rng(0)
    keys = [sha256(str(i).encode()).hexdigest() for i in range(rows)]
    mixed = [keys[i] for i in rng.permutation(rows)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vectors = rng.standard_normal((rows, D), dtype=np.float32)
        np.save(folder / "raw.npy", vectors)
        for first in range(0, rows, SHARD):
            part = slice(first, min(first + SHARD, rows))
            table = embedding_table(keys[part], vectors[part], [None] * len(keys[part]))
            ARROW.write(folder, f"{first:09d}", table)
        store = EmbeddingStore(folder)
        found = in_turns(
            {
                "raw .npy": lambda: np.load(folder / "raw.npy"),
                "kept, in order": lambda: store.rows(keys),
                "kept, in order, the folder opened for it": lambda: EmbeddingStore(folder).rows(keys),
                "kept, mixed": lambda: store.rows(mixed),
            },
            3 if quick else 9,
        )
        size = sum(file.stat().st_size for file in folder.glob("*.arrow"))
    print(f"\n## Kept embeddings: {rows:,} x {D}, {size / rows:,.0f} B a row\n")
    print("| | rows/s | of the raw file |\n|---|---|---|")
    for label, seconds in found.items():
        print(f"| {label} | {rows / seconds:,.0f} | {found['raw .npy'] / seconds:.0%} |", flush=True)


PARTS = {"embeddings": embeddings}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    args = parser.parse_args()
    now.cpu = args.cpu
    print(machine())
    for part in args.only:
        PARTS[part](args.quick)


if __name__ == "__main__":
    main()
