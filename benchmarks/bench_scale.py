"""A million records (or ten) x 768-d: sketch, EMI, bound and partition; neighbours; what a day would need.

Embeddings are made a block at a time from (seed, block), are never all in memory, and their making is not
counted. The first half of the records is P, the other a shifted Q. Sketches, CLUB sums and row sample are
those of the audit (`sketch_rows`), in its shards of 4,096 rows.

*Outside BLAS*: every few blocks the same matrix products are run bare on the block's rows, in the same run;
the share is what is left of the stage's time after theirs. (These are the only products of rows; eigenvalues
of the measures are LAPACK and stand by themselves.)

*Predicted*: the time a record over the first 100,000 after a warm-up, times the records: the capacity model.

    python benchmarks/bench_scale.py --cpu         # 1,000,000, then neighbours, encoders and a day's needs
    python benchmarks/bench_scale.py --rows 10000000 --only rows
"""

from __future__ import annotations

import gc
import json
import resource
import tempfile
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import wraps
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import faiss
import numpy as np
import torch
from _shared import machine, now, options, scales, seconds, unit
from numpy.typing import NDArray
from PIL import Image

from auditor.bounds import emid_bound
from auditor.divergences import rjsd
from auditor.emi import emi, paired_bootstrap
from auditor.estimators import CLUB
from auditor.neighbours.index import Index, recall
from auditor.neighbours.partition import Centroid, split
from auditor.pipeline import capacity
from auditor.pipeline.capacity import Costs, Load, Setup, ceilings, needs, sketch_bytes
from auditor.profiles import row_sums
from auditor.profiles.profile import PAIRS, Profile, read_profile, write_profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import RowKeys, Rows, joined
from auditor.records import MediaPolicy, RecordWriter, admit, read_many, read_run_records
from auditor.sketch import RowSample
from auditor.sketch.blocks import HASH_BLOCKS
from schemas.record import Image as AnImage
from schemas.record import Record

Array = NDArray[np.float32]
D, BLOCK, WARM, FIRST, EVERY = 768, 4096, 3, 100_000, 16
SAMPLE = 2_000
NOISE = scales(D).astype(np.float32)
STAGES = ("second moments", "CLUB sums", "row sample", "the rest of sketch_rows", "merge", "partition")


def block(seed: int, b: int, n: int, shift: float) -> Rows:
    """n records: answers and references depend on the query, Q's images are moved and its answers noisier."""
    rng = np.random.default_rng([seed, b])

    def noise() -> Array:
        return rng.standard_normal((n, D), dtype=np.float32) * NOISE

    image, text = noise(), noise()
    image[:, :8] += shift
    mean = np.float32(0.5) * (image + text)
    reference = unit(mean[:, ::-1] + noise())
    response = unit(mean[:, ::-1] + (1 + shift) * noise())
    image, text = unit(image), unit(text)
    ids = tuple(f"record-{seed}-{b}-{i}" for i in range(n))
    has = {name: np.ones(n, dtype=bool) for name in ("image", "text", "response", "reference")}
    x = joined(image, text, has["image"], has["text"])
    return Rows(ids, ids, ids, image, text, x, response, reference, has)


