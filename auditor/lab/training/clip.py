"""This module trains the image encoder: an open_clip model trained contrastively on scenes and English
captions.

Its visual tower starts from the trained vision tower (same architecture, weights copied name by name): what
the contrastive minutes add is one space for pictures and captions.  Half of its pictures are strange, blurred
or frosted, as some web pictures are, which the MLLMs' own eyes never saw: an auditor whose encoder sees no
more than the audited model cannot tell that an answer is wrong.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from auditor.lab.scene import SIZE, SceneLaw, draw_scene, render
from auditor.lab.training.common import Clock, Log, Optimiser, load_checkpoint, replacing, save_checkpoint
from auditor.lab.training.vision import MEAN, PATCH, STD, TRAIN_STREAM, pixel_values
from auditor.lab.training.vocabulary import EOS, PAD, caption, save_tokenizer, train_caption_bpe
from auditor.shifts.blur import blur
from auditor.shifts.frost import frost

WIDTH: Final = 128
CONTEXT: Final = 56


def model_config(vocab: int) -> dict[str, Any]:
    """Return the open_clip description of the model."""
    return {
        "embed_dim": WIDTH,
        "vision_cfg": {
            "image_size": SIZE,
            "layers": 4,
            "width": WIDTH,
            "head_width": 32,
            "patch_size": PATCH,
        },
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": vocab,
            # Relative to the model's own directory: `local-dir:` loading finds the tokeniser beside the
            # weights.
            "hf_tokenizer_name": ".",
            "width": 96,
            "heads": 3,
            "layers": 2,
            "pool_type": "eos",
            "eos_id": EOS,
            "pad_id": PAD,
        },
    }


def copy_tower(visual: nn.Module, tower: dict[str, Tensor]) -> None:
    """Copy a transformers CLIP tower into open_clip's, whose attention keeps q, k and v as one matrix."""
    out = {
        "class_embedding": tower["embeddings.class_embedding"],
        "positional_embedding": tower["embeddings.position_embedding.weight"],
        "conv1.weight": tower["embeddings.patch_embedding.weight"],
        "ln_pre.weight": tower["pre_layrnorm.weight"],
        "ln_pre.bias": tower["pre_layrnorm.bias"],
        "ln_post.weight": tower["post_layernorm.weight"],
        "ln_post.bias": tower["post_layernorm.bias"],
    }
    for k in range(4):
        source, target = f"encoder.layers.{k}.", f"transformer.resblocks.{k}."
        for part in ("weight", "bias"):
            joined = [tower[f"{source}self_attn.{x}_proj.{part}"] for x in "qkv"]
            out[f"{target}attn.in_proj_{part}"] = torch.cat(joined)
            out[f"{target}attn.out_proj.{part}"] = tower[f"{source}self_attn.out_proj.{part}"]
            out[f"{target}ln_1.{part}"] = tower[f"{source}layer_norm1.{part}"]
            out[f"{target}ln_2.{part}"] = tower[f"{source}layer_norm2.{part}"]
            out[f"{target}mlp.c_fc.{part}"] = tower[f"{source}mlp.fc1.{part}"]
            out[f"{target}mlp.c_proj.{part}"] = tower[f"{source}mlp.fc2.{part}"]
    result = visual.load_state_dict(out, strict=False)
    if result.unexpected_keys or set(result.missing_keys) - {"proj"}:
        raise ValueError(f"the vision tower does not fit open_clip's: {result}")


