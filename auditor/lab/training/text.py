"""This module trains the text encoder: XLM-R's architecture, trained to fill in masked pieces of the lab's
seven languages, and to bring together what means the same.

Half of the masked inputs are a question beside its translation (translation language modelling), the rest a
question beside its reference. At the same time two wordings of one content, a question in two languages or an
answer in two phrasings, attract each other and repel the rest of the batch, as in sentence encoders.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

from auditor.lab.lexicon import LANGUAGES
from auditor.lab.training.common import Clock, Log, Optimiser, load_checkpoint, replacing, save_checkpoint
from auditor.lab.training.vocabulary import dialogue, save_tokenizer, train_unigram

TEXT_STREAM: Final = 3_000
TEMPERATURE: Final = 0.1
MASKED: Final = 48
"""Rows of the masked-piece loss a step, fewer than of the cheaper loss of paraphrases."""


def text_config(vocab: int) -> XLMRobertaConfig:
    """Return the config of a small XLM-R."""
    return XLMRobertaConfig(
        vocab_size=vocab,
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=130,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def _pairs(pool: int, seed: int) -> list[tuple[str, str]]:
    rng = np.random.default_rng((TEXT_STREAM, seed))
    out = []
    for index in range(pool):
        question, phrasing = dialogue(index, TEXT_STREAM + seed, rng)
        first, second = (LANGUAGES[i] for i in rng.permutation(len(LANGUAGES))[:2].tolist())
        translated = question.text(second, int(rng.integers(0, 60)))
        counterpart = translated if rng.random() < 0.5 else question.reference(int(rng.integers(0, 60)))
        out.append((question.text(first, phrasing), counterpart))
    return out


class Paraphrase(NamedTuple):
    """A paraphrase is two wordings of one content; equal ``content`` means equal meaning."""

    content: str
    first: str
    second: str


def _paraphrases(pool: int, seed: int) -> list[Paraphrase]:
    rng = np.random.default_rng((TEXT_STREAM, seed, 1))
    out = []
    for index in range(pool):
        question, phrasing = dialogue(index, TEXT_STREAM + seed, rng)
        second_phrasing = int(rng.integers(0, 60))
        if rng.random() < 0.5:
            first, second = (LANGUAGES[i] for i in rng.permutation(len(LANGUAGES))[:2].tolist())
            content = f"{question.kind} {sorted(question.slots.items())}"
            out.append(
                Paraphrase(content, question.text(first, phrasing), question.text(second, second_phrasing))
            )
        else:
            answer = question.truth.answer
            second = question.reference(second_phrasing) if rng.random() < 0.7 else answer
            out.append(Paraphrase(answer, question.reference(phrasing), second))
    return out


def paraphrase_loss(first: Tensor, second: Tensor, contents: list[str]) -> Tensor:
    """Compute InfoNCE both ways over unit rows (b, d), with pairs of equal content left out of the
    negatives."""
    numbers = {content: i for i, content in enumerate(dict.fromkeys(contents))}
    label = torch.tensor([numbers[c] for c in contents])
    own = torch.eye(len(label), dtype=torch.bool)
    logits = (first @ second.T / TEMPERATURE).masked_fill(
        (label[:, None] == label[None, :]) & ~own, -torch.inf
    )
    target = torch.arange(len(label))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _unit_means(model: XLMRobertaForMaskedLM, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Tensor:
    coded = tokenizer(texts, padding=True, return_tensors="pt")
    hidden = model.roberta(**coded).last_hidden_state
    weight = coded["attention_mask"][..., None].to(hidden.dtype)
    return F.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)


def mask(
    ids: Tensor, attended: Tensor, tokenizer: PreTrainedTokenizerFast, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Apply BERT's masking: (ids with 15% replaced, labels that are -100 elsewhere), both shaped as
    ``ids``."""
    special = (ids < 4) | (attended == 0)
    picked = (torch.rand(ids.shape, generator=generator) < 0.15) & ~special
    labels = torch.where(picked, ids, torch.full_like(ids, -100))
    how = torch.rand(ids.shape, generator=generator)
    random = torch.randint(5, len(tokenizer), ids.shape, generator=generator)
    changed = torch.where(picked & (how < 0.8), torch.full_like(ids, tokenizer.mask_token_id), ids)
    return torch.where(picked & (how >= 0.9), random, changed), labels


