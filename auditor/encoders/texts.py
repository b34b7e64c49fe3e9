"""Texts to vectors in fixed padded shapes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from auditor.encoders.precision import Precision, computing, settle
from auditor.encoders.pretrained import fixed_threads, tokenizer_digest, weights_digest
from auditor.protocols import Array, Modality

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

Pooling = Literal["mean", "mean-but-first", "first"]
"""Over the attended tokens: their mean, the mean of all but the first (as published), or the first alone."""
POOLINGS: tuple[str, ...] = get_args(Pooling)
LONGEST = 512
"""Longer texts are cut here (or where the model's positions end); part of the identity as the last length."""
PROBE = (
    "red",
    "What colour is the square on the left?",
    "How many people are standing behind the counter, and what is the one with the hat holding? " * 4,
    "Was steht auf dem Schild?",
    "1234567890 + 0.5 = ?",
    "这张图片里有什么?",
)
"""Short and long, of more than one script: what a cheaper arithmetic is tried on."""


class TextEncoder:
    """An `Encoder` of texts around a loaded model.

    A text is padded to the first of `lengths` that holds it, which depends on that text alone; every length
    has its own batches of `batch` rows, filled with empty texts. So the same arithmetic is done for a text
    whoever comes with it.
    """

    modality: Modality = "text"

    def __init__(
        self,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        *,
        dim: int,
        hidden: Callable[[Tensor, Tensor], Tensor],
        pooling: Pooling,
        max_length: int,
        multilingual: bool,
        settings: Mapping[str, Any],
        device: str,
        threads: int,
        batch: int,
        precision: Precision,
    ) -> None:
        """`hidden`: token ids and attention mask, both (batch, length) -> hidden states (batch, length, dim);
        `settings`: what the identity says besides weights, pooling, lengths, batch, threads and type."""
        import torch

        self.dim = dim
        self.multilingual = multilingual
        self._tokenizer = tokenizer
        self._hidden = hidden
        self._pooling = pooling
        self._lengths = padded_lengths(max_length)
        self._device = device
        self._threads = threads
        self._batch = batch
        self._dtype = torch.float32
        self._dtype = settle(settings["name"], precision, device, self._probe)
        self._identity = json.dumps(
            {
                **settings,
                "weights": weights_digest(model),
                "tokenizer": tokenizer_digest(tokenizer),
                "pooling": pooling,
                "lengths": self._lengths,
                "dtype": str(self._dtype).removeprefix("torch."),
                "device": torch.device(device).type,
                "batch": batch,
                "threads": threads,
                "torch": torch.__version__,
            },
            sort_keys=True,
        )

    @property
    def identity(self) -> str:
        """Canonical JSON of everything that changes the output."""
        return self._identity

    def encode(self, contents: Sequence[bytes] | Sequence[str]) -> Array:
        """(n, dim) float32, not normalised. A text without any token (some tokenizers of the empty text) is
        NaN."""
        texts = list(cast(Sequence[str], contents))
        out = np.full((len(texts), self.dim), np.nan, dtype=np.float32)
        if not texts:
            return out
        # The empty text goes last: it is the row that fills a batch.
        ids = self._tokenizer([*texts, ""], truncation=True, max_length=self._lengths[-1])["input_ids"]
        blank = ids.pop()
        with fixed_threads(self._threads), computing(self._dtype, self._device):
            for length, rows in self._batches(ids):
                tokens = [ids[i] for i in rows] + [blank] * (self._batch - len(rows))
                out[rows] = self._vectors(tokens, length)[: len(rows)]
        return out

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Tokens of all `texts` together, without those that the tokenizer adds to every text; nothing is
        cut."""
        if not texts:
            return 0
        return sum(len(row) for row in self._tokenizer(list(texts), add_special_tokens=False)["input_ids"])

    def _probe(self, dtype: torch.dtype) -> Array:
        """Vectors of the probe, computed in `dtype`."""
        before, self._dtype = self._dtype, dtype
        try:
            return self.encode(PROBE)
        finally:
            self._dtype = before

    def _batches(self, ids: list[list[int]]) -> Iterator[tuple[int, list[int]]]:
        shortest = 0
        for length in self._lengths:
            rows = [i for i, row in enumerate(ids) if shortest < max(len(row), 1) <= length]
            for start in range(0, len(rows), self._batch):
                yield length, rows[start : start + self._batch]
            shortest = length

    def _vectors(self, tokens: list[list[int]], length: int) -> Array:
        import torch

        ids = torch.full((self._batch, length), self._tokenizer.pad_token_id or 0)
        mask = torch.zeros((self._batch, length), dtype=torch.long)
        for i, row in enumerate(tokens):
            ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
            mask[i, : len(row)] = 1
        mask = mask.to(self._device)
        states = self._hidden(ids.to(self._device), mask).float()
        return pool(states, mask, self._pooling).cpu().numpy()


def pool(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """(n, d) from hidden states (n, length, d) and the attention mask (n, length), padding on the right."""
    if pooling == "first":
        return states[:, 0]
    if pooling == "mean-but-first":
        mask = mask.clone()
        mask[:, 0] = 0
    kept = mask.unsqueeze(-1).to(states.dtype)
    return (states * kept).sum(1) / kept.sum(1)


def padded_lengths(max_length: int) -> tuple[int, ...]:
    """The lengths that texts are padded to: 16, 32, 64, ... and `max_length` itself."""
    lengths = []
    length = 16
    while length < max_length:
        lengths.append(length)
        length *= 2
    return (*lengths, max_length)
