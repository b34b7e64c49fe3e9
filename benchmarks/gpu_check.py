"""What a GPU does for the auditor, in under eight minutes: rates beside bare work, numbers beside the CPU's.

Parts: images (ViT-B/32 in open_clip: files to vectors, beside its bare forward pass and beside decoding
alone), critic (CLUB trained on the GPU and on the CPU), sums (sketch and permutation test, which run on the
CPU by design, beside the same arithmetic on the GPU), neighbours (FAISS on the GPU, where it is installed).
A part that cannot run here says why, and the others go on. Without a GPU everything runs on the CPU: a
rehearsal, and the head of the output says so.

The weights are random, so no hub is needed: where there is no network either, the packages alone have to be
there. Run: python benchmarks/gpu_check.py [--quick]
"""

from __future__ import annotations

import json
import platform
import tempfile
import traceback
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from _shared import cores, options
from _shared import seconds as fastest
from bench_data_path import photographs

SEED = 0


def main() -> None:
    parser = options(__doc__, parts=PARTS)
    parser.add_argument("--model", default="ViT-B-32", help="architecture of open_clip (ViT-B-32)")
    given = parser.parse_args()
    started = perf_counter()
    device = head()
    for name in given.only:
        begun = perf_counter()
        print(f"\n## {name}\n", flush=True)
        try:
            PARTS[name](device, given.quick, given.model)
        except Exception as error:  # a part is a trial: the next one may still run
            print(f"could not run: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            if not isinstance(error, ImportError | Missing):
                traceback.print_exc()
        print(f"\n({perf_counter() - begun:.0f} s)", flush=True)
    print(f"\nin all {perf_counter() - started:.0f} s")


class Missing(Exception):
    """Something that a part needs is not here."""


def head() -> str:
    """Say what machine this is, and return the device."""
    versions = []
    for package in ("torch", "open_clip_torch", "transformers", "faiss-gpu-cu12", "faiss-cpu", "numpy"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} not installed")
    try:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    except ImportError:
        device = "cpu"
    if device == "cuda":
        gpu = torch.cuda.get_device_properties(0)
        print(
            f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, {torch.cuda.device_count()} of them; ", end=""
        )
    else:
        print("NO GPU: a rehearsal on the CPU; ", end="")
    print(f"{cores()} cores; Python {platform.python_version()}, {', '.join(versions)}")
    return device


def seconds(device: str, call: Callable[[], object], repeats: int = 3) -> float:
    """The fastest of some calls after one that does not count, the GPU waited for."""
    import torch

    def waited_for() -> None:
        call()
        if device == "cuda":
            torch.cuda.synchronize()

    waited_for()
    return fastest(waited_for, repeats)


def images(device: str, quick: bool, model: str) -> None:
    """Files to vectors by the program's own encoder, loaded from a directory as a user's would be."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    from auditor.encoders import make_encoder
    from auditor.pipeline.workers.embeddings import Contents
    from auditor.records import MediaPolicy, decode
    from auditor.storage.work_units import image_item
    from schemas.record import Image

    torch.manual_seed(SEED)
    count, copies = (32, 1) if quick or device == "cpu" else (512, 16)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = open_clip.create_model(model, pretrained=None)
        config = {"model_cfg": open_clip.get_model_config(model), "preprocess_cfg": {}}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        save_file(
            {k: v.contiguous() for k, v in network.state_dict().items()},
            folder / "open_clip_model.safetensors",
        )
        encoder: Any = make_encoder(str(folder), "image", device=device, threads=cores())
        pictures = Path(name) / "pictures"
        pictures.mkdir()
        files = photographs(pictures, count) * copies
        digests = {file: sha256(file.read_bytes()).hexdigest() for file in set(files)}
        items = [image_item(Image(path=file.name, digest=digests[file])) for file in files]
        contents = Contents(items, MediaPolicy(root=str(pictures)))
        pixels = torch.zeros(encoder._batch, 3, *encoder._size, device=device)

        def bare() -> None:
            from auditor.encoders.precision import computing

            with torch.inference_mode(), computing(encoder._dtype, device):
                for _ in range(0, len(files), encoder._batch):
                    encoder._forward(pixels)

        forward = len(files) / seconds(device, bare)
        whole = len(files) / seconds(device, lambda: encoder.encode(contents), 1 if device == "cpu" else 3)
        data = [file.read_bytes() for file in files[:count]]
        one = count / seconds(
            device, lambda: [encoder._prepare(decode(d, None, encoder._least)) for d in data]
        )
    limit = min(forward, one * cores())
    print(f"{model}, batches of {encoder._batch}, {json.loads(encoder.identity)['dtype']}\n")
    print("| | images/s | of the limit |\n|---|---|---|")
    print(f"| bare forward pass, pixels there | {forward:,.0f} | |")
    print(f"| decoding and preparing alone, one core | {one:,.0f} | |")
    print(f"| limit: the forward pass, or {cores()} cores that decode | {limit:,.0f} | 100% |")
    print(f"| files to vectors | {whole:,.0f} | {whole / limit:.0%} |")


def critic(device: str, quick: bool, model: str) -> None:
    """CLUB on correlated Gaussians: its time, and its value beside the CPU's."""
    from auditor.estimators import make_critic
    from schemas.config import CriticConfig

    n, d = (2_000, 64) if quick or device == "cpu" else (40_000, 512)
    settings = CriticConfig(early_stopping=True)
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=(n, d)).astype(np.float32)
    y = (0.5 * x + np.sqrt(0.75) * rng.normal(size=(n, d))).astype(np.float32)
    print(f"{n // 2:,} pairs x {d} to train on, as many fresh ones\n")
    print("| | s | CLUB on fresh pairs, nats |\n|---|---|---|")
    for where in dict.fromkeys((device, "cpu")):
        start = perf_counter()
        trained = make_critic(settings, seed=SEED, device=where).fit(x[: n // 2], y[: n // 2])
        took = perf_counter() - start
        print(f"| {where} | {took:.1f} | {trained.estimate(x[n // 2 :], y[n // 2 :]):.4f} |", flush=True)
    print(f"\ntruth: {-d / 2 * np.log(1 - 0.25):.4f}")


def sums(device: str, quick: bool, model: str) -> None:
    """The sketch of rows and the products of a permutation test, by the program and by torch."""
    import torch

    from auditor.significance import drift_test
    from auditor.significance.permutation import permuted_labels
    from auditor.sketch import Sketch

    n, d = (20_000, 256) if quick or device == "cpu" else (400_000, 768)
    rng = np.random.default_rng(SEED)
    rows = rng.normal(size=(n, d)).astype(np.float32)
    there = torch.tensor(rows, device=device)
    own = seconds("cpu", lambda: Sketch.from_rows(rows), 2)
    moved = seconds(device, lambda: torch.tensor(rows, device=device).double().T @ there.double(), 2)
    inside = seconds(device, lambda: there.T @ there, 2)
    moment = (there.T @ there / n).double().cpu().numpy()
    exact = rows.astype(np.float64).T @ rows.astype(np.float64) / n
    print(f"{n:,} rows x {d}\n\n| sketch | rows/s | farthest moment from float64 |\n|---|---|---|")
    print(f"| the program's, CPU | {n / own:,.0f} | |")
    print(f"| {device}, float64, rows brought there | {n / moved:,.0f} | |")
    print(f"| {device}, float32, rows there | {n / inside:,.0f} | {np.abs(moment - exact).max():.1e} |")
    p, q = rows[:3_000].astype(np.float64), rows[3_000:4_000].astype(np.float64)
    whole = seconds("cpu", lambda: drift_test(p, q), 1)
    labels = permuted_labels(300, 100, 2_000, rng)
    gram = rng.normal(size=(400, 400))
    cpu = seconds("cpu", lambda: np.einsum("ij,ij->i", labels @ gram, labels))
    a, g = torch.tensor(labels, device=device), torch.tensor(gram, device=device)
    gpu = seconds(device, lambda: ((a @ g) * a).sum(dim=1))
    apart = np.abs(
        ((a @ g) * a).sum(dim=1).cpu().numpy() - np.einsum("ij,ij->i", labels @ gram, labels)
    ).max()
    print(f"\na drift test of 3,000 and 1,000 rows x {d}: {whole:.2f} s on the CPU; the products of 2,000 ")
    print(f"permutations of 400 blocks: {cpu * 1e3:.1f} ms there, {gpu * 1e3:.1f} ms on {device}, ", end="")
    print(f"{apart:.0e} apart")


def neighbours(device: str, quick: bool, model: str) -> None:
    """Exact search by FAISS on the GPU and on the CPU."""
    try:
        import faiss
    except ImportError:
        raise Missing("FAISS is not installed") from None
    if device == "cuda" and not hasattr(faiss, "StandardGpuResources"):
        raise Missing("this FAISS has no GPU part (faiss-cpu): install faiss-gpu-cu12")
    from auditor.neighbours.index import Index

    n, m, d = (20_000, 500, 128) if quick or device == "cpu" else (1_000_000, 2_000, 512)
    rng = np.random.default_rng(SEED)
    rows, queries = (rng.normal(size=(k, d)).astype(np.float32) for k in (n, m))
    index = Index(rows)
    took = seconds("cpu", lambda: index.search(queries, 10, exact=True), 1)
    flat = faiss.IndexFlatL2(d)
    flat.add(rows)
    few = queries[:100]
    bare = seconds("cpu", lambda: flat.search(few, 10), 1)
    same = np.array_equal(index.search(few, 10, exact=True).ids, flat.search(few, 10)[1])
    print(f"{n:,} rows x {d}, {m:,} queries, k=10: {m / took:,.0f} queries/s by our index, ", end="")
    print(f"{len(few) / bare:,.0f} by FAISS on the CPU; the same neighbours: {'yes' if same else 'NO'}")


PARTS: dict[str, Callable[[str, bool, str], None]] = {
    "images": images,
    "critic": critic,
    "sums": sums,
    "neighbours": neighbours,
}

if __name__ == "__main__":
    main()
