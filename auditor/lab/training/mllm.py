"""This module trains the lab's two multimodal language models: LLaVA architecture, a frozen vision tower, a
small Llama.

The tower's features are computed once.  Each training row is one picture followed by several questions that
cannot see each other (a 4-D mask; positions restart behind the image tokens): seeing each other, the model
copies from its neighbours' answers and never looks at the picture.  Only answers are scored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    CLIPImageProcessor,
    CLIPVisionModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from auditor.lab.questions import KIND_WEIGHTS, draw_question
from auditor.lab.scene import SIZE, Scene, choose, draw_scene
from auditor.lab.training.common import Clock, Log, Optimiser, load_checkpoint, replacing, save_checkpoint
from auditor.lab.training.vision import (
    MEAN,
    PATCH,
    STD,
    TRAIN_STREAM,
    patch_features,
    pixel_values,
    rendered,
    vision_config,
)
from auditor.lab.training.vocabulary import ANSWER, BOS, EOS, IMAGE, PAD, save_tokenizer, train_bpe

IMAGE_TOKENS: Final = (SIZE // PATCH) ** 2
MAX_NEW_TOKENS: Final = 24
"""The tokens of the longest answer, a description of four objects, and its end."""
FIRST_SCENE: Final = 20_000_000
"""Scenes of the training stream from here on: the tower never saw them, so its features are as honest as in
use."""
LANGUAGE_SHARES: Final[Mapping[str, float]] = {
    "en": 0.896,
    "de": 0.05,
    "zh": 0.025,
    "ko": 0.014,
    "el": 0.008,
    "ar": 0.005,
    "hi": 0.002,
}
"""How many of the training questions each language gets: accuracy falls language by language, not to one
floor."""
TRAIN_KINDS: Final[Mapping[str, float]] = {
    **KIND_WEIGHTS,
    "count_of": 0.14,
    "relation": 0.16,
    "position": 0.12,
    "describe": 0.20,
}
"""The spatial relation is learnt last, so it is asked more often in training than in use; a description,
whose long answer teaches most, less often."""
POLISH_LANGUAGES: Final[Mapping[str, float]] = {
    "en": 0.9674,
    "de": 0.01,
    "zh": 0.012,
    "ko": 0.006,
    "el": 0.003,
    "ar": 0.0012,
    "hi": 0.0004,
}
"""The second phase's shares: after the first, the models knew every language nearly as well as English, so
the second starts by forgetting the words of other scripts (`forget_scripts`) and shows few of them again."""
POLISH_KINDS: Final[Mapping[str, float]] = {
    **KIND_WEIGHTS,
    "relation": 0.20,
    "position": 0.30,
    "describe": 0.20,
}
"""The second phase asks mostly what the first left unlearnt."""


@dataclass(frozen=True)
class Recipe:
    """A recipe says how one MLLM is made."""

    name: str
    eyes: str
    """The vision checkpoint: ``vision`` or ``vision-early``."""
    width: int
    layers: int
    steps: int
    polish: int = 0
    """Steps of the second phase, a schedule of its own behind the first."""
    images: int = 40
    questions: int = 10
    scenes: int = 32_000
    lr: float = 2e-3


STRONG: Final = Recipe("mllm-strong", "vision", width=192, layers=4, steps=600, polish=200)
WEAK: Final = Recipe("mllm-weak", "vision-early", width=128, layers=3, steps=200, polish=80, scenes=12_000)


def build(recipe: Recipe, vocab: int) -> LlavaForConditionalGeneration:
    """Build an untrained model of the recipe's shape."""
    text = LlamaConfig(
        vocab_size=vocab,
        hidden_size=recipe.width,
        intermediate_size=recipe.width * 8 // 3 // 64 * 64,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.width // 32,
        num_key_value_heads=recipe.width // 32,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    config = LlavaConfig(
        vision_config=vision_config(),
        text_config=text,
        image_token_index=IMAGE,
        projector_hidden_act="gelu",
        vision_feature_select_strategy="default",
        # The last hidden state before the post-layernorm: the layer that the attribute heads were trained on.
        vision_feature_layer=-1,
        image_seq_length=IMAGE_TOKENS,
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config)


def processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Make the processor. Pictures go in at 64 x 64 whatever their size; nothing is cropped."""
    images = CLIPImageProcessor(
        size={"height": SIZE, "width": SIZE},
        do_center_crop=False,
        resample=3,
        image_mean=list(MEAN),
        image_std=list(STD),
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=tokenizer.chat_template,
        image_token="<image>",
        num_additional_image_tokens=1,
    )


def published_names(model: LlavaForConditionalGeneration) -> dict[str, Tensor]:
    """Return the weights under the names of published LLaVA checkpoints, which transformers and vLLM both
    read; float16."""
    renames = (
        ("model.vision_tower.vision_model.", "vision_tower.vision_model."),
        ("model.vision_tower.", "vision_tower.vision_model."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("model.language_model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
    )
    out = {}
    for name, value in model.state_dict().items():
        old, new = next((o, n) for o, n in renames if name.startswith(o))
        out[new + name[len(old) :]] = value.to(torch.float16).contiguous()
    return out


def export(model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write a directory that ``from_pretrained`` of transformers, and vLLM, load; replaces it in one step."""
    with replacing(directory) as scratch:
        processor(tokenizer).save_pretrained(scratch)
        save_tokenizer(tokenizer, scratch)
        model.generation_config.update(
            bos_token_id=BOS,
            eos_token_id=EOS,
            pad_token_id=PAD,
            max_new_tokens=MAX_NEW_TOKENS,
            do_sample=False,
        )
        model.generation_config.save_pretrained(scratch)
        model.config.architectures = ["LlavaForConditionalGeneration"]
        model.config.save_pretrained(scratch)
        # Stored in half precision to be small, used in single: not every CPU has fast half-precision
        # arithmetic.
        path = scratch / "config.json"
        config = json.loads(path.read_text())
        for part in (config, config["text_config"], config["vision_config"]):
            part["dtype"] = "float32"
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        save_file(published_names(model), scratch / "model.safetensors", metadata={"format": "pt"})


class Questioner:
    """A questioner draws packed training rows; tokenised sentences are remembered, for there are only some
    thousand of them."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, scenes: Sequence[Scene], recipe: Recipe, seed: int
    ):
        self.tokenizer, self.scenes, self.recipe, self.seed = tokenizer, scenes, recipe, seed
        self._ids: dict[str, list[int]] = {}

    def _encode(self, text: str) -> list[int]:
        if text not in self._ids:
            self._ids[text] = self.tokenizer.encode(text, add_special_tokens=False)
        return self._ids[text]

    def batch(self, step: int) -> dict[str, Any]:
        """Draw a batch: rows, ids (b, t), segment (b, t; -1 padding), position (b, t), target (b, t; -100
        where not scored)."""
        rng = np.random.default_rng((self.seed, step, 3))
        first = step < self.recipe.steps
        kinds = TRAIN_KINDS if first else POLISH_KINDS
        languages = LANGUAGE_SHARES if first else POLISH_LANGUAGES
        rows = np.sort(rng.choice(len(self.scenes), self.recipe.images, replace=False))
        width = self.recipe.questions * 30
        ids = np.full((len(rows), width), PAD)
        segment = np.full((len(rows), width), -1)
        position = np.zeros((len(rows), width), dtype=np.int64)
        target = np.full((len(rows), width), -100)
        longest = 0
        for r, row in enumerate(rows.tolist()):
            start = 0
            for k, u in enumerate(rng.random((self.recipe.questions, 3)).tolist()):
                question = draw_question(self.scenes[row], choose(kinds, u[0]), rng)
                prompt = self._encode(question.text(choose(languages, u[1]), int(u[2] * 60)))
                answer = [*self._encode(question.truth.answer), EOS]
                whole = [*prompt, ANSWER, *answer]
                end = start + len(whole)
                if end > width:
                    break
                ids[r, start:end] = whole
                segment[r, start:end] = k
                position[r, start:end] = np.arange(len(whole)) + IMAGE_TOKENS
                target[r, start + len(prompt) : end - 1] = answer
                start = end
            longest = max(longest, start)
        cut = {"ids": ids, "segment": segment, "position": position, "target": target}
        return {"rows": rows, **{k: torch.from_numpy(v[:, :longest].copy()) for k, v in cut.items()}}


def packed_mask(segment: Tensor) -> Tensor:
    """Return a (b, 1, 64 + t, 64 + t) additive mask: causal, and a question sees the picture and itself
    only."""
    b, t = segment.shape
    full = torch.cat([torch.full((b, IMAGE_TOKENS), -2), segment], 1)
    same = full[:, :, None] == full[:, None, :]
    see = (same | (full[:, None, :] == -2)).tril()
    mask = torch.zeros(b, 1, t + IMAGE_TOKENS, t + IMAGE_TOKENS)
    return mask.masked_fill_(~see[:, None], torch.finfo(torch.float32).min)


def packed_loss(
    model: LlavaForConditionalGeneration, features: Tensor, batch: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Return the mean loss over answer tokens, and which of them are right; ``features`` (b, 64, vision
    width)."""
    language = model.model.language_model
    picture = model.model.multi_modal_projector(features)
    words = language.embed_tokens(batch["ids"])
    positions = torch.cat([torch.arange(IMAGE_TOKENS).expand(len(words), -1), batch["position"]], 1)
    hidden = language(
        inputs_embeds=torch.cat([picture, words], 1),
        attention_mask=packed_mask(batch["segment"]),
        position_ids=positions,
        use_cache=False,
    ).last_hidden_state[:, IMAGE_TOKENS:]
    scored = batch["target"] >= 0
    logits = model.lm_head(hidden[scored])
    target = batch["target"][scored]
    return F.cross_entropy(logits, target), logits.argmax(-1) == target


