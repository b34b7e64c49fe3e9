"""The pool over real local Ray processes: the same bits from any number of workers, and after any death."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ray import cloudpickle

from actors import pool
from actors.cluster import PoolSize, connect
from actors.pool import Bench, _Pool
from auditor.errors import AuditError, BadInput
from auditor.pipeline.executor import ShardResult
from auditor.pipeline.workers.answers import GenerateSettings, GenerateWorker
from auditor.pipeline.workers.embeddings import EmbedSettings, EmbedWorker
from auditor.records.media import MediaPolicy
from auditor.storage.embedding_store import EmbeddingStore
from auditor.storage.response_store import ResponseStore
from auditor.storage.row_cache import Failure
from auditor.storage.work_units import cut, image_item, prompt_item, text_item
from schemas.config import WorkersConfig
from schemas.record import Image, Reason
from schemas.response import Answer

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file
ROOT = Path(__file__).resolve().parents[2]
BENCH = Bench()
"""Tests follow one another as stages of a job do, on the same processes."""
run_shards, identify = (partial(call, bench=BENCH) for call in (pool.run_shards, pool.identify))


class Projection:
    """An encoder that is really one: byte counts, through a fixed random matrix, in batches of 8."""

    modality = "text"
    dim = 16

    def __init__(self, slow=0.0, identity="projection", pids=None):
        self.identity, self._slow = identity, slow
        if pids is not None:
            (pids / str(os.getpid())).touch()
        self._matrix = np.random.default_rng(0).normal(size=(256, 16)).astype(np.float32)

    def encode(self, contents):
        out = []
        for start in range(0, len(contents), 8):
            counts = np.zeros((8, 256), np.float32)
            for row, text in enumerate(contents[start : start + 8]):
                act_on(text)
                data = text if isinstance(text, bytes) else text.encode()
                counts[row] = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
            time.sleep(self._slow)
            out.append((counts @ self._matrix)[: len(contents) - start])
        return np.concatenate(out)


def act_on(text):
    """Contents can misbehave: raise; end the process (by signal or exit, always or the first time only);
    hang, asleep or stopped."""
    if text == "exit":
        os._exit(0)
    if text == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if text == "raise":
        raise RuntimeError("no such luck")
    if text == "hang":
        time.sleep(600)
    if text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(text, str) and text.startswith("die once "):
        mark = Path(text.removeprefix("die once "))
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Images(Projection):
    modality = "image"


class Broken(Projection):
    """Dies whatever it is given."""

    def encode(self, contents):
        os.kill(os.getpid(), signal.SIGKILL)


class Fearful(Projection):
    """Dies of everything but a blank."""

    def encode(self, contents):
        if any(text != "." for text in contents):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(contents)


class Crowded(Projection):
    """Dies of many rows at once, as one does whose memory does not suffice."""

    def encode(self, contents):
        if len(contents) > 12:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(contents)


class Echo:
    """Answers with the prompt, the seed's number and how many bytes its images have."""

    identity = "echo"

    def generate(self, prompts, seed):
        for prompt in prompts:
            act_on(prompt.text)
        return [
            Answer((f"{p.text} {seed % 1000} {sum(map(len, p.images))}",), (-1.0,), (2,))
            if p.text != "fail"
            else Answer(error="no")
            for p in prompts
        ]


class Dead:
    """An engine that has died: every answer is an error, whatever is asked."""

    identity = "dead"

    def generate(self, prompts, seed):
        return [Answer(error="the engine is dead") for _ in prompts]


class Watch:
    def __init__(self):
        self.waits = []

    def update(self, tally):
        pass

    def waiting(self, what):
        self.waits.append(what)


@pytest.fixture(scope="module")
def cluster():
    with connect(WorkersConfig(cpu=3)) as found:
        assert found.started and found.pool(1).workers == 3
        yield found
        BENCH.clear()


def size(workers):
    return PoolSize(workers, 1, 0.0)


