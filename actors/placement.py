"""A pool's GPUs are one bundle a worker, reserved before the work starts and given back after it.

A bundle lies on one node, so a worker that needs several GPUs (tensor parallel) gets them all of one node,
and Ray gives no GPU of a bundle to anybody else. Shares below one are laid side by side on a GPU. Stages
follow one another, so a stage has whatever GPUs the one before it had: answers must be there before they can
be embedded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ray.util.placement_group import placement_group, remove_placement_group

from actors.cluster import PoolSize, free_room
from auditor.errors import AuditError
from auditor.pipeline.progress import Progress, Silent

TICK_SECONDS = 5


@contextmanager
def placed(size: PoolSize, wait_seconds: float, progress: Progress | None = None) -> Iterator[PoolSize]:
    """Reserve the GPUs of `size` while the block runs; a pool without GPUs needs no reservation.

    The reservation belongs to this driver: the cluster takes it back when the driver ends or dies. Raises
    `AuditError`, with the numbers, where the GPUs were not to be had within `wait_seconds` (somebody else
    took them since the pool was sized); meanwhile `progress` shows what is waited for.
    """
    if not size.gpus:
        yield size
        return
    bundle = {"CPU": float(size.threads), "GPU": size.gpus}
    request = f"{size.workers} workers of {size.gpus:g} GPUs and {size.threads} CPUs each"
    began = time.monotonic()
    group = placement_group([bundle] * size.workers, strategy="PACK")
    try:
        while not group.wait(min(TICK_SECONDS, wait_seconds)):
            waited = time.monotonic() - began
            if waited >= wait_seconds:
                raise AuditError(
                    f"{request} found no room in {waited:.0f} s (workers.stall_seconds); {free_room()}; "
                    "wait until other jobs have ended, or ask for fewer (models.replicas, workers.gpu)"
                )
            (progress or Silent()).waiting(
                f"for {waited:.0f} s waiting for room for {request}; {free_room()}"
            )
        yield replace(size, group=group)
    finally:
        remove_placement_group(group)
