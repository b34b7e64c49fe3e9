"""What nodes share, asked of a real cluster in which one node lacks the driver's disk: its raylet lives in a
mount namespace of its own, with an empty file system over the folder."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from ray import cloudpickle

from actors import storage
from actors.cluster import Cluster, connect
from actors.placement import placed
from actors.pool import run_shards
from actors.ship import ShippedImage, by_path, shipped
from actors.storage import all_can_open, ask, check_directory, check_shared, working_nodes
from auditor.errors import AuditError, BadInput, RowError
from auditor.pipeline.workers.embeddings import EmbedSettings, EmbedWorker
from auditor.records.media import MediaPolicy, load_image
from auditor.storage.embedding_store import EmbeddingStore
from auditor.storage.work_units import ContentItem, Shard, cut, image_item, prompt_item
from schemas.config import WorkersConfig
from schemas.record import Image

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the second node does not see (nor what is in it)."""
    return tmp_path_factory.mktemp("private")


@pytest.fixture(scope="module")
def cluster(private: Path, node_apart: Callable[[Path], Any]) -> Iterator[Cluster]:
    with node_apart(private) as address, connect(WorkersConfig(address=address)) as joined:
        assert len(joined.free) == 2
        yield joined


def test_a_folder_on_shared_storage_is_taken_and_left_clean(cluster: Cluster, tmp_path: Path) -> None:
    check_shared(tmp_path / "out" / "run", working_nodes())
    assert list((tmp_path / "out" / "run").iterdir()) == []


def test_a_folder_of_one_machine_is_refused_with_node_and_path(cluster: Cluster, private: Path) -> None:
    with pytest.raises(BadInput) as told:
        check_shared(private / "run", working_nodes())
    said = str(told.value)
    assert any(said.startswith(str(node)) for node in working_nodes())
    assert f"write into {private / 'run'}: No such file or directory" in said
    assert "storage that every node mounts" in said and "\n" not in said
    assert list((private / "run").iterdir()) == []