def contents(n, *extra):
    texts = [f"text {i}" for i in range(n)]
    for position, text in enumerate(extra):
        texts.insert(3 + 7 * position, text)
    return [text_item(text) for text in texts]


def embed(folder, items, workers=2, slow=0.0, pids=None, **options):
    folder.mkdir(exist_ok=True)
    settings = EmbedSettings(partial(Projection, slow, pids=pids), folder, "projection")
    return run_shards(EmbedWorker, settings, cut(items, 16, "p"), size(workers), stage="embed", **options)


def make(worker, settings, shards, workers):
    """Rows and errors, over a pool or (no workers) in a plain loop."""
    if workers:
        tally = run_shards(worker, settings, shards, size(workers), stage="make")
        return tally.done, tally.errors
    one = worker(settings)
    results = [one.run(shard) for shard in shards]
    return sum(r.rows for r in results), sum(r.errors for r in results)


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory):
    """What a loop without Ray makes of 100 texts."""
    folder = tmp_path_factory.mktemp("plain")
    worker = EmbedWorker(EmbedSettings(Projection, folder))
    for shard in cut(contents(100), 16, "p"):
        worker.run(shard)
    return folder


@pytest.fixture(scope="module")
def plain(plain_folder):
    return digests(plain_folder)


def test_the_same_bits_from_any_number_of_workers(cluster, plain, tmp_path):
    for workers in (1, 2, 3):
        seen = []
        tally = embed(tmp_path / str(workers), contents(100), workers, on_done=seen.append)
        assert (tally.done, tally.total, tally.errors) == (100, 100, 0)
        assert digests(tmp_path / str(workers)) == plain
        assert sorted(r.shard + ".arrow" for r in seen) == sorted(plain)
        assert all(isinstance(r, ShardResult) and r.seconds >= 0 for r in seen)


def test_killed_workers_are_replaced_and_nothing_changes(cluster, plain, tmp_path):
    """kill -9 from outside, of one worker after another."""
    pids, killed = tmp_path / "pids", []
    pids.mkdir()

    def kill_one(result):
        alive = [int(p.name) for p in pids.iterdir() if int(p.name) not in killed]
        if alive and len(killed) < 2:
            killed.append(alive[0])
            os.kill(alive[0], signal.SIGKILL)

    tally = embed(tmp_path / "out", contents(100), 2, slow=0.1, pids=pids, on_done=kill_one)
    assert len(killed) == 2 and tally.done == 100
    assert {n: d for n, d in digests(tmp_path / "out").items() if not n.startswith(".")} == plain


def test_processes_serve_the_next_stage_and_one_that_died_is_replaced(cluster, plain, tmp_path):
    bench, seen = Bench(), []
    for number in range(3):
        pids = tmp_path / f"pids-{number}"
        pids.mkdir()
        # No start may fail: that a process died since its stage has ended is not counted as one.
        embed(tmp_path / str(number), contents(100), 2, slow=0.1, pids=pids, bench=bench, retries=0)
        assert digests(tmp_path / str(number)) == plain
        seen.append({int(p.name) for p in pids.iterdir()})
        if number == 1:
            assert seen[0] & seen[1]
            os.kill(min(seen[0] & seen[1]), signal.SIGKILL)
    assert min(seen[0] & seen[1]) not in seen[2]
    assert bench.take(PoolSize(1, 2, 0.0)) is None  # of another size: those that wait make room
    assert bench.take(size(1)) is None


def test_a_row_that_raises_costs_nobody_else_anything(cluster, tmp_path):
    """Its place is filled, so the shard's other rows have the bits they have beside any harmless row."""
    items = contents(40, "raise")
    tally = embed(tmp_path / "out", items)
    assert (tally.done, tally.errors) == (41, 1)
    store = EmbeddingStore(tmp_path / "out")
    assert store.errors() == {
        text_item("raise").key: Failure(Reason.MODEL_FAILED, "RuntimeError: no such luck")
    }
    embed(tmp_path / "fine", contents(40, "quiet"))
    keys = [item.key for item in contents(40)]
    assert (store.rows(keys) == EmbeddingStore(tmp_path / "fine").rows(keys)).all()