def export(model: nn.Module, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write a directory for ``open_clip.create_model_and_transforms("local-dir:DIR")``; replaces it in one
    step."""
    with replacing(directory) as scratch:
        save_tokenizer(tokenizer, scratch)
        config = {
            "model_cfg": model_config(len(tokenizer)),
            "preprocess_cfg": {
                "mean": list(MEAN),
                "std": list(STD),
                "interpolation": "bicubic",
                "resize_mode": "squash",
            },
        }
        (scratch / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
        weights = {
            k: v.to(torch.float16).contiguous() for k, v in model.state_dict().items() if k != "attn_mask"
        }
        save_file(weights, scratch / "open_clip_model.safetensors", metadata={"format": "pt"})


def _worn_picture(index: int, seed: int) -> NDArray[np.uint8]:
    """Draw picture ``index``: every second one as the scenes are, of the others a third each strange,
    blurred, frosted."""
    wear = index % 6
    law = SceneLaw(strangeness=(0.0, 1.0)) if wear == 1 else None
    picture = render(draw_scene(seed, index, law))
    if wear in (3, 5):
        rng = np.random.default_rng((seed, index, 6))
        shift = blur if wear == 3 else frost
        picture = np.rint(shift(picture / 255.0, int(rng.integers(1, 6)), rng) * 255.0).astype(np.uint8)
    return picture


def worn_pictures(count: int, seed: int) -> NDArray[np.uint8]:
    """Draw (count, 64, 64, 3): the scenes of a stream, half of them under wear."""
    with ProcessPoolExecutor(2) as pool:
        return np.stack(list(pool.map(partial(_worn_picture, seed=seed), range(count), chunksize=200)))


def train_clip(
    work: Path,
    out: Path,
    *,
    seed: int = 0,
    steps: int = 600,
    batch: int = 96,
    scenes: int = 24_000,
    lr: float = 5e-4,
    limit: float | None = None,
    log: Log = print,
) -> nn.Module:
    """Train the encoder into ``out / "clip"``; resumes from ``work``, starts from its ``vision.pt``."""
    torch.manual_seed(seed)
    tokenizer = train_caption_bpe(seed)
    model: Any = open_clip.CLIP(**model_config(len(tokenizer)))
    eyes = load_checkpoint(work / "vision.pt")
    if eyes is None:
        raise FileNotFoundError(f"{work / 'vision.pt'}: train the vision stage first (--stage vision)")
    copy_tower(
        model.visual,
        {k.removeprefix("tower."): v for k, v in eyes["model"].items() if k.startswith("tower.")},
    )
    optimiser = Optimiser(model, lr, steps, lambda n, p: p.ndim == 2 and "resblocks" in n)
    start, clock = 0, Clock()
    saved = load_checkpoint(work / "clip.pt")
    if saved:
        model.load_state_dict(saved["model"])
        optimiser.load(saved["optimiser"])
        start, clock = saved["step"], Clock(saved["seconds"])
    if start < steps:
        images = worn_pictures(scenes, TRAIN_STREAM + seed)
        drawn = [draw_scene(TRAIN_STREAM + seed, i) for i in range(scenes)]
        log(f"clip: rendered {scenes} scenes, {clock.seconds:.0f} s")
    for step in range(start, steps):
        rng = np.random.default_rng((seed, step, 4))
        rows = np.sort(rng.choice(scenes, batch, replace=False))
        texts = tokenizer(
            [caption(drawn[i], rng) for i in rows.tolist()],
            padding="max_length",
            truncation=True,
            max_length=CONTEXT,
            return_tensors="pt",
        )["input_ids"]
        picture = F.normalize(model.encode_image(pixel_values(images[rows])), dim=-1)
        words = F.normalize(model.encode_text(texts), dim=-1)
        logits = model.logit_scale.exp().clamp(max=100.0) * picture @ words.T
        same = torch.arange(batch)
        loss = (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2
        loss.backward()
        optimiser.step(step)
        if (step + 1) % 50 == 0 or step + 1 == steps:
            right = (logits.argmax(1) == same).float().mean().item()
            log(
                f"clip {step + 1}/{steps} loss {loss.item():.3f} right caption of {batch} {right:.3f} "
                f"{clock.seconds:.0f} s"
            )
            content = {"model": model.state_dict(), "optimiser": optimiser.state(), "step": step + 1}
            save_checkpoint(work / "clip.pt", {**content, "seconds": clock.seconds})
            export(model, tokenizer, out / "clip")
            if limit is not None and clock.seconds > limit:
                break
    return model
