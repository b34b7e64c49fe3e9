"""Items of work come in a deterministic order, each once, and are cut into shards of fixed size.

A shard is made whole or not at all, whoever makes it and however often; its name tells its content. So any
number of workers, and any number of crashes, give the same shards.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Generic, Literal, Protocol, TypeVar

from schemas.record import Image, Turn


class Item(Protocol):
    """An `Item` is work to be done once, whoever asks for it: two items of one key are the same item."""

    @property
    def key(self) -> str: ...


T = TypeVar("T", bound=Item)


@dataclass(frozen=True, slots=True)
class ContentItem:
    """A `ContentItem` is a content to embed: an admitted image (by path or bytes) or a text. `key` is its
    SHA-256 (hex)."""

    key: str
    kind: Literal["image", "text"]
    image: Image | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class PromptItem:
    """A `PromptItem` is a prompt to answer: admitted images, earlier turns and the query's text."""

    key: str
    images: tuple[Image, ...] = ()
    text: str = ""
    history: tuple[Turn, ...] = ()


def text_key(text: str) -> str:
    """Return the content key of a text: SHA-256 (hex) of its UTF-8."""
    return sha256(text.encode()).hexdigest()


def image_key(image: Image) -> str:
    """Return the content key of an image: its digest. ValueError where the image has not been admitted."""
    if image.digest is None:
        raise ValueError(f"image {image.path or 'given by its bytes'} has no digest: admit it first")
    return image.digest


def prompt_key(images: Sequence[Image], text: str, history: Sequence[Turn] = ()) -> str:
    """Return the content key of a prompt: SHA-256 (hex) of its image digests, earlier turns and text."""
    parts = [[image_key(i) for i in images], [[t.role, t.text] for t in history], text]
    return sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def text_item(text: str) -> ContentItem:
    return ContentItem(text_key(text), "text", text=text)


def image_item(image: Image) -> ContentItem:
    return ContentItem(image_key(image), "image", image=image)


def prompt_item(images: Sequence[Image], text: str, history: Sequence[Turn] = ()) -> PromptItem:
    return PromptItem(prompt_key(images, text, history), tuple(images), text, tuple(history))


@dataclass(frozen=True, slots=True)
class Shard(Generic[T]):
    """A `Shard` holds items that are done together. `name` is a hash of the work's identity and of their
    keys."""

    name: str
    items: tuple[T, ...]
    condemned: tuple[tuple[str, str], ...] = ()
    """(key, error) of items that ended or hung a worker: a blank takes their place, and the error stands
    beside their key in what is written."""

    def __len__(self) -> int:
        return len(self.items)


def cut(
    items: Iterable[T],
    size: int,
    identity: str,
    done: Container[str] = (),
    failed: Container[str] = (),
) -> list[Shard[T]]:
    """Return the shards of `cut_lazily`, all of them at once."""
    return list(cut_lazily(items, size, identity, done, failed))


def cut_lazily(
    items: Iterable[T],
    size: int,
    identity: str,
    done: Container[str] = (),
    failed: Container[str] = (),
) -> Iterator[Shard[T]]:
    """Yield shards of at most `size` items, in the order in which their keys first come.

    `done` holds the keys that whole shards of an earlier run have; `failed` those among them that came out as
    an error and are worth another try. What was never done is cut first and by itself: after a crash, done
    keys fall out by whole shards, so what is left is cut into just the shards that were missing. (Were failed
    items cut among them, every later shard would shift.)
    """
    if size < 1:
        raise ValueError(f"a shard holds at least one item, not {size}")
    new: list[T] = []
    again: list[T] = []
    seen: set[bytes] = set()
    for item in items:
        short = blake2b(item.key.encode(), digest_size=16).digest()
        if short in seen:
            continue
        seen.add(short)
        if item.key in failed:
            again.append(item)
        elif item.key not in done:
            new.append(item)
            if len(new) == size:
                yield _shard(new, identity)
                new = []
    if new:
        yield _shard(new, identity)
    for start in range(0, len(again), size):
        yield _shard(again[start : start + size], identity)


@dataclass(frozen=True)
class Cut(Generic[T]):
    """A `Cut` gives the shards of `cut_lazily`, drawn anew in each iteration. Items (images given by their
    bytes among them) are made when their shard is, so those of a few shards are in memory, however many there
    are."""

    items: Callable[[], Iterable[T]]
    """The same items in each call."""
    size: int
    identity: str
    done: Container[str] = ()
    failed: Container[str] = ()

    def __iter__(self) -> Iterator[Shard[T]]:
        return cut_lazily(self.items(), self.size, self.identity, self.done, self.failed)

    def count(self) -> int:
        """Return the number of items in all shards."""
        return sum(map(len, self))


def _shard(items: Sequence[T], identity: str) -> Shard[T]:
    # JSON keeps the keys apart: no two lists of keys are written the same way.
    content = json.dumps([identity, [item.key for item in items]], ensure_ascii=False).encode()
    return Shard(blake2b(content, digest_size=16).hexdigest(), tuple(items))