def test_a_worker_that_dies_in_a_shard_once_is_forgiven(cluster, tmp_path):
    items = contents(40, f"die once {tmp_path / 'mark'}")
    tally = embed(tmp_path / "out", items)
    assert tally.done == 41 and (tmp_path / "mark").exists()
    assert EmbeddingStore(tmp_path / "out").rows([i.key for i in items]).shape == (41, 16)


def test_rows_that_end_or_hang_their_worker_are_set_apart(cluster, tmp_path):
    """Killed, exited, asleep and raising, two of them in one shard: exactly these have no vector, the
    others' bits are those of a run with harmless rows in their places."""
    bad = ["die", "raise", "exit", "hang"]
    watch = Watch()
    tally = embed(tmp_path / "out", contents(60, *bad), hang_seconds=4.0, progress=watch)
    assert (tally.total, tally.done, tally.errors) == (64, 64, 4)
    store = EmbeddingStore(tmp_path / "out")
    reasons = {
        text_item(text).key: Failure(Reason.MODEL_FAILED, "it ended its worker, twice") for text in bad
    }
    reasons[text_item("raise").key] = Failure(Reason.MODEL_FAILED, "RuntimeError: no such luck")
    reasons[text_item("hang").key] = Failure(Reason.MODEL_FAILED, "it hung its worker, twice")
    assert store.errors() == reasons
    embed(tmp_path / "fine", contents(60, "a", "b", "c", "d"))
    keys = [item.key for item in contents(60)]
    assert (store.rows(keys) == EmbeddingStore(tmp_path / "fine").rows(keys)).all()
    assert any("its rows are tried in parts" in what for what in watch.waits)
    assert any(f"{text_item('die').key} is set apart" in what for what in watch.waits)


def test_what_has_failed_is_tried_alone(cluster, tmp_path, monkeypatch):
    """Else an innocent call before one that ends the worker loses its answer with it, and is blamed."""
    beside, give = [], _Pool._give

    def watched(pool, host, task):
        give(pool, host, task)
        beside.append([had.suspect for _, had in host.calls])

    monkeypatch.setattr(_Pool, "_give", watched)
    assert embed(tmp_path / "out", contents(300, "die", "exit", "die")).errors == 2
    assert [False, False] in beside and [True] in beside
    assert not any(any(suspects) for suspects in beside if len(suspects) > 1)


def test_prompts_that_end_or_hang_their_worker_are_set_apart(cluster, tmp_path):
    def ask(folder, *texts):
        folder.mkdir()
        items = [prompt_item((), text) for text in [*(f"q{i}" for i in range(12)), *texts]]
        settings = GenerateSettings(Echo, seed=7, folder=folder)
        shards = cut(items, 16, "g")
        tally = run_shards(
            GenerateWorker, settings, shards, size(2), stage="ask", hang_seconds=4.0, progress=Watch()
        )
        return tally, ResponseStore(folder).answers([item.key for item in items])

    tally, given = ask(tmp_path / "out", "die", "stop", "raise", "q12")
    assert (tally.done, tally.errors) == (16, 3)
    assert [answer.error for answer in given[12:]] == [
        "model_failed: it ended its worker, twice",
        "model_failed: it hung its worker, twice",
        "model_failed: RuntimeError: no such luck",
        None,
    ]
    assert all(answer.texts[0].startswith(f"q{i} ") for i, answer in enumerate(given[:12]))


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        (Broken, r"^embed: a worker fails on a blank too, so no row is to blame; .*the worker died"),
        (Fearful, r"^embed: 5 rows failed, each twice by itself \(workers.poison_rows is 4\)"),
        (
            Crowded,
            r"^embed: a unit of 16 rows failed 2 times .* none of its rows does alone; smaller batches",
        ),
    ],
)
def test_a_worker_that_always_dies_ends_the_run_and_condemns_nobody(cluster, tmp_path, encoder, said):
    """Five shards of 16: the search of one is all that is paid."""
    settings = EmbedSettings(encoder, tmp_path, "projection")
    shards = cut(contents(5 if encoder is Fearful else 80), 16, "p")
    with pytest.raises(AuditError, match=said):
        run_shards(
            EmbedWorker, settings, shards, size(2), stage="embed", retries=1, poison_rows=4, progress=Watch()
        )
    assert not list(tmp_path.iterdir())


