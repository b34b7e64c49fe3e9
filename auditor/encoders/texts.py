"""This module turns texts into vectors in fixed padded shapes."""

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
CPU_TOKENS = 512
"""Tokens of a batch on the CPU, padding included. MiniLM on one core took 0.71 ms a token in batches of 16,
0.33 at 128, 0.27 at 512 and 0.28 at 4,096: more tokens fall out of its cache, and more rows are fillers."""
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
    """This class is an `Encoder` of texts around a loaded model.

    A text is padded to the first of `lengths` that holds it, which depends on that text alone; every length
    has its own batches of `batch` rows (on the CPU fewer, about CPU_TOKENS tokens), filled with empty texts.
    So the same arithmetic is done for a text whoever comes with it.
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
        self._tokens = CPU_TOKENS if torch.device(device).type == "cpu" else None
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
                "tokens": self._tokens,
                "threads": threads,
                "torch": torch.__version__,
            },
            sort_keys=True,
        )

    @property
    def identity(self) -> str:
        """Return canonical JSON of everything that changes the output."""
        return self._identity

    def encode(self, contents: Sequence[bytes] | Sequence[str]) -> Array:
        """Return vectors (n, dim) float32, not normalised. A text without any token (some tokenizers of the
        empty text) is NaN."""
        texts = list(cast(Sequence[str], contents))
        out = np.full((len(texts), self.dim), np.nan, dtype=np.float32)
        if not texts:
            return out
        # The empty text goes last: it is the row that fills a batch.
        ids = self._tokenizer([*texts, ""], truncation=True, max_length=self._lengths[-1])["input_ids"]
        blank = ids.pop()
        with fixed_threads(self._threads), computing(self._dtype, self._device):
            for length, rows in self._batches(ids):
                tokens = [ids[i] for i in rows] + [blank] * (self._rows(length) - len(rows))
                out[rows] = self._vectors(tokens, length)[: len(rows)]
        return out

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Count the tokens of all `texts` together, without those that the tokenizer adds to every text;
        nothing is cut."""
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
            size = self._rows(length)
            for start in range(0, len(rows), size):
                yield length, rows[start : start + size]
            shortest = length

    def _rows(self, length: int) -> int:
        """Rows of a batch of this padded length."""
        return self._batch if self._tokens is None else min(self._batch, max(1, self._tokens // length))

    def _vectors(self, tokens: list[list[int]], length: int) -> Array:
        import torch

        ids = torch.full((len(tokens), length), self._tokenizer.pad_token_id or 0)
        mask = torch.zeros((len(tokens), length), dtype=torch.long)
        for i, row in enumerate(tokens):
            ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
            mask[i, : len(row)] = 1
        mask = mask.to(self._device)
        states = self._hidden(ids.to(self._device), mask).float()
        return pool(states, mask, self._pooling).cpu().numpy()


def pool(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Pool vectors (n, d) from hidden states (n, length, d) and the attention mask (n, length), padding on
    the right."""
    if pooling == "first":
        return states[:, 0]
    if pooling == "mean-but-first":
        mask = mask.clone()
        mask[:, 0] = 0
    kept = mask.unsqueeze(-1).to(states.dtype)
    return (states * kept).sum(1) / kept.sum(1)


def padded_lengths(max_length: int) -> tuple[int, ...]:
    """Return the lengths that texts are padded to: every 16 up to 128, every 32 up to 256, every 64 up to
    512, and so on, and `max_length` itself. Of a text of more than 112 tokens at most an eighth is padding,
    give or take."""
    lengths = []
    length = step = 16
    while length < max_length:
        lengths.append(length)
        if length == 8 * step:
            step *= 2
        length += step
    return (*lengths, max_length)
