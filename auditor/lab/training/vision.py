"""This module trains the vision tower: a CLIP ViT whose every patch token learns to name the object of its
own quadrant.

Supervising all 64 tokens (exists, shape, colour, texture, digit, quadrant; one linear layer) leaves a
language model that reads them nothing but retrieval to learn.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel

from auditor.lab.scene import COLOURS, SHAPES, SIZE, TEXTURES, Scene, draw_scene, render
from auditor.lab.training.common import Clock, Log, Optimiser, load_checkpoint, save_checkpoint

PATCH: Final = 8
GRID: Final = SIZE // PATCH
HEADS: Final = {
    "exists": 2,
    "shape": len(SHAPES),
    "colour": len(COLOURS),
    "texture": len(TEXTURES),
    "digit": 10,
    "quadrant": 4,
}
TRAIN_STREAM: Final = 1_000
"""Seeds of training scenes are ``TRAIN_STREAM + seed``; no other part of the lab draws from there."""
MEAN: Final = (0.45, 0.42, 0.40)
STD: Final = (0.28, 0.26, 0.26)

# (64,) quadrant of each patch token, row by row.
PATCH_QUADRANT: Final = np.array(
    [2 * (p // GRID * 2 // GRID) + (p % GRID * 2 // GRID) for p in range(GRID * GRID)]
)


def vision_config(width: int = 128, layers: int = 4) -> CLIPVisionConfig:
    """Return the tower's shape."""
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        image_size=SIZE,
        patch_size=PATCH,
        projection_dim=width,
        hidden_act="gelu",
    )


def labels(scene: Scene) -> NDArray[np.int64]:
    """Return (4, 5) labels per quadrant: exists, shape, colour, texture, digit; -100 (ignored) where nothing
    stands."""
    out = np.full((4, 5), -100, dtype=np.int64)
    out[:, 0] = 0
    for item in scene.items:
        out[item.quadrant] = (
            1,
            SHAPES.index(item.shape),
            COLOURS.index(item.colour),
            TEXTURES.index(item.texture),
            item.digit,
        )
    return out


def _chunk(start: int, count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    scenes = [draw_scene(seed, i) for i in range(start, start + count)]
    return np.stack([render(s) for s in scenes]), np.stack([labels(s) for s in scenes])


def rendered(count: int, seed: int, start: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Render pictures (count, 64, 64, 3) and `labels` (count, 4, 5) of a stream of scenes, in two processes
    if many."""
    if count <= 500:
        return _chunk(start, count, seed)
    starts = list(range(start, start + count, 500))
    sizes = [min(500, start + count - s) for s in starts]
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(partial(_chunk, seed=seed), starts, sizes))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def pixel_values(images: NDArray[np.uint8]) -> Tensor:
    """Return (n, 3, 64, 64) float32, as the processors shipped with the weights make them."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    return (x - mean) / std


def patch_features(tower: CLIPVisionModel, pixels: Tensor) -> Tensor:
    """Return (n, 64, width): the last hidden state without the class token, before the post-layernorm, as
    LLaVA reads it."""
    hidden: Tensor = tower(pixel_values=pixels).last_hidden_state
    return hidden[:, 1:]


class AttributeTower(nn.Module):
    """This module is a tower with one linear layer on each patch token that names its quadrant's object."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.tower = CLIPVisionModel(config)
        self.head = nn.Linear(config.hidden_size, sum(HEADS.values()))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return logits per head, each (n, 64, classes)."""
        return list(self.head(patch_features(self.tower, pixels)).split(list(HEADS.values()), dim=-1))


def attribute_loss(logits: list[Tensor], target: Tensor) -> Tensor:
    """Return the mean cross-entropy over heads; ``target`` (n, 4, 5) is spread over each quadrant's
    patches."""
    spread = target[:, torch.from_numpy(PATCH_QUADRANT)]
    quadrant = torch.from_numpy(PATCH_QUADRANT).expand(len(target), -1)
    columns = [*spread.unbind(-1), quadrant]
    losses = [F.cross_entropy(x.flatten(0, 1), y.flatten()) for x, y in zip(logits, columns, strict=True)]
    weights = (1.0, 1.0, 1.0, 1.0, 2.0, 0.2)  # the digit is the hardest, the quadrant the easiest
    return torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum() / sum(weights)


@torch.no_grad()
def attribute_accuracy(
    model: AttributeTower, images: NDArray[np.uint8], target: NDArray[np.int64]
) -> dict[str, float]:
    """Return the share right per head, each quadrant's prediction summed over its sixteen patches."""
    model.eval()
    logits = [
        torch.cat(part)
        for part in zip(
            *(model(pixel_values(b)) for b in np.array_split(images, max(1, len(images) // 250))), strict=True
        )
    ]
    model.train()
    out = {}
    truth = torch.from_numpy(target)
    for k, name in enumerate(list(HEADS)[:5]):
        votes = torch.stack([logits[k][:, q == PATCH_QUADRANT].sum(1) for q in range(4)], 1).argmax(-1)
        keep = truth[..., k] >= 0
        out[name] = float((votes == truth[..., k])[keep].float().mean())
    return out


def train_vision(
    work: Path,
    *,
    seed: int = 0,
    steps: int = 1_800,
    batch: int = 96,
    scenes: int = 48_000,
    lr: float = 2e-3,
    early: int = 500,
    limit: float | None = None,
    log: Log = print,
) -> AttributeTower:
    """Train the tower; resumes from ``work``, stops at the first checkpoint after ``limit`` seconds.

    ``vision-early.pt`` keeps the state of step ``early``: the weak model's eyes.
    """
    torch.manual_seed(seed)
    model = AttributeTower(vision_config())
    optimiser = Optimiser(model, lr, steps, lambda n, p: p.ndim == 2 and "layers" in n)
    saved = load_checkpoint(work / "vision.pt")
    start, clock = 0, Clock()
    if saved:
        model.load_state_dict(saved["model"])
        optimiser.load(saved["optimiser"])
        start, clock = saved["step"], Clock(saved["seconds"])
    if start >= steps:
        return model
    images, target = rendered(scenes, TRAIN_STREAM + seed)
    log(f"vision: rendered {scenes} scenes, {clock.seconds:.0f} s")
    held, held_target = rendered(500, TRAIN_STREAM + seed, start=10_000_000)
    targets = torch.from_numpy(target)
    per_epoch = scenes // batch
    for step in range(start, steps):
        order = np.random.default_rng((seed, step // per_epoch)).permutation(scenes)
        rows = np.sort(order[step % per_epoch * batch :][:batch])
        loss = attribute_loss(model(pixel_values(images[rows])), targets[rows])
        loss.backward()
        optimiser.step(step)
        saved_now = (step + 1) % 100 == 0 or step + 1 == steps
        if saved_now:
            score = attribute_accuracy(model, held, held_target)
            log(
                f"vision {step + 1}/{steps} loss {loss.item():.3f} {clock.seconds:.0f} s "
                + " ".join(f"{k} {v:.3f}" for k, v in score.items())
            )
            save_checkpoint(
                work / "vision.pt",
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state(),
                    "step": step + 1,
                    "seconds": clock.seconds,
                },
            )
        if step + 1 == min(early, steps):
            save_checkpoint(work / "vision-early.pt", {"model": model.state_dict()})
        if saved_now and limit is not None and clock.seconds > limit:
            break
    return model