def test_a_folder_that_every_node_has_for_itself_is_refused(
    cluster: Cluster, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both can write, neither sees the other: the tokens tell."""
    monkeypatch.setattr(storage, "SEEN_SECONDS", 1.0)
    monkeypatch.setattr(storage, "_write", write_even_if_it_is_new)
    with pytest.raises(BadInput, match=r"does not read .*: the file that .* wrote is not seen"):
        check_shared(private / "each", working_nodes())


def write_even_if_it_is_new(folder: str, name: str, token: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / name).write_text(token)


def test_weights_must_be_the_same_everywhere(cluster: Cluster, private: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, private):
        (folder / "llava").mkdir()
        (folder / "llava" / "config.json").write_text("{}")
    check_directory(tmp_path / "llava", working_nodes())
    with pytest.raises(BadInput, match=rf"has no directory {private}/llava; put it on storage"):
        check_directory(private / "llava", working_nodes())
    # The same name, another content: only the node apart has the second file.
    ask(working_nodes(), add_weights, [(str(private / "llava"), node.id) for node in working_nodes()], 60)
    with pytest.raises(BadInput, match=r"does not hold the same files on node .* and node"):
        check_directory(private / "llava", working_nodes())


def add_weights(folder: str, name: str) -> None:
    Path(folder).mkdir(exist_ok=True)
    (Path(folder) / f"{name}.safetensors").write_bytes(b"weights")


def hang() -> None:
    time.sleep(600)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_node_that_does_not_answer_or_dies_is_named(cluster: Cluster) -> None:
    nodes = working_nodes()
    with pytest.raises(AuditError, match=r"node .* did not answer within 5 s"):
        ask(nodes, hang, [()] * 2, 5.0)
    with pytest.raises(AuditError, match=r"node .* could not be asked"):
        ask(nodes, die, [()] * 2, 60.0)


class Brightness:
    """An image's mean and its number of bytes: what is read is what is sent."""

    modality, dim, identity = "image", 2, "brightness"

    def encode(self, contents):
        import numpy as np

        rows = [(np.asarray(Pillow.open(BytesIO(c))).mean(), len(c)) for c in contents]
        return np.array(rows, np.float32)


def picture(path: Path, grey: int) -> Image:
    Pillow.new("RGB", (8, 8), (grey, grey, grey)).save(path)
    return Image(path=path.name, digest=sha256(path.read_bytes()).hexdigest())


def items_under(folder: Path, n: int) -> list[ContentItem]:
    folder.mkdir(parents=True)
    return [image_item(picture(folder / f"{i}.png", 10 * i + 5)) for i in range(n)]


def test_images_that_a_node_cannot_open_are_sent(cluster: Cluster, private: Path, tmp_path: Path) -> None:
    """Every row comes out as on one machine, whoever did it; the node apart has done some."""
    items = items_under(private / "media", 12)
    policy = MediaPolicy(private / "media")
    shards = cut(items, 1, "ship")
    nodes = working_nodes()
    assert not all_can_open(by_path(shards), policy, nodes)
    (tmp_path / "sent").mkdir()
    settings = EmbedSettings(Brightness, tmp_path / "sent", None, policy)
    with placed(cluster.pool(1), 60) as size:
        assert size.workers == 2
        tally = run_shards(EmbedWorker, settings, shipped(shards, policy), size, stage="embed")
    assert (tally.done, tally.errors) == (12, 0)
    (tmp_path / "here").mkdir()
    here = EmbedWorker(EmbedSettings(Brightness, tmp_path / "here", None, policy))
    for shard in shards:
        here.run(shard)
        name = f"{shard.name}.arrow"
        assert (tmp_path / "sent" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert not EmbeddingStore(tmp_path / "sent").errors()
    # On each node for sure: sent, the image is read; named only, the node apart lacks it.
    (tmp_path / "each").mkdir()
    each = EmbedSettings(Brightness, tmp_path / "each", None, policy)
    given = [(each, shard) for shard in shipped(shards[:2], policy)]
    assert [done.errors for done in ask(nodes, embed, given, 60).values()] == [0, 0]
    named = ask(nodes, embed, [(each, shards[0])] * 2, 60)
    assert sorted(done.errors for done in named.values()) == [0, 1]


def embed(settings, shard):
    return EmbedWorker(settings).run(shard)


def test_images_that_all_nodes_open_stay_where_they_are(cluster: Cluster, tmp_path: Path) -> None:
    shards = cut(items_under(tmp_path / "media", 3), 2, "stay")
    policy = MediaPolicy(tmp_path / "media")
    assert all_can_open(by_path(shards), policy, working_nodes())
    (tmp_path / "media" / "0.png").unlink()  # gone since: says nothing about the nodes
    assert all_can_open(by_path(shards), policy, working_nodes())


def test_an_image_is_read_only_when_it_leaves(tmp_path: Path) -> None:
    items = items_under(tmp_path / "media", 2)
    policy = MediaPolicy(tmp_path / "media")
    (shard,) = shipped([Shard("s", tuple(items))], policy)
    assert isinstance(shard.items[0].image, ShippedImage) and shard.items[0].image.data is None
    (tmp_path / "media" / "1.png").unlink()
    arrived: Shard[ContentItem] = pickle.loads(pickle.dumps(shard))
    first, second = (item.image for item in arrived.items)
    assert type(first) is Image and type(second) is Image and first.path is None
    elsewhere = MediaPolicy()
    assert sha256(load_image(first, elsewhere)).hexdigest() == items[0].key
    assert [item.key for item in arrived.items] == [item.key for item in items]
    with pytest.raises(RowError):
        load_image(second, elsewhere)
    # Another file of that name since it was admitted is not sent either.
    picture(tmp_path / "media" / "0.png", 200)
    assert pickle.loads(pickle.dumps(shard)).items[0].image.data is None


def test_prompts_are_shipped_with_all_their_images(tmp_path: Path) -> None:
    images = [item.image for item in items_under(tmp_path / "media", 2)]
    given = Image(data=b"bytes", digest="d" * 64)
    prompt = prompt_item([*filter(None, images), given], "how many?")
    (shard,) = shipped([Shard("s", (prompt,))], MediaPolicy(tmp_path / "media"))
    arrived = pickle.loads(pickle.dumps(shard)).items[0]
    assert [image.path for image in arrived.images] == [None] * 3 and arrived.key == prompt.key
    assert [sha256(i.data).hexdigest() for i in arrived.images[:2]] == [i.digest for i in prompt.images[:2]]


def test_only_named_images_are_asked_about() -> None:
    given = image_item(Image(data=b"bytes", digest="d" * 64))
    assert by_path([Shard("s", (given,))]) == [] and by_path([]) == []
    named = image_item(Image(path="a.png", digest="e" * 64))
    assert by_path([Shard("s", (given, named))] * 5) == [named.image] * 3
    many = [Shard("s", (image_item(Image(path=f"{i}.png", digest="f" * 64)),)) for i in range(1000)]
    first, middle, last = (int((image.path or "").removesuffix(".png")) for image in by_path(many))
    assert first == 0 and 300 < middle < 700 and last > 700
