"""Images that travel inside their shard, where workers do not see the folder that they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from auditor.errors import RowError
from auditor.records.media import MediaPolicy, load_image
from auditor.shards import ContentItem, PromptItem, Shard
from schemas.record import Image

SAMPLES = 3
"""Images that every node is asked to open."""

T = TypeVar("T", ContentItem, PromptItem)


@dataclass(frozen=True, slots=True)
class ShippedImage(Image):
    """An image whose bytes are read, under the driver's own rules, when it is pickled for a worker: the
    driver holds those of the shards that are on their way and no others. It arrives as a plain `Image` with
    its bytes (one that cannot be read arrives by its path, and the worker says that it is missing)."""

    policy: MediaPolicy = field(default_factory=MediaPolicy)

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return Image, (None, load_image(self, self.policy), self.digest)
        except RowError:
            return Image, (self.path, None, self.digest)


def shipped(shards: Sequence[Shard[T]], policy: MediaPolicy) -> list[Shard[T]]:
    """The same shards, of the same names, whose images are read here when a shard leaves for a worker."""
    return [Shard(shard.name, tuple(_ship(item, policy) for item in shard.items)) for shard in shards]


def _ship(item: T, policy: MediaPolicy) -> T:
    if isinstance(item, PromptItem):
        return replace(item, images=tuple(_image(image, policy) for image in item.images))
    return item if item.image is None else replace(item, image=_image(item.image, policy))


def _image(image: Image, policy: MediaPolicy) -> Image:
    return image if image.path is None else ShippedImage(image.path, image.data, image.digest, policy)


def by_path(shards: Sequence[Shard[T]]) -> list[Image]:
    """At most `SAMPLES` images that are named by a path, from over all the shards."""
    found: list[Image] = []
    for at in sorted({0, len(shards) // 2, len(shards) - 1}) if shards else ():
        for item in shards[at].items:
            images = item.images if isinstance(item, PromptItem) else (item.image,)
            named = next((i for i in images if i is not None and i.path is not None and i.data is None), None)
            if named is not None:
                found.append(named)
                break
    return found[:SAMPLES]
