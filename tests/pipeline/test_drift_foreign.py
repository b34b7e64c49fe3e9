"""Drift on data that nobody here made: photographs and texts of others, cut in halves."""

import io
import json
import re
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from auditor.pipeline.bars import Bars
from auditor.pipeline.baseline import build
from auditor.pipeline.drift import drift
from auditor.shifts.registry import shift_image
from schemas.config import BaselineConfig, DriftConfig

PHOTOGRAPHS = Path("/usr/share/backgrounds/mate/nature")
"""Of Debian's package mate-backgrounds."""
BENCH = Path(__file__).parents[3] / "shared" / "reference" / "llavabench"
ENCODERS = {"image": "efficientnet-lite0", "text": "minilm"}
HALF = 250


def pieces(photographs, n, side=160):
    """n square pieces cut at random, from one photograph after the other, as PNG."""
    rng = np.random.default_rng(0)
    out = []
    for i in range(n):
        photograph = photographs[i % len(photographs)]
        top, left = (int(rng.integers(0, size - side)) for size in photograph.shape[:2])
        buffer = io.BytesIO()
        Image.fromarray(photograph[top : top + side, left : left + side]).save(buffer, format="PNG")
        out.append(buffer.getvalue())
    return out


def sample_photographs():
    """Two photographs that scikit-learn ships, and paragraphs of Python's own manual."""
    paragraphs = [
        " ".join(p.split())
        for text in topics.values()
        for p in re.split(r"\n\s*\n", text)
        if 60 < len(p) < 300 and p.strip()[0].isalpha()
    ]
    chosen = np.random.default_rng(1).permutation(len(paragraphs))[: 2 * HALF]
    return load_sample_images().images, [(paragraphs[i], None, None) for i in chosen]


def llava_bench():
    """Photographs of a Debian package, LLaVA-Bench's questions and LLaVA-1.5's recorded answers."""
    if not PHOTOGRAPHS.is_dir():
        pytest.skip(f"{PHOTOGRAPHS} is not there (Debian: mate-backgrounds)")
    if not BENCH.is_dir():
        pytest.skip(f"{BENCH} is not there (the published LLaVA-Bench files)")
    photographs = []
    for path in sorted(PHOTOGRAPHS.glob("*.jpg")):
        with Image.open(path) as image:
            photographs.append(np.asarray(image.convert("RGB").resize((640, 400))))

    def lines(name):
        return [json.loads(line) for line in (BENCH / name).read_text().splitlines()]

    questions = lines("qa90_questions.jsonl")
    references = {r["question_id"]: r["text"] for r in lines("qa90_gpt4_answer.jsonl")}
    given = {
        r["question_id"]: r["text"] for r in lines("responses/llava_bench_coco_English_llava-v1.5-13b.jsonl")
    }
    order = np.random.default_rng(1).permutation(2 * HALF) % len(questions)
    return photographs, [
        (q["text"], given[q["question_id"]], references[q["question_id"]])
        for q in (questions[i] for i in order)
    ]


@pytest.fixture(scope="module", params=[sample_photographs, llava_bench])
def halves(request, tmp_path_factory):
    """A folder with images and a baseline of the first half, and the rows of the second."""
    root = tmp_path_factory.mktemp("foreign")
    photographs, texts = request.param()
    (root / "images").mkdir()
    rows = []
    drawn = pieces(photographs, 2 * HALF)
    for place, i in enumerate(np.random.default_rng(2).permutation(2 * HALF).tolist()):
        (root / "images" / f"{place}.png").write_bytes(drawn[i])
        query, response, reference = texts[place]
        row = {"record_id": f"r{place}", "image": f"{place}.png", "query": query, "reference": reference}
        rows.append(row | ({"responses": {"llava": response}} if response else {}))
    write(root / "id.jsonl", rows[:HALF])
    settings = {"encoders": ENCODERS, "critic": {"seeds": 1, "steps": 60, "hidden": 16, "batch": 64}}
    build(
        BaselineConfig(data={"id": str(root / "id.jsonl"), **images(root)}, **settings),
        root / "baseline",
        Bars(),
    )
    return root, rows[HALF:]


def images(root):
    return {"media_root": str(root / "images")}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def window(halves, folder, rows):
    root, _ = halves
    path = folder / "traffic.jsonl"
    write(path, rows)
    config = DriftConfig(baseline=str(root / "baseline"), data={"traffic": str(path), **images(root)})
    return drift(config, folder, Bars()).windows[0]


def test_the_second_half_raises_no_alarm(halves, tmp_path):
    row = window(halves, tmp_path, halves[1])
    assert row.verdict.status == "pass", row.verdict.because
    assert row.n == HALF


def test_changed_questions_move_the_text_alone(halves, tmp_path):
    def misspelt(text):
        return " ".join(word[::-1] if i % 2 else word for i, word in enumerate(text.split()))

    rows = [row | {"query": misspelt(row["query"])} for row in halves[1]]
    row = window(halves, tmp_path, rows)
    assert row.verdict.status == "fail"
    assert row.divergences["text"].p_value < 0.01
    assert row.divergences["image"].p_value > 0.01
    assert all(d.p_value > 0.01 for name, d in row.divergences.items() if name not in ("text", "joint"))


def test_changed_images_move_the_image_alone(halves, tmp_path):
    root, second = halves
    rows = []
    for row in second:
        png = (root / "images" / row["image"]).read_bytes()
        name = f"blurred-{row['image']}"
        (root / "images" / name).write_bytes(shift_image(png, "blur", 5, np.random.default_rng(0)))
        rows.append(row | {"image": name})
    row = window(halves, tmp_path, rows)
    assert row.verdict.status == "fail"
    assert row.divergences["image"].p_value < 0.01
    assert all(d.p_value > 0.01 for name, d in row.divergences.items() if name not in ("image", "joint"))