def test_a_dead_engine_ends_the_run_and_quarantines_nobody(cluster, tmp_path):
    settings = GenerateSettings(Dead, folder=tmp_path)
    shards = cut([prompt_item((), f"q{i}") for i in range(40)], 8, "g")
    with pytest.raises(AuditError, match=r"fails on a blank too.*whatever it is asked: the engine is dead"):
        run_shards(GenerateWorker, settings, shards, size(2), stage="ask")
    assert not list(tmp_path.iterdir())


def test_a_worker_that_knows_no_probe_is_tried_a_bounded_number_of_times(cluster, tmp_path):
    class Plain:
        def __init__(self, how):
            self._how = how

        def run(self, shard):
            act_on(self._how)

    shards = cut(contents(3), 16, "p")
    for how, times in (("die", 3), ("hang", 4)):  # a hang counts twice
        watch = Watch()
        with pytest.raises(AuditError, match=rf"a unit of 3 rows failed {times} times"):
            run_shards(
                Plain, how, shards, size(1), stage="plain", retries=2, hang_seconds=2.0, progress=watch
            )
        assert watch.waits


def test_a_pool_that_gets_nowhere_says_so_and_ends(cluster, tmp_path):
    """A start that hangs: nothing is done, so there is nothing to isolate."""
    watch = Watch()
    settings = EmbedSettings(partial(time.sleep, 600), tmp_path)
    with pytest.raises(AuditError, match=r"nothing was done for .* waiting for 1 worker to start"):
        run_shards(
            EmbedWorker,
            settings,
            cut(contents(3), 16, "p"),
            size(1),
            stage="embed",
            stall_seconds=4.0,
            progress=watch,
        )
    assert watch.waits and "1 worker to start" in watch.waits[-1]


def test_a_pool_goes_on_with_the_workers_that_start(cluster, plain, tmp_path):
    """Of two workers only the first ever starts, as where one node lacks the weights."""
    mark, failed = tmp_path / "mark", tmp_path / "failed"
    failed.mkdir()

    class Patient(Projection):
        """It has work left until the other worker has failed for good, however slow processes start."""

        def encode(self, contents):
            until = time.monotonic() + 120
            while len(list(failed.iterdir())) < 2 and time.monotonic() < until:
                time.sleep(0.05)
            return super().encode(contents)

    def once():
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            (failed / str(os.getpid())).touch()
            raise RuntimeError("no weights here") from None
        return Patient(0.3)

    out, watch = tmp_path / "out", Watch()
    out.mkdir()
    settings = EmbedSettings(once, out, "projection")
    shards = cut(contents(100), 16, "p")
    tally = run_shards(EmbedWorker, settings, shards, size(2), stage="embed", retries=1, progress=watch)
    assert tally.done == 100 and digests(out) == plain
    assert any("is started again in 0.5 s" in what for what in watch.waits)
    assert any("is left out, 1 go on" in what for what in watch.waits)