@torch.no_grad()
def features_of(tower: CLIPVisionModel, count: int, seed: int, cache: Path) -> Tensor:
    """Return (count, 64, width) float16 patch features of the training scenes, computed once and kept in
    ``cache``."""
    if cache.exists():
        kept = torch.from_numpy(np.load(cache, mmap_mode="r")[:count].copy())
        if len(kept) == count:
            return kept
    tower.eval()
    parts = []
    for start in range(0, count, 4_000):
        images, _ = rendered(min(4_000, count - start), TRAIN_STREAM + seed, FIRST_SCENE + start)
        parts += [
            patch_features(tower, pixel_values(b)).half()
            for b in np.array_split(images, max(1, len(images) // 200))
        ]
    out = torch.cat(parts)
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.save(cache, out.numpy())
    return out


def load_eyes(model: LlavaForConditionalGeneration, checkpoint: Path) -> CLIPVisionModel:
    """Put a trained tower into ``model`` and freeze it."""
    saved = load_checkpoint(checkpoint)
    if saved is None:
        raise FileNotFoundError(f"{checkpoint}: train the vision stage first (--stage vision)")
    tower: CLIPVisionModel = model.model.vision_tower
    tower.load_state_dict(
        {k.removeprefix("tower."): v for k, v in saved["model"].items() if k.startswith("tower.")}
    )
    tower.requires_grad_(False)
    return tower


@torch.no_grad()
def forget_scripts(
    model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, seed: int
) -> None:
    """Draw anew the input vectors of all pieces that are not plain ASCII: a language in another script must
    be learnt again from what the second phase shows of it."""
    ids = [i for i in range(len(tokenizer)) if not str(tokenizer.decode([i])).isascii()]
    table = model.model.language_model.embed_tokens.weight
    generator = torch.Generator().manual_seed(seed)
    table[ids] = 0.02 * torch.randn(len(ids), table.shape[1], generator=generator)


def _is_hidden(name: str, p: Tensor) -> bool:
    return p.ndim == 2 and ("layers" in name or "projector" in name)


def train_mllm(
    recipe: Recipe,
    work: Path,
    out: Path,
    *,
    seed: int = 0,
    checkpoint_steps: int = 100,
    vocab: int = 1_536,
    limit: float | None = None,
    log: Log = print,
) -> LlavaForConditionalGeneration:
    """Train one MLLM and keep the latest weights in ``out / recipe.name``; resumes from ``work``.

    Stops at the first checkpoint after ``limit`` seconds of training.
    """
    torch.manual_seed(seed)
    tokenizer = train_bpe(seed, vocab)
    model = build(recipe, len(tokenizer))
    tower = load_eyes(model, work / f"{recipe.eyes}.pt")
    trained = nn.ModuleList([model.model.language_model, model.model.multi_modal_projector, model.lm_head])
    optimiser = Optimiser(trained, recipe.lr, recipe.steps, _is_hidden)
    start, clock = 0, Clock()
    saved = load_checkpoint(work / f"{recipe.name}.pt")
    if saved:
        trained.load_state_dict(saved["model"])
        optimiser.load(saved["optimiser"])
        start, clock = saved["step"], Clock(saved["seconds"])
    total = recipe.steps + recipe.polish
    if start < total:
        features = features_of(tower, recipe.scenes, seed, work / f"features-{recipe.eyes}.npy")
        scenes = [draw_scene(TRAIN_STREAM + seed, FIRST_SCENE + i) for i in range(recipe.scenes)]
        asker = Questioner(tokenizer, scenes, recipe, seed)
        log(f"{recipe.name}: {recipe.scenes} scenes ready, {clock.seconds:.0f} s")
    losses: list[float] = []
    hits: list[float] = []
    for step in range(start, total):
        if step == recipe.steps:
            forget_scripts(model, tokenizer, seed)
        batch = asker.batch(step)
        loss, right = packed_loss(model, features[torch.from_numpy(batch["rows"])].float(), batch)
        loss.backward()
        done = step / recipe.steps if step < recipe.steps else (step - recipe.steps) / recipe.polish
        optimiser.step(step, done)
        losses.append(loss.item())
        hits.append(right.float().mean().item())
        if (step + 1) % 50 == 0:
            log(
                f"{recipe.name} {step + 1}/{total} loss {np.mean(losses[-50:]):.3f} "
                f"answer tokens right {np.mean(hits[-50:]):.3f} {clock.seconds:.0f} s"
            )
        if (step + 1) % checkpoint_steps == 0 or step + 1 == total:
            content = {
                "model": trained.state_dict(),
                "optimiser": optimiser.state(),
                "step": step + 1,
                "seconds": clock.seconds,
            }
            save_checkpoint(work / f"{recipe.name}.pt", content)
            export(model, tokenizer, out / recipe.name)
            if limit is not None and clock.seconds > limit:
                break
    return model
