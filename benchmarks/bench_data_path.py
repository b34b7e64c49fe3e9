"""The data path beside the hardware's limit: each part takes turns with the least that could do its work.

Parts: embeddings (kept vectors against one raw .npy), decode (files to tensors against a bare decoder times
the cores), encoder (EfficientNet-Lite0 as it runs here, as it is loaded, and in ONNX Runtime where that is
installed), drift (images a second of the whole `auditor drift`, beside decoding and encoding alone), admit
(records admitted a second from JSONL and Parquet).

Other work on the machine stretches seconds, so the two that are compared take turns, and the ratio of the
medians is what counts. Run: python benchmarks/bench_data_path.py [--quick] [--only PART ...]
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _shared import cores, machine, now, options
from PIL import Image

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


def photographs(folder: Path, count: int) -> list[Path]:
    """Written JPEGs of 640 x 480: blurred noise with grain, about as large as photographs are (60 kB)."""
    rng, files = np.random.default_rng(0), []
    for i in range(count):
        coarse = np.clip(128 + 8 * rng.normal(size=(30, 40, 3)).cumsum(axis=0).cumsum(axis=1), 0, 255)
        smooth = Image.fromarray(coarse.astype(np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
        grain = np.clip(np.asarray(smooth) + rng.normal(0, 6, size=(480, 640, 3)), 0, 255).astype(np.uint8)
        files.append(folder / f"{i}.jpg")
        Image.fromarray(grain).save(files[-1], "JPEG", quality=90)
    return files


def decoding(quick: bool) -> None:
    """Files to tensors: the stage as workers run it, with its digests and threads, beside a bare decoder."""
    from auditor.encoders.efficientnet import SIZE, _prepare
    from auditor.encoders.images import ImageEncoder
    from auditor.pipeline.workers.embeddings import Contents
    from auditor.records import MediaPolicy
    from auditor.storage.work_units import image_item
    from schemas.record import Image as Named

    class Nothing(torch.nn.Module):
        """An encoder whose network does nothing: what is left is the stage of decoding."""

    with tempfile.TemporaryDirectory() as name:
        files = photographs(Path(name), 32 if quick else 256)
        items = [
            image_item(Named(path=file.name, digest=sha256(file.read_bytes()).hexdigest())) for file in files
        ]
        stage = ImageEncoder(
            Nothing(),
            dim=1,
            size=(SIZE, SIZE),
            prepare=_prepare,
            forward=lambda pixels: pixels[:, 0, :1, 0],
            settings={"name": "nothing"},
            device="cpu",
            threads=1,
            batch=32,
            precision="float32",
        )
        contents = Contents(items, MediaPolicy(root=name))

        def bare(draft: bool) -> None:
            for file in files:
                with Image.open(file) as image:
                    if draft:
                        image.draft(None, (SIZE, SIZE))
                    _prepare(image.convert("RGB"))

        def staged(threads: int) -> None:
            stage._decoders = threads
            stage.encode(contents)  # type: ignore[arg-type]

        found = in_turns(
            {
                "a bare decoder of whole pictures, one thread": lambda: bare(False),
                "a bare decoder at the size needed, one thread": lambda: bare(True),
                "the stage, one thread": lambda: staged(1),
                f"the stage, {cores()} threads": lambda: staged(cores()),
            },
            2 if quick else 7,
        )
    least = found["a bare decoder at the size needed, one thread"]
    print(f"\n## Decoding {len(files)} JPEGs of 640 x 480 to 224 x 224, {cores()} cores\n")
    print("| | images/s | of a bare decoder | of it times the cores |\n|---|---|---|---|")
    for label, seconds in found.items():
        print(
            f"| {label} | {len(files) / seconds:,.0f} | {least / seconds:.0%} | "
            f"{least / seconds / cores():.0%} |",
            flush=True,
        )


def encoder(quick: bool) -> None:
    """EfficientNet-Lite0 on one thread: as loaded, in channels_last, as it runs here in both runtimes, and
    bare ONNX Runtime on the graph that torch exports."""
    from efficientnet_lite_pytorch import EfficientNet

    from auditor.encoders import efficientnet, make_encoder
    from auditor.encoders.pretrained import package_file
    from auditor.errors import MissingPackage

    weights = package_file(efficientnet.PACKAGE, efficientnet.WEIGHTS, efficientnet.SHA256)
    plain = EfficientNet.from_name("efficientnet-lite0")
    plain.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    plain.eval()
    last = EfficientNet.from_name("efficientnet-lite0")
    last.load_state_dict(plain.state_dict())
    last = last.eval().to(memory_format=torch.channels_last)
    ours = make_encoder("efficientnet-lite0", "image")
    count = 4 if quick else 16
    pixels = torch.randn(count, 3, efficientnet.SIZE, efficientnet.SIZE)

    def one_by_one(forward: Callable[[torch.Tensor], object]) -> Callable[[], list[object]]:
        return lambda: [forward(pixels[i : i + 1]) for i in range(count)]

    def features(network: Any, image: torch.Tensor) -> torch.Tensor:
        return network.extract_features(image).mean((2, 3))

    calls: dict[str, Callable[[], list[object]]] = {
        "as loaded": one_by_one(lambda x: features(plain, x)),
        "channels_last": one_by_one(
            lambda x: features(last, x.contiguous(memory_format=torch.channels_last))
        ),
        "as it runs here": one_by_one(ours._forward),  # type: ignore[attr-defined]
    }
    try:
        onnx = make_encoder({"name": "efficientnet-lite0", "runtime": "onnx"}, "image")
        calls["as it runs here, runtime: onnx"] = one_by_one(onnx._forward)  # type: ignore[attr-defined]
    except MissingPackage as error:
        print(f"\nNo line for it: {error}")
    session = _exported(plain, efficientnet.SIZE)
    if session is None:
        print("\nNo line for bare ONNX Runtime: onnxscript, by which torch exports, is not installed.")
    else:
        calls["bare ONNX Runtime, torch's export"] = one_by_one(
            lambda x: session.run(None, {"pixels": x.numpy()})[0]
        )
    with torch.inference_mode():
        truth = np.concatenate([np.asarray(row) for row in calls["as loaded"]()])
        off = {
            label: np.linalg.norm(np.concatenate([np.asarray(row) for row in call()]) - truth, axis=1).max()
            / np.linalg.norm(truth, axis=1).min()
            for label, call in calls.items()
        }
        found = in_turns(calls, 2 if quick else 9)
    print(f"\n## EfficientNet-Lite0, {count} images one at a time, one thread\n")
    print("| | images/s | of the fastest | farthest from as loaded |\n|---|---|---|---|")
    for label, seconds in found.items():
        share = min(found.values()) / seconds
        print(f"| {label} | {count / seconds:.1f} | {share:.0%} | {off[label]:.0e} |", flush=True)


def _exported(network: Any, size: int) -> Any:
    """A session of ONNX Runtime on torch's export of the network; None where that cannot be made."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError:
        return None

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.network.extract_features(pixels).mean((2, 3))

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        example = (torch.zeros(1, 3, size, size),)
        torch.onnx.export(
            Features().eval(), example, str(path), input_names=["pixels"], dynamo=True, external_data=False
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(path.read_bytes(), options, ["CPUExecutionProvider"])


def drift(quick: bool) -> None:
    """The whole of `auditor drift` over photographs, by EfficientNet on the cores there are, beside the rate
    at which the same cores decode and encode and do nothing else."""
    from auditor.encoders import make_encoder
    from auditor.pipeline.bars import Bars
    from auditor.pipeline.baseline import build
    from auditor.pipeline.drift import drift as check
    from schemas.config import BaselineConfig, DriftConfig

    count = 48 if quick else 512
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = photographs(folder, 2 * count)
        for label, chosen in (("id", files[:count]), ("traffic", files[count:])):
            rows = [
                {"record_id": file.stem, "image": file.name, "query": f"what is {file.stem}?"}
                | {"responses": {"m": f"it is {file.stem}"}, "reference": f"that is {file.stem}"}
                for file in chosen
            ]
            (folder / f"{label}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        workers = {"executor": "serial", "cpu": cores()}
        encoders = {"image": "efficientnet-lite0", "text": {"name": "lab", "layer": 0}}
        data = {"media_root": name}
        baseline = {
            "data": data | {"id": str(folder / "id.jsonl")},
            "encoders": encoders,
            "critic": {"seeds": 1, "steps": 50, "hidden": 32, "cross_fit": 0},
            "shards": {"stream": 64},
            "workers": workers,
        }
        build(BaselineConfig.model_validate(baseline), folder / "baseline", Bars())
        config = {
            "baseline": str(folder / "baseline"),
            "data": data | {"traffic": str(folder / "traffic.jsonl")},
            "workers": workers,
        }
        began = now()
        report = check(DriftConfig.model_validate(config), folder / "out", Bars())
        whole = now() - began
        limit_encoder = make_encoder("efficientnet-lite0", "image")
        few = [file.read_bytes() for file in files[count : count + 64]]
        began = now()
        limit_encoder.encode(few)
        limit = (now() - began) / len(few) / (1 if now.cpu else cores())
    step = report.run.seconds.get("embed and profile", float("nan"))
    print(f"\n## `auditor drift`, {count} photographs, {cores()} units of work at a time\n")
    print("| | images/s | of the limit |\n|---|---|---|")
    print(f"| decoding and encoding alone, times the cores | {1 / limit:.1f} | 100% |")
    print(f"| the step that embeds and profiles | {count / step:.1f} | {limit * count / step:.0%} |")
    print(f"| the whole command | {count / whole:.1f} | {limit * count / whole:.0%} |", flush=True)


def admitting(quick: bool) -> None:
    """Records admitted a second, as `gather` does it: read, checked, written to the run directory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from auditor.records import MediaPolicy, RecordWriter, admit, read_many

    rows = 2_000 if quick else 50_000
    pictures = 64 if quick else 1_024
    records = [
        {
            "record_id": f"r{i}",
            "query": f"what is shown here, case {i}? " * 4,
            "reference": f"something or other, {i}. " * 6,
            "responses": {"m": f"an answer of some length, {i}. " * 8},
        }
        for i in range(rows)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = photographs(folder, pictures)
        with_images = [
            {"record_id": f"r{i}", "image": file.name, "query": "what is it?"} for i, file in enumerate(files)
        ]
        for label, chosen in (("texts", records), ("images", with_images)):
            (folder / f"{label}.jsonl").write_text("\n".join(map(json.dumps, chosen)))
        responses = [list(row["responses"].items()) for row in records]  # type: ignore[attr-defined]
        table = pa.Table.from_pylist([{k: v for k, v in row.items() if k != "responses"} for row in records])
        kind = pa.map_(pa.string(), pa.string())
        pq.write_table(table.append_column("responses", pa.array(responses, kind)), folder / "texts.parquet")

        def admitted(source: str, threads: int) -> None:
            policy = MediaPolicy(root=name)
            with ThreadPoolExecutor(threads) as pool, RecordWriter(folder / "out.parquet") as writer:
                for row in admit(read_many(str(folder / source)), policy, executor=pool):
                    writer.write(row)  # type: ignore[arg-type]

        found = in_turns(
            {
                "JSONL, texts": lambda: admitted("texts.jsonl", cores()),
                "Parquet, texts": lambda: admitted("texts.parquet", cores()),
                "JSONL, a JPEG of 60 kB each, 1 thread": lambda: admitted("images.jsonl", 1),
                f"JSONL, a JPEG of 60 kB each, {cores()} threads": lambda: admitted("images.jsonl", cores()),
            },
            1 if quick else 3,
        )
    print("\n## Admitting records in one process\n\n| | records/s | records a day |\n|---|---|---|")
    for label, seconds in found.items():
        rate = (pictures if "JPEG" in label else rows) / seconds
        print(f"| {label} | {rate:,.0f} | {rate * 86_400:.1e} |", flush=True)


PARTS = {
    "embeddings": embeddings,
    "decode": decoding,
    "encoder": encoder,
    "drift": drift,
    "admit": admitting,
}


def main() -> None:
    parser = options(__doc__, parts=PARTS)
    args = parser.parse_args()
    now.cpu = args.cpu
    print(machine())
    for part in args.only:
        PARTS[part](args.quick)


if __name__ == "__main__":
    main()