def blocks(seed: int, rows: int) -> Iterator[tuple[bool, Rows]]:
    """(whether of Q, block); each side is half of the rows."""
    for is_q in (False, True):
        for b, start in enumerate(range(0, rows // 2, BLOCK)):
            yield is_q, block(seed + is_q, b, min(BLOCK, rows // 2 - start), 0.05 * is_q)


@dataclass
class Clocks:
    """Seconds by stage; `around` counts the calls of a module's function in."""

    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def around(self, stage: str, owner: type | ModuleType, name: str) -> None:
        inner = owner.__dict__[name]
        call: Callable[..., Any] = inner.__func__ if isinstance(inner, classmethod) else inner

        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = now()
            try:
                return call(*args, **kwargs)
            finally:
                self.spent[stage] += now() - began

        setattr(owner, name, classmethod(timed) if isinstance(inner, classmethod) else timed)


def bare(rows: Rows, critic: CLUB) -> dict[str, float]:
    """Seconds of the matrix products of one block, by stage."""
    w = critic._trained()
    of: dict[str, float] = {}
    began = now()
    for z in (rows.image, rows.text, rows.x, rows.response, rows.reference):
        z.T @ z
    of["second moments"] = now() - began
    shares, wide = np.ones((HASH_BLOCKS, len(rows))), rows.response.astype(np.float64)
    began = now()
    for _ in PAIRS:
        for net in ("p_mu", "p_logvar"):
            (rows.x @ w[f"{net}.0.weight"].T) @ w[f"{net}.2.weight"].T
        for _ in range(4):
            shares @ wide
    of["CLUB sums"] = now() - began
    wide = rows.image.astype(np.float64)
    began = now()
    wide @ wide[0]
    of["partition"] = now() - began
    return of


def resident() -> float:
    """MB now; the peak is `ru_maxrss`."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_rows(rows: int, seed: int, steps: int) -> Mapping[str, float]:
    """The stages over all rows; returns seconds a record for the capacity model."""
    began = now()
    some = [block(seed, 10**6 + i, BLOCK, 0.0) for i in range(5)]
    critic = CLUB(steps=steps, seed=seed)
    critic.fit(
        np.concatenate([r.x for r in some] * 2),
        np.concatenate([r.response for r in some] + [r.reference for r in some]),
    )
    trained = now() - began
    clocks = Clocks()
    clocks.around("second moments", row_sums, "_sketch")
    clocks.around("CLUB sums", CLUB, "sums")
    clocks.around("row sample", RowSample, "from_rows")
    sides: list[Profile | None] = [None, None]
    centroid, distances = Centroid(), [np.zeros(0)]
    in_bare: dict[str, float] = defaultdict(float)
    bared = total = done = 0.0
    prediction = first = early = 0.0
    at_start, warm = resident(), min(WARM, rows // 2 // BLOCK // 2)
    every = max(1, min(EVERY, rows // BLOCK // 8))
    for i, (is_q, part) in enumerate(_timed(blocks(seed, rows))):
        if i == warm:  # libraries are loaded, pages are there
            clocks.spent.clear()
            total = done = 0.0
        began = now()
        norms = np.ones((len(part), 4), np.float32)
        found = sketch_rows(part, norms, [critic], SAMPLE)
        sketched = now()
        side = sides[is_q]
        sides[is_q] = found if side is None else side.merge(found)
        merged = now()
        if is_q:
            distances.append(centroid.distances(part.image))
        else:
            centroid.add(part.image)
        ended = now()
        inside = sum(clocks.spent[s] for s in STAGES[:3])
        clocks.spent["whole"] += sketched - began
        clocks.spent["the rest of sketch_rows"] = clocks.spent["whole"] - inside
        clocks.spent["merge"] += merged - sketched
        clocks.spent["partition"] += ended - merged
        total, done = total + ended - began, done + len(part)
        if i >= warm and (i - warm) % every == 0:
            for stage, value in bare(part, critic).items():
                in_bare[stage] += value
            bared += len(part)
        if not prediction and done >= min(FIRST, rows / 4):
            prediction, first, early = total / done, done, resident()
    p, q = sides
    assert p is not None and q is not None
    began = now()
    split(np.concatenate(distances), np.arange(rows // 2))
    clocks.spent["partition"] += now() - began
    began = now()
    d = {name: rjsd(p.sketches[name], q.sketches[name]) for name in ("image", "text")}
    deltas = [rjsd(s.sketches["reference"], s.sketches["response"]) for s in (p, q)]
    terms = {"d_v": d["image"], "d_t": d["text"], "delta_p": deltas[0], "delta_q": deltas[1]}
    bounds = {form: emid_bound(form, **terms) for form in ("scaled", "partial")}
    bounded = now() - began
    began = now()
    sums = [s.critic_sums[name][0] for s in (p, q) for name in ("emi_model", "emi_reference")]
    values = emi(*sums[:2]), emi(*sums[2:])
    intervals = paired_bootstrap(*sums, seed=seed)
    emid_done = now() - began
    assert intervals is not None

    print(f"\n## {rows:,} records x {D}-d, {torch.get_num_threads()} thread(s)\n")
    print("| stage | s | µs a record | of it outside BLAS |")
    print("|---|---|---|---|")
    outside_all = 0.0
    for stage in STAGES:
        spent = clocks.spent[stage]
        in_blas = in_bare.get(stage, 0.0) / bared * done if bared else float("nan")
        outside = max(0.0, spent - in_blas)
        outside_all += outside
        print(f"| {stage} | {spent:.1f} | {1e6 * spent / done:.1f} | {outside / spent:.0%} |")
    print(f"| **all of the above** | {total:.1f} | {1e6 * total / done:.1f} | {outside_all / total:.0%} |")
    print(f"| bounds: 4 RJSD from sketches, 2 forms | {bounded:.1f} | once | (LAPACK) |")
    print(f"| EMI, EMID and their intervals (1,000 draws) | {emid_done:.1f} | once | |")
    print(
        f"| training the critic ({2 * len(some) * BLOCK:,} pairs, {steps} steps) | {trained:.1f} | once | |"
    )
    print(f"\n{done / total:,.0f} records a second (making the embeddings, {_timed.spent:.0f} s, left out)")
    print(
        f"peak RSS {peak():,.0f} MB, {resident():,.0f} MB at the end, {early:,.0f} MB after the first "
        f"{first:,.0f}, {at_start:,.0f} MB before the first record"
    )
    error = total / (prediction * done) - 1
    print(
        f"predicted from the first {first:,.0f}: {prediction * done:,.1f} s; "
        f"measured {total:,.1f} s ({error:+.1%})"
    )
    emid = intervals.emid
    print(
        f"EMI {values[0]:.4f} (P) {values[1]:.4f} (Q), EMID {emid.value:.4f} "
        f"[{emid.low:.4f}, {emid.high:.4f}], "
        + ", ".join(f"{form} bound {value:.4f}" for form, value in bounds.items())
    )
    club = clocks.spent["CLUB sums"]
    return {"sketch": (clocks.spent["whole"] + clocks.spent["merge"] - club) / done, "club": club / done}


class _Timed:
    """Passes an iterator on and counts the time that making its items takes."""

    spent = 0.0

    def __call__(self, items: Iterator[tuple[bool, Rows]]) -> Iterator[tuple[bool, Rows]]:
        self.spent = 0.0
        while True:
            began = now()
            item = next(items, None)
            self.spent += now() - began
            if item is None:
                return
            yield item


_timed = _Timed()


def clustered(n: int, seed: int, spread: float) -> Array:
    """Unit rows around 1,000 centres, with a slow spectrum, as embeddings of images have."""
    centres = np.random.default_rng(99).standard_normal((1000, D), dtype=np.float32)
    rng = np.random.default_rng(seed)
    z = centres[rng.integers(1000, size=n)] + spread * rng.standard_normal((n, D), dtype=np.float32)
    return unit(z * NOISE)


def run_neighbours(n: int, queries: int, seed: int) -> None:
    """Queries a second and recall@1 and @10 of exact and IVF search; with a GPU, of both devices."""
    print(f"\n## Nearest of {n:,} rows x {D}-d ({queries:,} queries), {faiss.get_num_gpus()} GPU(s)\n")
    print("| rows | index | build s | queries/s | recall@1 | recall@10 |")
    print("|---|---|---|---|---|---|")
    for name, spread in (("clusters apart", 0.7), ("clusters that overlap", 2.0)):
        rows, q = clustered(n, seed, spread), clustered(queries, seed + 1, spread)
        began = now()
        flat = Index(rows)
        built = now() - began
        began = now()
        exact = flat.search(q, 10)
        took = now() - began
        where = "GPU" if faiss.get_num_gpus() else "CPU"
        print(f"| {name} | exact, {where} | {built:.1f} | {queries / took:,.0f} | 1 | 1 |")
        if faiss.get_num_gpus():
            took = seconds(lambda q=q, rows=rows: faiss.knn(q, rows, 10), 1)
            print(f"| {name} | exact, CPU | | {queries / took:,.0f} | 1 | 1 |")
        del flat
        gc.collect()
        began = now()
        ivf = Index(rows, kind="ivf", seed=seed)
        built = now() - began
        for part in (128, 64, 32, 16):
            ivf._index.nprobe = max(1, round(ivf._index.nlist / part))
            began = now()
            found = ivf.search(q, 10)
            took = now() - began
            r1 = recall(found.distance[:, :1], exact.distance[:, :1])
            r10 = recall(found.distance, exact.distance)
            label = f"IVF, {ivf._index.nprobe} of {ivf._index.nlist} cells"
            print(f"| {name} | {label} | {built:.1f} | {queries / took:,.0f} | {r1:.3f} | {r10:.3f} |")
        del ivf


def run_costs(quick: bool) -> dict[str, float]:
    """Seconds and bytes a record of what is not sketching, on one machine without weights: architectures of
    the published encoders with random ones."""
    n_image, n_text = (8, 32) if quick else (32, 256)
    out: dict[str, float] = {}
    from transformers import CLIPVisionConfig, CLIPVisionModel, XLMRobertaConfig, XLMRobertaModel

    vit = CLIPVisionModel(CLIPVisionConfig(patch_size=32)).eval()  # its defaults are ViT-B/32's
    pixels = torch.zeros(n_image, 3, 224, 224)
    with torch.inference_mode():
        out["embed_image"] = seconds(lambda: vit(pixels)) / n_image
        xlmr = XLMRobertaModel(
            XLMRobertaConfig(vocab_size=250_002, max_position_embeddings=514, num_hidden_layers=12)
        ).eval()
        ids = torch.full((n_text, 64), 10)
        mask = torch.ones_like(ids)
        few = ids[:16]
        out["embed_text_whole"] = seconds(lambda: xlmr(input_ids=few, attention_mask=mask[:16])) / 16
        out["embed_text"] = seconds(lambda: xlmr.embeddings(input_ids=ids).mean(dim=1)) / n_text
    photo = BytesIO()
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(
        np.clip(128 + 8 * rng.normal(size=(30, 40, 3)).cumsum(axis=0).cumsum(axis=1), 0, 255).astype(np.uint8)
    ).resize((640, 480), Image.Resampling.BICUBIC)
    grain = np.clip(np.asarray(smooth) + rng.normal(0, 6, size=(480, 640, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(grain).save(photo, "JPEG", quality=90)

    def decode() -> None:
        with Image.open(BytesIO(photo.getvalue())) as opened:
            opened.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)

    out["decode_image"] = seconds(lambda: [decode() for _ in range(20)]) / 20
    image = Record("r", "r", (AnImage(data=photo.getvalue()),))
    many = [replace(image, record_id=f"r{i}") for i in range(20)]
    out["admit"] = seconds(lambda: list(admit(many, MediaPolicy()))) / len(many)
    out["image_bytes"] = len(photo.getvalue())
    out["read"] = _reading(2_000 if quick else 20_000)
    with tempfile.TemporaryDirectory() as folder:
        part = block(0, 0, BLOCK, 0.0)
        critic = CLUB(steps=2, holdout=0).fit(part.x[:64], part.response[:64])
        found = sketch_rows(part, np.ones((BLOCK, 4), np.float32), [critic] * 3, SAMPLE)
        path = Path(folder) / "a.npz"
        write_profile(path, found)
        out["sketch_bytes"] = path.stat().st_size
        out["merge"] = seconds(lambda: found.merge(read_profile(path)))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    count = 20_000
    plan = [
        RowKeys(
            f"r-{i}", f"r-{i}", f"r-{i}", (f"{i:064x}",), f"{i + 1:064x}", f"{i + 2:064x}", f"{i + 3:064x}"
        )
        for i in range(count)
    ]
    out["plan_bytes"] = (tracemalloc.get_traced_memory()[0] - before) / len(plan)
    tracemalloc.stop()
    return out


def _reading(n: int) -> float:
    """Core seconds a record: JSONL read, written as a run's Parquet, and read back."""
    with tempfile.TemporaryDirectory() as folder:
        source, run = Path(folder) / "r.jsonl", Path(folder) / "r.parquet"
        with source.open("w") as file:
            for i in range(n):
                row = {"record_id": f"record-{i}", "query": f"what is shown here, case {i}? " * 4}
                row |= {"reference": f"something or other, {i}. " * 6}
                file.write(
                    json.dumps(row | {"responses": {"m": f"an answer of some length, {i}. " * 8}}) + "\n"
                )
        began = now()
        with RecordWriter(run) as writer:
            for record in read_many(str(source)):
                writer.write(record)  # type: ignore[arg-type]
        read = sum(len(batch) for batch in read_run_records(run))
        took = now() - began
        assert read == n
        return took / n


A_DAY = Load(records=1e9, image_bytes=160e3, text_bytes=1.5e3, prompt_tokens=640, answer_tokens=60)
"""Assumed: a COCO-sized JPEG; 576 image tokens and a question; a LLaVA-Bench-like short answer."""
GPU_PROMPT_TOKEN = 2 * 7e9 / (0.4 * 989e12)
"""Assumed: 2 operations a parameter of a 7B model, 40% of an H100's dense bf16 peak."""
GPU_ANSWER_TOKEN = 1 / 12_500
"""Assumed: vLLM, an 8B model on one H100 (published third-party figure, high concurrency)."""
GPU_IMAGE = 1 / 1_500
"""Assumed: ViT-B/32 on an RTX 3080, as clip-retrieval states."""


def run_capacity(found: Mapping[str, float]) -> None:
    """The costs, and a day of a billion records by the model."""
    print("\n## Costs a record, here\n")
    for name, value in found.items():
        print(f"- {name}: {value:,.0f} B" if "bytes" in name else f"- {name}: {1e6 * value:,.1f} µs")
    base = Costs(
        generate_prompt=GPU_PROMPT_TOKEN,
        generate_answer=GPU_ANSWER_TOKEN,
        embed_image=GPU_IMAGE,
        embed_text=found["embed_text"],
        decode_image=found["decode_image"],
        read=found["read"],
        admit=found["admit"],
        sketch=found["sketch"],
        club=found["club"],
        merge=found["merge"],
        plan_bytes=found["plan_bytes"],
    )
    print(f"\n## {A_DAY.records:,.0f} records a day\n")
    setups = {"shards of 4,096": Setup(), "shards of 65,536": Setup(shard=65_536)}
    columns = {name: asdict(needs(A_DAY, base, setup)) for name, setup in setups.items()}
    print("| need | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name in next(iter(columns.values())):
        print(f"| {name} | " + " | ".join(f"{of[name]:,.4g}" for of in columns.values()) + " |")
    print("\n| what there is one of is busy all day (or full) at | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    most = [ceilings(A_DAY, base, setup) for setup in setups.values()]
    for name in most[0]:
        print(f"| {name} | " + " | ".join(f"{of[name]:.2g} records a day" for of in most) + " |")
    ratio = found["sketch_bytes"] / sketch_bytes(Setup())
    print(f"\nsize of a shard's sketch: {found['sketch_bytes'] / 1e6:.1f} MB, {ratio:.3f} of the model's")
    print(f"embeddings of a record: {capacity.embedding_bytes(Setup()):,.0f} B")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, help="records (default 1,000,000; --quick 40,960)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("rows", "neighbours", "costs"))
    args = parser.parse_args()
    now.cpu = args.cpu
    quick, only = args.quick, args.only
    rows = args.rows or (40_960 if quick else 1_000_000)
    print(machine())
    found: dict[str, float] = {}
    if only in (None, "rows"):
        found |= run_rows(rows, args.seed, 50 if quick else 200)
    if only in (None, "neighbours"):
        run_neighbours(*((20_000, 200) if quick else (200_000, 1_000)), args.seed)
    if only in (None, "costs"):
        found |= run_costs(quick)
        if "sketch" not in found:
            found |= run_rows(40_960, args.seed, 50)
        run_capacity(found)


if __name__ == "__main__":
    main()