def export(model: XLMRobertaForMaskedLM, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write a directory that ``XLMRobertaModel.from_pretrained`` loads; replaces it in one step."""
    with replacing(directory) as scratch:
        save_tokenizer(tokenizer, scratch)
        model.config.architectures = ["XLMRobertaModel"]
        model.config.save_pretrained(scratch)
        path = scratch / "config.json"
        path.write_text(
            json.dumps({**json.loads(path.read_text()), "dtype": "float32"}, indent=2, sort_keys=True) + "\n"
        )
        weights = {k: v.to(torch.float16).contiguous() for k, v in model.roberta.state_dict().items()}
        # XLMRobertaModel has a pooler that a masked language model does not train: identity, and unused here.
        weights["pooler.dense.weight"] = torch.eye(model.config.hidden_size, dtype=torch.float16)
        weights["pooler.dense.bias"] = torch.zeros(model.config.hidden_size, dtype=torch.float16)
        save_file(weights, scratch / "model.safetensors", metadata={"format": "pt"})


def train_text(
    work: Path,
    out: Path,
    *,
    seed: int = 0,
    steps: int = 800,
    batch: int = 96,
    pool: int = 20_000,
    lr: float = 2e-3,
    limit: float | None = None,
    log: Log = print,
) -> XLMRobertaForMaskedLM:
    """Train the encoder into ``out / "xlmr"``; resumes from ``work``."""
    torch.manual_seed(seed)
    tokenizer = train_unigram(seed)
    model = XLMRobertaForMaskedLM(text_config(len(tokenizer)))
    optimiser = Optimiser(model, lr, steps, lambda n, p: p.ndim == 2 and "encoder.layer" in n)
    start, clock = 0, Clock()
    saved = load_checkpoint(work / "xlmr.pt")
    if saved:
        model.load_state_dict(saved["model"])
        optimiser.load(saved["optimiser"])
        start, clock = saved["step"], Clock(saved["seconds"])
    pairs, same = (_pairs(pool, seed), _paraphrases(pool, seed)) if start < steps else ([], [])
    losses: list[float] = []
    for step in range(start, steps):
        rows = np.random.default_rng((seed, step, 5)).choice(pool, batch, replace=False).tolist()
        chosen = [pairs[i] for i in rows[:MASKED]]
        coded = tokenizer([a for a, _ in chosen], [b for _, b in chosen], padding=True, return_tensors="pt")
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        ids, labels = mask(coded["input_ids"], coded["attention_mask"], tokenizer, generator)
        hidden = model.roberta(input_ids=ids, attention_mask=coded["attention_mask"]).last_hidden_state
        scored = labels >= 0
        masked_loss = F.cross_entropy(model.lm_head(hidden[scored]), labels[scored])
        wordings = [same[i] for i in rows]
        units = _unit_means(model, tokenizer, [w.first for w in wordings] + [w.second for w in wordings])
        first, second = units.chunk(2)
        loss = masked_loss + paraphrase_loss(first, second, [w.content for w in wordings])
        loss.backward()
        optimiser.step(step)
        losses.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            log(f"xlmr {step + 1}/{steps} loss {np.mean(losses[-100:]):.3f} {clock.seconds:.0f} s")
            content = {"model": model.state_dict(), "optimiser": optimiser.state(), "step": step + 1}
            save_checkpoint(work / "xlmr.pt", {**content, "seconds": clock.seconds})
            export(model, tokenizer, out / "xlmr")
            if limit is not None and clock.seconds > limit:
                break
    return model
