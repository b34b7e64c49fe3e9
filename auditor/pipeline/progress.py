"""What a stage of work tells while it runs. How it is shown (bars, log lines) is the caller's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a stage is."""

    stage: str
    total: int
    """Rows to do."""
    done: int
    """Rows done, failed ones among them."""
    errors: int
    """Rows done that have no result."""
    seconds: float
    """Since the stage began."""

    @property
    def rate(self) -> float:
        """Rows a second so far."""
        return self.done / self.seconds if self.seconds > 0 else 0.0


class Progress(Protocol):
    """Called in the driver, a few times a second at most."""

    def update(self, tally: Tally) -> None:
        """A stage began, or a shard of it is done."""
        ...

    def waiting(self, what: str) -> None:
        """Nothing was done for some seconds; `what` is waited for."""
        ...


class Silent:
    """Shows nothing."""

    def update(self, tally: Tally) -> None:
        pass

    def waiting(self, what: str) -> None:
        pass
