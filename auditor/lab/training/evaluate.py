"""This module measures how well the shipped MLLMs answer: through ordinary transformers code, against the
known truth."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image, ImageFilter
from transformers import AutoProcessor, LlavaForConditionalGeneration

from auditor.lab.lexicon import KINDS, LANGUAGES
from auditor.lab.training.mllm import MAX_NEW_TOKENS
from auditor.lab.truth import exact, graded_score
from auditor.lab.world import LabItem, lab_items

BLURS: Final = (0.5, 1.0, 1.5, 2.0)
EVALUATION_SEED: Final = 2_024

Table = dict[str, dict[str, float]]


def picture(item: LabItem, blur: float = 0.0) -> Image.Image:
    """Return the item's picture, blurred by a Gaussian of ``blur`` pixels."""
    image = Image.open(io.BytesIO(item.image)).convert("RGB")
    return image.filter(ImageFilter.GaussianBlur(blur)) if blur else image


class Answerer:
    """An answerer is a shipped MLLM and its processor, answering greedily."""

    def __init__(self, directory: Path):
        self.processor: Any = AutoProcessor.from_pretrained(directory)
        self.model: Any = LlavaForConditionalGeneration.from_pretrained(directory).eval()

    @torch.no_grad()
    def answers(self, items: Sequence[LabItem], blur: float = 0.0, batch: int = 64) -> list[str]:
        """Return one answer an item, in order."""
        out: list[str] = []
        for start in range(0, len(items), batch):
            part = items[start : start + batch]
            prompts = [
                self.processor.apply_chat_template(
                    [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": item.query}]}],
                    add_generation_prompt=True,
                )
                for item in part
            ]
            inputs = self.processor(
                images=[picture(item, blur) for item in part], text=prompts, padding=True, return_tensors="pt"
            )
            tokens = self.model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
            out += self.processor.batch_decode(
                tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
        return out


def score(answers: Sequence[str], items: Sequence[LabItem]) -> dict[str, float]:
    """Return the mean graded score and the share wholly right."""
    pairs = list(zip(answers, items, strict=True))
    return {
        "graded": sum(graded_score(a, i.truth) for a, i in pairs) / len(pairs),
        "exact": sum(exact(a, i.truth) for a, i in pairs) / len(pairs),
        "n": float(len(pairs)),
    }


def evaluate(directory: Path, n: int = 600) -> dict[str, Table]:
    """Compute scores by kind of question, by language, by blur, and by quarter of strangeness of the natural
    pool."""
    model = Answerer(directory)
    clean = list(lab_items(n, EVALUATION_SEED))
    answers = model.answers(clean)
    kinds: Table = {"all": score(answers, clean)}
    for kind in KINDS:
        kept = [(a, i) for a, i in zip(answers, clean, strict=True) if i.question_type == kind]
        kinds[kind] = score([a for a, _ in kept], [i for _, i in kept])
    languages: Table = {}
    for language in LANGUAGES:
        items = list(lab_items(n, EVALUATION_SEED, language))
        languages[language] = score(model.answers(items), items)
    blurs: Table = {"0": kinds["all"]}
    for blur in BLURS:
        blurs[str(blur)] = score(model.answers(clean, blur), clean)
    natural = list(lab_items(n, EVALUATION_SEED, pool="natural"))
    answers = model.answers(natural)
    quarters: Table = {}
    for k in range(4):
        kept = [(a, i) for a, i in zip(answers, natural, strict=True) if int(i.strangeness * 4) == k]
        quarters[f"{k / 4:.2f}-{(k + 1) / 4:.2f}"] = score([a for a, _ in kept], [i for _, i in kept])
    return {"kind": kinds, "language": languages, "blur": blurs, "strangeness": quarters}
