"""What all trained estimators share: batches with rows held out, and AdamW with early stopping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditor.sketch import Floats, as_rows

if TYPE_CHECKING:
    import torch

    Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

CHECK_EVERY = 50
"""Steps between two looks at the held-out loss."""
_LEAST_HELD_OUT = 8
"""With fewer rows than this to hold out, the training rows judge: better than a coin."""


def pairs(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """x (n, d_x) and y (n, d_y), checked. ValueError where they are not as many, or a row is not finite."""
    xs, ys = as_rows(x, "x"), as_rows(y, "y")
    if len(xs) != len(ys):
        raise ValueError(f"{len(xs)} rows of x and {len(ys)} of y: pairs are needed")
    return xs, ys


def linear_weights(
    out: int, fan_in: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(out, fan_in) weights and (out,) biases of a layer by torch.nn.Linear's own law, U(±1/√fan_in), without
    touching torch's global generator."""
    limit = 1 / np.sqrt(fan_in)
    return (
        rng.uniform(-limit, limit, (out, fan_in)).astype(np.float32),
        rng.uniform(-limit, limit, out).astype(np.float32),
    )


class Batches:
    """Pairs on a device, split into training rows and rows held out by group."""

    def __init__(
        self,
        x: Floats,
        y: Floats,
        rng: np.random.Generator,
        batch: int,
        holdout: float,
        groups: ArrayLike | None,
        device: str,
    ) -> None:
        import torch

        n = len(x)
        if n < 2:
            raise ValueError(f"training needs at least two pairs, not {n}")
        out = _held_out(n, holdout, groups, rng)
        train, test = np.flatnonzero(~out), np.flatnonzero(out if out.any() else ~out)
        self._x, self._y = (torch.tensor(z, dtype=torch.float32, device=device) for z in (x, y))
        self._train = train
        self._rng = rng
        self._batch = min(batch, len(train))
        self._device = device
        index = torch.from_numpy(test).to(device)
        self.held_out = (self._x[index], self._y[index])

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Endless batches of one size: epochs of shuffled training rows, the remainder of each left out."""
        import torch

        while True:
            order = self._rng.permutation(self._train)
            for start in range(0, len(order) - self._batch + 1, self._batch):
                index = torch.from_numpy(order[start : start + self._batch]).to(self._device)
                yield self._x[index], self._y[index]


def _held_out(
    n: int, holdout: float, groups: ArrayLike | None, rng: np.random.Generator
) -> NDArray[np.bool_]:
    labels = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(labels) != n:
        raise ValueError(f"{len(labels)} group labels for {n} rows")
    order = rng.permutation(int(labels.max()) + 1)
    out = np.isin(labels, order[: int(holdout * len(order))])
    return out if _LEAST_HELD_OUT <= out.sum() < n else np.zeros(n, dtype=bool)


def early_stopped(
    parameters: list[torch.Tensor], loss: Loss, data: Batches, steps: int, lr: float, patience: int
) -> list[NDArray[np.float32]]:
    """The parameters of least held-out loss within `steps` steps of AdamW, as numpy arrays.

    Stops when that loss has not fallen for `patience` steps. ValueError where it never was finite.
    """
    import torch

    optimizer = torch.optim.AdamW(parameters, lr=lr)
    best, least, best_step = [p.detach().clone() for p in parameters], float("inf"), 0
    for step, (xb, yb) in enumerate(data, start=1):
        optimizer.zero_grad()
        loss(xb, yb).backward()
        optimizer.step()
        if step % CHECK_EVERY == 0 or step == steps:
            with torch.no_grad():
                held_out = float(loss(*data.held_out))
            if held_out < least:
                best, least, best_step = [p.detach().clone() for p in parameters], held_out, step
            if step >= steps or step - best_step >= patience:
                break
    if not np.isfinite(least):
        raise ValueError(
            "training diverged: the held-out loss was never finite (normalise the rows, lower lr)"
        )
    return [p.cpu().numpy() for p in best]
