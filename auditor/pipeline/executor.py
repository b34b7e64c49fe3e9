"""This is the contract between the steps and what runs them: a stage of work, its workers, and an executor of
stages.

A step hands over a worker (a class), its settings and shards, and hears when each shard is done. Whether
that happens in this process (`auditor.pipeline.serial`) or on a Ray cluster is the executor's business: the
shards are the same, each is made whole or not at all, and the bits are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from auditor.pipeline.progress import Progress, Tally
from auditor.records import MediaPolicy
from auditor.storage.run_dir import RunDir
from auditor.storage.work_units import ContentItem, Item, PromptItem, Shard
from schemas.record import Image

T = TypeVar("T", bound=Item)
C = TypeVar("C", ContentItem, PromptItem)

POISON_ROWS = 20
"""Rows that a stage may condemn before its model is taken to be at fault."""


class ShardResult(NamedTuple):
    """A worker says this about a shard that it has written."""

    shard: str
    rows: int
    errors: int
    seconds: float


class Worker(Protocol[T]):
    """A worker is constructed where the work is done, from settings, and makes one shard after another."""

    def run(self, shard: Shard[T]) -> ShardResult:
        """Write the shard, whole, and return what was done. Making it again replaces it by the same."""
        ...


class Isolating(Worker[T], Protocol):
    """The bad rows of such a worker can be found: it knows how to leave out the `condemned` of a shard in
    `run`, and how to try some rows."""

    def probe(self, shard: Shard[T]) -> None:
        """Do what `run` does with these rows, and write nothing. An empty shard stands for a blank alone."""
        ...


class Identified(Protocol):
    """Such a worker works with something (an encoder, a generator) that has an identity."""

    @property
    def identity(self) -> str: ...


@dataclass(frozen=True)
class Stage:
    """A stage of work says what one of its workers needs."""

    name: str
    """The name that people see."""
    gpus: float = 0.0
    """GPUs of one worker, where there are GPUs: a share of one, or a whole number."""
    replicas: int | Literal["auto"] = "auto"
    """Workers wanted."""
    longer: float = 1.0
    """How many times `workers.stall_seconds` a unit may take."""
    least_seconds: float = 0.0
    """Seconds that a unit may take in any case."""
    work_seconds: float | None = None
    """Seconds, about, that all of it takes on one thread, where that is known: a little is not worth starting
    workers."""
    hangs: bool = True
    """Whether `workers.hang_seconds` counts: not where a unit has bounds of its own (an endpoint's)."""


HOUR = 3600.0
"""For stages whose units are large, such as the training of a critic."""


class Staff(Protocol):
    """The staff are the workers of one stage."""

    @property
    def count(self) -> int:
        """Return the number of workers."""
        ...

    @property
    def gpus(self) -> float:
        """Return the GPUs that each worker has."""
        ...

    @property
    def device(self) -> str:
        """Return the torch device that workers compute on."""
        ...

    def identify(self, make: Callable[[Any], Identified], settings: Any) -> str:
        """Return the identity of what a worker works with. Raises `AuditError` where none can be started."""
        ...

    def run(
        self,
        make: Callable[[Any], Worker[T]],
        settings: Any,
        shards: Iterable[Shard[T]],
        *,
        total: int | None = None,
        done: Container[str] = (),
        on_done: Callable[[ShardResult], None] = lambda result: None,
        least_seconds: float = 0.0,
    ) -> Tally:
        """Make every shard whose name is not in `done`. `shards` is drawn from as workers need them; `total`
        is the number of rows in it, where it is known (of a list it is). `on_done` is called here, in the
        order in which shards come to be done. `least_seconds`: as in `Stage`, where it is known only now.

        Interrupted at any moment, whole shards stay and nothing else. Raises `AuditError` where a shard fails
        for good.
        """
        ...


class Executor(Protocol):
    """An executor runs stages, one after the other."""

    @property
    def name(self) -> str:
        """Return the executor's name, `serial` or `ray`."""
        ...

    @property
    def description(self) -> str:
        """Say in words, for people, what was taken and how large it is."""
        ...

    @property
    def alone(self) -> bool:
        """Return whether all the work is done on this machine."""
        ...

    def staff(self, stage: Stage) -> AbstractContextManager[Staff]:
        """Open the workers of a stage; they are there while the block runs. Raises `BadInput` where none
        fits."""
        ...

    def check_run(self, run: RunDir) -> None:
        """Raise `BadInput`, with the node, where not all nodes write and read the run directory."""
        ...

    def check_weights(self, name: str) -> None:
        """Raise `BadInput`, with the node, where weights are a directory that is not the same on all
        nodes."""
        ...

    def check_images(self, media: MediaPolicy, images: Sequence[Image]) -> None:
        """Raise `BadInput` where not every node opens `images`, which workers are to open by themselves."""
        ...

    def within_reach(self, media: MediaPolicy, shards: Iterable[Shard[C]]) -> Iterable[Shard[C]]:
        """Return the shards, with their images' bytes where not every node opens the files that they name.
        `shards` must be iterable twice."""
        ...


class Opening(Protocol):
    """An opening makes an executor: the entry points of the group `shift_auditor.executors` are openings."""

    def __call__(
        self, workers: Any, threads: int, progress: Progress
    ) -> AbstractContextManager[Executor]: ...