def test_shards_are_drawn_as_they_are_needed(cluster, plain, tmp_path):
    """From an iterator, a few ahead of those that are done; names that are done are passed over."""
    shards, drawn, ahead, totals = cut(contents(100), 16, "p"), [], [], []

    def source():
        for shard in shards:
            drawn.append(shard.name)
            yield shard

    class Totals(Watch):
        def update(self, tally):
            totals.append(tally.total)

    out = tmp_path / "out"
    out.mkdir()
    tally = run_shards(
        EmbedWorker,
        EmbedSettings(Projection, out, "projection"),
        source(),
        size(1),
        stage="embed",
        total=100,
        done={shards[1].name},
        on_done=lambda result: ahead.append(len(drawn) - 1 - len(ahead)),
        progress=Totals(),
    )
    assert tally.done == tally.total == 84 and totals[0] in (84, 100)
    assert drawn == [shard.name for shard in shards]
    assert max(ahead) <= 5  # two given, two at hand, one just done
    assert {n: d for n, d in plain.items() if shards[1].name not in n} == digests(out)
    unknown = run_shards(EmbedWorker, EmbedSettings(Projection, out), iter(shards), size(1), stage="embed")
    assert unknown.done == unknown.total == 100


def test_interrupted_and_run_again(cluster, plain, tmp_path):
    """Ctrl-C in the middle: whole shards stay; the second run does only the rest, and comes to the same."""
    out = tmp_path / "out"

    def interrupt(result):
        if len(list(out.glob("*.arrow"))) >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(out, contents(100), slow=0.1, on_done=interrupt)
    time.sleep(0.5)
    kept = {name: d for name, d in digests(out).items() if not name.startswith(".")}
    assert 2 <= len(kept) < 7 and kept.items() <= plain.items()
    store = EmbeddingStore(out)
    again = cut(contents(100), 16, "p", done=store)
    assert {s.name + ".arrow" for s in again} == plain.keys() - kept.keys()
    settings = EmbedSettings(Projection, out)
    done = run_shards(EmbedWorker, settings, again, size(2), stage="embed").done
    assert done + len(store) == 100
    assert {n: d for n, d in digests(out).items() if not n.startswith(".")} == plain


def test_shards_that_are_done_are_skipped(cluster, tmp_path):
    shards = cut(contents(40), 16, "p")
    tally = embed(tmp_path / "out", contents(40), done={shards[0].name, shards[2].name})
    assert tally.total == tally.done == 16


def test_an_error_made_for_the_user_comes_at_once(cluster, tmp_path):
    def no_weights():
        raise BadInput("no such weights")

    with pytest.raises(BadInput, match=r"^no such weights$"):
        run_shards(EmbedWorker, EmbedSettings(no_weights), cut(contents(3), 2, "p"), size(1), stage="embed")
    other = EmbedSettings(Projection, tmp_path, identity="another")
    with pytest.raises(AuditError, match="projection instead of another"):
        run_shards(EmbedWorker, other, cut(contents(3), 2, "p"), size(1), stage="embed")
    with pytest.raises(AuditError, match=r"a worker failed 1 times .* ZeroDivisionError"):
        broken = EmbedSettings(lambda: 1 / 0)
        run_shards(EmbedWorker, broken, cut(contents(3), 2, "p"), size(1), stage="embed", retries=0)


def test_a_worker_tells_its_identity(cluster):
    assert identify(EmbedWorker, EmbedSettings(partial(Projection, identity="me")), size(1)) == "me"
    with pytest.raises(AuditError, match="a worker could not start, 2 times: ZeroDivisionError"):
        identify(EmbedWorker, EmbedSettings(lambda: 1 / 0), size(1), retries=1)


def test_workers_that_never_find_room_are_said_to_be_missing(cluster, tmp_path):
    with pytest.raises(AuditError, match=r"waiting for 1 worker to start; the cluster has 3 CPUs"):
        run_shards(
            EmbedWorker,
            EmbedSettings(Projection, tmp_path),
            cut(contents(3), 2, "p")[:1],
            PoolSize(1, 64, 0.0),
            stage="embed",
            stall_seconds=2.0,
        )


