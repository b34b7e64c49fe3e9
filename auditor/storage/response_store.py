"""A model's answers are written as shards and read back by the key of their prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from auditor.storage.row_cache import PARQUET, Decoded, Failure, ShardIndex, by_shard
from schemas.record import Reason
from schemas.response import RESPONSES, Answer

CACHE_BYTES = 64 * 2**20


def checked(answer: Answer) -> Answer:
    """Return `answer`, with an error where it has no usable text: an empty answer is never taken from a
    cache."""
    if answer.error is not None:
        return Answer(error=str(Failure.parse(answer.error)))
    if not answer.texts:
        return Answer(error=str(Failure(Reason.MODEL_FAILED, "no answer came back")))
    if not any(text.strip() for text in answer.texts):
        return Answer(error=str(Failure(Reason.EMPTY_RESPONSE, "")))
    return answer


def response_table(keys: Sequence[str], answers: Sequence[Answer]) -> pa.Table:
    """Return a shard of answers, one a prompt. An answer with an error keeps nothing else."""
    good = [checked(answer) for answer in answers]
    return pa.table(
        {
            "key": list(keys),
            "texts": [list(a.texts) for a in good],
            "logprobs": [list(a.logprobs) for a in good],
            "tokens": [list(a.tokens) for a in good],
            "error": [a.error for a in good],
        },
        schema=RESPONSES,
    )


class ResponseStore:
    """A `ResponseStore` reads a folder of shards of one model's answers, as it is when the store is opened.

    Memory: 24 bytes a key, and at most `cache_bytes` of decoded shards (by their size in Arrow).
    """

    def __init__(self, folder: Path, cache_bytes: int = CACHE_BYTES) -> None:
        self._index = ShardIndex(folder, PARQUET)
        self._shards = Decoded(self._index, lambda t: t.combine_chunks(), lambda t: t.nbytes, cache_bytes)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: object) -> bool:
        """Whether the prompt has been put to the model (it may have failed)."""
        return key in self._index

    def errors(self) -> dict[str, Failure]:
        """Return the prompts that have no answer, and why."""
        return self._index.failures

    def answers(self, keys: Sequence[str]) -> list[Answer]:
        """Return the answer to each prompt, in the order of `keys`; one that failed has its `error`. Raises
        `AuditError` where a prompt was never put to the model."""
        answers = [Answer()] * len(keys)
        for shard, positions, shard_rows in by_shard(self._index.places(keys)):
            for position, row in zip(
                positions, self._shards[shard].take(shard_rows).to_pylist(), strict=True
            ):
                answers[position] = Answer(
                    tuple(row["texts"]), tuple(row["logprobs"]), tuple(row["tokens"]), row["error"]
                )
        return answers
