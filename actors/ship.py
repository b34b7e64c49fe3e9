"""Images travel inside their shard, where workers do not see the folder that they lie in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from auditor.errors import RowError
from auditor.records.media import MediaPolicy, load_image
from auditor.storage.work_units import ContentItem, PromptItem, Shard
from schemas.record import Image

SAMPLES = 3
"""Images that every node is asked to open."""

T = TypeVar("T", ContentItem, PromptItem)


@dataclass(frozen=True, slots=True)
class ShippedImage(Image):
    """The bytes of such an image are read, under the driver's own rules, when it is pickled for a worker: the
    driver holds those of the shards that are on their way and no others. It arrives as a plain `Image` with
    its bytes (one that cannot be read arrives by its path, and the worker says that it is missing)."""

    policy: MediaPolicy = field(default_factory=MediaPolicy)

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return Image, (None, load_image(self, self.policy), self.digest)
        except RowError:
            return Image, (self.path, None, self.digest)


def shipped(shards: Iterable[Shard[T]], policy: MediaPolicy) -> Iterator[Shard[T]]:
    """Yield the same shards, of the same names; their images are read here when a shard leaves for a
    worker."""
    for shard in shards:
        yield Shard(shard.name, tuple(_ship(item, policy) for item in shard.items))


def _ship(item: T, policy: MediaPolicy) -> T:
    if isinstance(item, PromptItem):
        return replace(item, images=tuple(_image(image, policy) for image in item.images))
    return item if item.image is None else replace(item, image=_image(item.image, policy))


def _image(image: Image, policy: MediaPolicy) -> Image:
    return image if image.path is None else ShippedImage(image.path, image.data, image.digest, policy)


def by_path(shards: Iterable[Shard[T]]) -> list[Image]:
    """Return at most `SAMPLES` images that are named by a path, from over all the shards."""
    chosen: list[Image] = []
    step = 1
    for index, shard in enumerate(shards):
        named = next(filter(_is_path, _images(shard)), None) if index % step == 0 else None
        if named is not None:
            chosen.append(named)
        if len(chosen) > 2 * SAMPLES:
            chosen, step = chosen[::2], 2 * step
    return [chosen[index] for index in sorted({0, len(chosen) // 2, len(chosen) - 1})] if chosen else []


def _images(shard: Shard[T]) -> Iterator[Image | None]:
    for item in shard.items:
        yield from item.images if isinstance(item, PromptItem) else (item.image,)


def _is_path(image: Image | None) -> bool:
    return image is not None and image.path is not None and image.data is None
