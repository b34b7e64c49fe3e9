"""A job asks this of the nodes of its cluster before it sends them work. A cluster of one node is asked
nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from actors.cluster import Cluster
from actors.ship import by_path, shipped
from actors.storage import all_can_open, check_directory, check_shared, working_nodes
from auditor.errors import BadInput
from auditor.records import MediaPolicy
from auditor.storage.run_dir import RunDir
from auditor.storage.work_units import ContentItem, PromptItem, Shard
from schemas.record import Image

T = TypeVar("T", ContentItem, PromptItem)

log = logging.getLogger(__name__)


def check_run(cluster: Cluster, run: RunDir) -> None:
    """Raise `BadInput`, with the node, where not all nodes write and read the run directory."""
    if len(cluster.free) > 1:
        check_shared(run.root, working_nodes())


def check_weights(cluster: Cluster, name: str) -> None:
    """Raise `BadInput`, with the node, where weights are a directory that is not the same on all nodes.
    (Those of a hub are told apart by their digest, when a worker has loaded them.)"""
    if len(cluster.free) > 1 and (path := Path(name)).is_absolute():
        check_directory(path, working_nodes())


def check_images(cluster: Cluster, media: MediaPolicy, images: Sequence[Image]) -> None:
    """Raise `BadInput` where not every node opens `images`, which workers are to open by themselves."""
    if len(cluster.free) > 1 and images and not all_can_open(images, media, working_nodes()):
        raise BadInput(
            "data.media_root: not every node can open the images under it; put them on storage that every "
            "node mounts, or into the records (image_bytes)"
        )


def within_reach(cluster: Cluster, media: MediaPolicy, shards: Iterable[Shard[T]]) -> Iterable[Shard[T]]:
    """Return the shards, with their images' bytes where not every node opens the files that they name.
    `shards` must be iterable twice."""
    if len(cluster.free) == 1 or not (images := by_path(shards)):
        return shards
    if all_can_open(images, media, working_nodes()):
        return shards
    log.info("not every node can open the images under data.media_root: they are sent inside their shards")
    return shipped(shards, media)