def test_images_are_read_by_the_media_policy(cluster, tmp_path):
    media, out = tmp_path / "media", tmp_path / "out"
    media.mkdir()
    out.mkdir()
    (media / "a.png").write_bytes(b"aaab")
    digest = hashlib.sha256(b"aaab").hexdigest()
    inline = Image(data=b"zz", digest=hashlib.sha256(b"zz").hexdigest())
    items = [
        image_item(Image(path="a.png", digest=digest)),
        image_item(inline),
        image_item(Image(path="gone.png", digest="0" * 64)),
        image_item(Image(path="../x.png", digest="1" * 64)),
        image_item(Image(path="a.png", digest="2" * 64)),
    ]
    settings = EmbedSettings(Images, out, media=MediaPolicy(root=media))
    tally = run_shards(EmbedWorker, settings, cut(items, 16, "i"), size(1), stage="embed")
    assert (tally.done, tally.errors) == (5, 3)
    store = EmbeddingStore(out)
    assert {k[0]: f.reason for k, f in store.errors().items()} == {
        "0": Reason.IMAGE_MISSING,
        "1": Reason.IMAGE_OUTSIDE_ROOT,
        "2": Reason.IMAGE_CHANGED,
    }
    raw = Images().encode([b"aaab", b"zz"])
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(store.rows([digest, inline.digest]), raw, atol=1e-6)


def test_answers_are_the_same_from_any_number_of_workers(cluster, tmp_path):
    image = Image(data=b"1234567", digest=hashlib.sha256(b"1234567").hexdigest())
    gone = Image(path="gone.png", digest="0" * 64)
    items = [prompt_item((image,), f"q{i}") for i in range(20)]
    items += [prompt_item((), "fail"), prompt_item((gone,), "q")]
    made = []
    for workers in (0, 2):
        out = tmp_path / str(workers)
        out.mkdir()
        settings = GenerateSettings(Echo, seed=7, folder=out, media=MediaPolicy(root=tmp_path))
        assert make(GenerateWorker, settings, cut(items, 4, "g"), workers) == (22, 2)
        made.append(digests(out))
    assert made[0] == made[1]
    store = ResponseStore(tmp_path / "2")
    first, last, failed, lost = store.answers([items[i].key for i in (0, 19, 20, 21)])
    assert first.texts[0].startswith("q0 ") and first.texts[0].endswith(" 7")
    assert first.texts[0].split()[1] != last.texts[0].split()[1]  # a seed a shard
    assert failed.error == "model_failed: no" and lost.error.startswith("image_missing: ")


def test_the_driver_is_killed_and_another_takes_over(tmp_path):
    """kill -9 of the driver: its orphans may write on for seconds, harm nothing and are gone then, the one
    that hangs as well."""
    (tmp_path / "pids").mkdir()
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import importlib.util
spec = importlib.util.spec_from_file_location("pool_tests", {__file__!r})
module = importlib.util.module_from_spec(spec); sys.modules["pool_tests"] = module
spec.loader.exec_module(module)
with module.connect(module.WorkersConfig(cpu=2)):
    items = [module.text_item("hang"), *module.contents(100)]
    tmp = module.Path({str(tmp_path)!r})
    module.embed(tmp / "out", items, 2, slow=0.3, pids=tmp / "pids")
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    driver = subprocess.Popen([sys.executable, "-c", code], env=env)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "out").glob("*.arrow"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    orphans = [Path("/proc") / path.name for path in (tmp_path / "pids").iterdir()]
    while any(orphan.exists() for orphan in orphans) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(orphans) == 2 and not any(orphan.exists() for orphan in orphans)
    store = EmbeddingStore(tmp_path / "out")
    assert 32 <= len(store) < 100
    worker = EmbedWorker(EmbedSettings(Projection, tmp_path / "out"))
    hanging, *others = cut([text_item("hang"), *contents(100)], 16, "p", done=store)
    assert hanging.items[0].text == "hang"
    for shard in others:
        worker.run(shard)
    assert len(EmbeddingStore(tmp_path / "out")) == 101 - 16
