"""Records in, profiles out: the same bits from kept vectors and from encoders; what is set aside, kept and
folded."""

import hashlib
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from auditor.errors import AuditError
from auditor.estimators.club import CLUB
from auditor.estimators.crossfit import CrossFitted
from auditor.pipeline.workers.embeddings import EmbedSettings, EmbedWorker
from auditor.pipeline.workers.profiles import (
    Encoding,
    Kept,
    ModelAnswers,
    ProfileSettings,
    ProfileWorker,
    Unit,
    profile_file,
)
from auditor.profiles.folding import Fold
from auditor.profiles.profile import folded, profile_mark, read_profile
from auditor.profiles.row_sums import sketch_shard
from auditor.profiles.rows import (
    answer_items,
    answers,
    descriptors,
    image_items,
    input_texts,
    row_keys,
    usable,
)
from auditor.records import RecordWriter, read_run_records
from auditor.scenarios.row_ranges import survey
from auditor.scenarios.windows import Clock, by_time, one_window
from auditor.sketch.merge_tree import tree_merge
from auditor.storage.embedding_store import EmbeddingStore
from auditor.storage.work_units import cut
from schemas.config import GraderConfig
from schemas.record import Image, Record, Turn

UNIT, N = 20, 130
DAY = datetime(2026, 3, 1, tzinfo=UTC)


class Bytes:
    """An encoder that is really one: byte counts through a fixed matrix, a row by itself."""

    def __init__(self, modality, dim):
        self.modality, self.dim, self.identity = modality, dim, f"bytes {modality} {dim}"
        self._matrix = np.random.default_rng(dim).normal(size=(256, dim)).astype(np.float32)

    def encode(self, contents):
        out = np.zeros((len(contents), self.dim), np.float32)
        for row, content in enumerate(contents):
            data = content.encode() if isinstance(content, str) else content
            if b"raise" in data:
                raise RuntimeError("no such luck")
            if b"zero" not in data:
                out[row] = np.bincount(np.frombuffer(data, np.uint8), minlength=256) @ self._matrix
        return out


def text_encoder():
    return Bytes("text", 8)


def image_encoder():
    return Bytes("image", 6)


def record(i, **given):
    data = struct.pack("<i", i % 50) * 3  # images repeat
    image = Image(data=data, digest=hashlib.sha256(data).hexdigest())
    history = (Turn("user", f"before {i}"),) if i % 9 == 0 else ()
    fields = {
        "images": (image,) if i % 7 else (),
        "query": f"what is {i}?",
        "history": history,
        "responses": {"m": (f"it is {i % 13}", "other")} if i % 5 else {},
        "reference": f"{i % 13}" if i % 3 else None,
        "timestamp": DAY + timedelta(hours=i),
    }
    return Record(f"r{i}", f"b{i % 100}", **fields | given)


def written(path, records):
    with RecordWriter(path) as writer:
        for each in records:
            writer.write(each)
    return path


@pytest.fixture(scope="module")
def critics(tmp_path_factory):
    """Two cross-fitted critics of untrained weights: what they say is arbitrary, but not nothing."""
    folder = tmp_path_factory.mktemp("critics")
    rng, paths = np.random.default_rng(0), []
    for i in range(4):
        critic = CLUB(hidden=8, steps=3, batch=16, seed=i)
        critic.fit(rng.normal(size=(40, 14)).astype(np.float32), rng.normal(size=(40, 8)).astype(np.float32))
        critic.save(folder / f"{i}.safetensors")
        paths.append(folder / f"{i}.safetensors")
    return tuple(paths[:2]), tuple(paths[2:])


def settings(folder, critics, **given):
    text = Encoding(text_encoder, text_encoder().identity)
    image = Encoding(image_encoder, image_encoder().identity)
    folder.mkdir(exist_ok=True)
    fields = {"text": text, "image": image, "critics": critics, "sample": 50, "models": (ModelAnswers("m"),)}
    fields["grader"] = GraderConfig(name="lab")
    return ProfileSettings(folder, **fields | given)


def shards_of(part, names=None):
    for k, (start, stop) in enumerate(part.units()):
        unit = Unit(part.records, part.digests[k], part.window.name, part.positions, start, stop)
        yield unit.shard(f"{part.window.name}-{k}".replace(":", "."))


def profiled(records, tmp_path, critics, split=None, unit=UNIT, **given):
    """window -> its parts, folded, by one worker in this process."""
    places = tmp_path / "positions"
    places.mkdir()
    found = survey(records, split or one_window(), places, unit)
    worker = ProfileWorker(settings(tmp_path / "sums", critics, **given))
    out = {}
    for part in found.parts:
        shards = list(shards_of(part))
        results = [worker.run(shard) for shard in shards]
        assert sum(r.rows for r in results) == part.n
        out[part.window.name] = folded(profile_file(tmp_path / "sums", shard.name, 0) for shard in shards)
    return out


def embedded(path, tmp_path, positions=None):
    """The rows, their answers, and where their contents' vectors were kept."""
    rows = [each for batch in read_run_records(path) for each in batch]
    rows = rows if positions is None else [rows[i] for i in positions]
    given = answers(rows, "m", None)
    texts = [*input_texts(rows), *(item for each in given for item in answer_items(each))]
    for name, make, items in (("t", text_encoder, texts), ("i", image_encoder, image_items(rows))):
        (tmp_path / name).mkdir()
        worker = EmbedWorker(EmbedSettings(make, tmp_path / name))
        for shard in cut(items, 16, "id"):
            worker.run(shard)
    return rows, given


def by_hand(path, tmp_path, critics, positions, unit=UNIT):
    """The rows embedded into folders first, then summed."""
    rows, given = embedded(path, tmp_path, positions)
    images, texts = EmbeddingStore(tmp_path / "i"), EmbeddingStore(tmp_path / "t")
    kept, aside = usable(row_keys(rows, given), images, texts, "w", "m")
    folds = [CrossFitted.load(paths) for paths in critics]
    parts = [kept[i : i + unit] for i in range(0, len(kept), unit)]
    sums = tree_merge((1, sketch_shard(part, images, texts, folds, 50)) for part in parts)
    return sums, descriptors(rows, given), aside


def same_sums(got, truth):
    """To the bit; what stands beside the sums is compared by whoever asks."""
    one, two = got.to_arrays(), truth.to_arrays()
    summed = {name for name in one if name.startswith(("sketch.", "critic.", "norms.", "sample."))}
    assert summed == {name for name in two if name.startswith(("sketch.", "critic.", "norms.", "sample."))}
    assert len(summed) > 40
    for name in summed:
        assert np.array_equal(one[name], two[name]), name


def test_a_profile_is_the_sums_of_its_rows_to_the_bit(tmp_path, critics):
    path = written(tmp_path / "r.parquet", map(record, range(N)))
    got = profiled(path, tmp_path, critics)["all traffic"]
    sums, facts, aside = by_hand(path, tmp_path, critics, range(N))
    assert got.n == N and got.facts == facts and got.set_aside == () and aside == []
    same_sums(got, sums)


def test_answers_are_graded_where_the_truth_is_known(tmp_path, critics):
    def graded(i):
        return record(i, tags=("question:count", f"truth:{i % 13}") if i % 2 else (), query="how many?")

    path = written(tmp_path / "r.parquet", map(graded, range(N)))
    got = profiled(path, tmp_path, critics)["all traffic"]
    known = sum(i % 2 and i % 5 > 0 for i in range(N))
    assert len(got.scores) == known > 50 and set(got.scores) <= {0.0, 1.0}


BROKEN = Image(data=b"raise 1", digest=hashlib.sha256(b"raise 1").hexdigest())
CHANGED = Image(data=b"other", digest="0" * 64)
BAD = {
    3: {"query": "raise"},
    30: {"reference": "zero"},
    31: {"responses": {"m": ("zero",)}},
    60: {"images": (BROKEN,)},
    61: {"images": (CHANGED,)},
}


@pytest.mark.parametrize("bad", [{}, BAD], ids=["whole", "with rows set aside"])
@pytest.mark.parametrize("unit", [7, UNIT, N])
def test_kept_vectors_and_encoders_give_the_same_profile_to_the_bit(tmp_path, critics, bad, unit):
    """One pass and two: which strategy was taken does not stand in a profile."""
    records = (record(i, **several(i) | bad.get(i, {})) for i in range(N))
    path = written(tmp_path / "r.parquet", records)
    embedded(path, tmp_path)
    kept = {"text": Kept(tmp_path / "t"), "image": Kept(tmp_path / "i")}
    found = []
    for name, given in (("one", {}), ("two", kept)):
        (tmp_path / name).mkdir()
        found.append(profiled(path, tmp_path / name, critics, unit=unit, answers=30, **given)["all traffic"])
        files = sorted((tmp_path / name / "sums").iterdir())
        found[-1] = (found[-1], [profile_mark(file) for file in files], [file.read_bytes() for file in files])
    (one, marks, data), (two, other_marks, other_data) = found
    assert marks == other_marks and data == other_data
    assert len(one.set_aside) == len(bad) and one.set_aside == two.set_aside and one.again == two.again
    arrays, others = one.to_arrays(), two.to_arrays()
    assert arrays.keys() == others.keys() and one.answers is not None and len(one.answers) == 30
    for name in arrays:
        assert np.array_equal(arrays[name], others[name]), name


def test_rows_set_aside_are_those_without_vectors(tmp_path, critics):
    """Sums agree to rounding with those of the rows that stay: rows are cut into units before it is known
    which these are."""
    path = written(tmp_path / "r.parquet", (record(i, **BAD.get(i, {})) for i in range(N)))
    got = profiled(path, tmp_path, critics)["all traffic"]
    sums, facts, aside = by_hand(path, tmp_path, critics, range(N))

    def told(rows):
        return [(row.record_id, row.reason, row.detail, row.model) for row in rows]

    assert told(got.set_aside) == told(aside) and len(aside) == 5
    assert [row.row for row in got.set_aside] == [3, 30, 31, 60, 61]
    assert got.n == sums.sample.seen == N - 3 and got.facts == facts
    truth = sums.to_arrays()
    for name, array in got.to_arrays().items():
        if array.dtype.kind == "f" and name in truth and name != "scores":
            np.testing.assert_allclose(array, truth[name], rtol=1e-5, atol=1e-5)
        elif name not in ("profile", "scores"):
            assert np.array_equal(array, truth[name])


def test_a_window_has_its_rows_wherever_they_stand(tmp_path, critics):
    """Shuffled traffic: each day's sums are those of the day's rows alone, in their order."""
    order = np.random.default_rng(0).permutation(N)
    path = written(tmp_path / "r.parquet", (record(int(i)) for i in order))
    got = profiled(path, tmp_path, critics, by_time(Clock(timedelta(days=2))))
    starts = [(DAY + timedelta(days=d)).date() for d in range(-1, 6, 2)]
    assert sorted(got) == [f"{start} to {start + timedelta(days=1)}" for start in starts]
    for k, (window, found) in enumerate(got.items()):
        start = datetime.fromisoformat(window[:10]).replace(tzinfo=DAY.tzinfo)
        inside = [
            at
            for at, i in enumerate(order)
            if start <= DAY + timedelta(hours=int(i)) < start + timedelta(days=2)
        ]
        (tmp_path / str(k)).mkdir()
        sums, facts, _ = by_hand(path, tmp_path / str(k), critics, inside)
        assert found.facts == facts
        same_sums(found, sums)


def test_records_that_changed_under_a_worker_make_no_sums(tmp_path, critics):
    path = written(tmp_path / "r.parquet", map(record, range(N)))
    (tmp_path / "positions").mkdir()
    part = survey(path, one_window(), tmp_path / "positions", UNIT).parts[0]
    written(path, (record(i, query="another") for i in range(N)))
    worker = ProfileWorker(settings(tmp_path / "sums", critics))
    with pytest.raises(AuditError, match="rows changed while they were read"):
        worker.run(next(shards_of(part)))
    assert list((tmp_path / "sums").iterdir()) == []


def test_embeddings_are_kept_only_where_told_to(tmp_path, critics):
    path = written(tmp_path / "r.parquet", map(record, range(N)))
    profiled(path, tmp_path, critics)
    assert {file.suffix for file in tmp_path.rglob("*") if file.is_file()} == {".parquet", ".npz", ".i64"}
    assert [file.name for file in tmp_path.rglob("*.parquet")] == ["r.parquet"]
    kept = tmp_path / "kept"
    for name in ("t", "i", "sums"):
        (kept / name).mkdir(parents=True)
    given = {
        "text": Encoding(text_encoder, text_encoder().identity, kept / "t"),
        "image": Encoding(image_encoder, image_encoder().identity, kept / "i"),
    }
    profiled(path, kept, critics, **given)
    texts, images = EmbeddingStore(kept / "t"), EmbeddingStore(kept / "i")
    rows = [each for batch in read_run_records(path) for each in batch]
    keys = row_keys(rows, answers(rows, "m", None))
    assert all(key.text in texts for key in keys) and all(k in images for key in keys for k in key.images)
    assert len(images) == 50
    truth = text_encoder().encode([rows[1].input_text()])[0]
    np.testing.assert_allclose(texts.rows([keys[1].text])[0], truth / np.linalg.norm(truth), rtol=1e-6)


def test_a_unit_without_a_usable_row_and_one_without_images(tmp_path, critics):
    records = [record(i, query="raise", history=()) for i in range(20)]
    records += [record(i, images=()) for i in range(20, 45)]
    path = written(tmp_path / "r.parquet", records)
    got = profiled(path, tmp_path, critics)["all traffic"]
    assert got.n == 25 and len(got.set_aside) == 20 and got.facts["n"] == 45
    assert got.sketches["image"].n == 0 and got.sketches["image"].dim == 6


def test_another_encoder_than_the_run_is_refused(tmp_path, critics):
    other = Encoding(text_encoder, "another")
    with pytest.raises(AuditError, match="another encoder"):
        ProfileWorker(settings(tmp_path / "sums", critics, text=other))


def test_a_condemned_row_is_set_aside_and_costs_the_others_nothing(tmp_path, critics):
    """Rows that end their worker are told by number: the others' sums are those of the rows without it."""
    path = written(tmp_path / "r.parquet", map(record, range(N)))
    (tmp_path / "positions").mkdir()
    part = survey(path, one_window(), tmp_path / "positions", N).parts[0]
    (shard,) = shards_of(part)
    worker = ProfileWorker(settings(tmp_path / "sums", critics))
    condemned = replace(shard, condemned=((shard.items[7].key, "model_failed: it ended its worker, twice"),))
    result = worker.run(condemned)
    got = read_profile(profile_file(tmp_path / "sums", shard.name, 0))
    sums, _, _ = by_hand(path, tmp_path, critics, [i for i in range(N) if i != 7], unit=N)
    assert (result.rows, result.errors, got.facts["n"]) == (N, 1, N)
    (aside,) = got.set_aside
    assert (aside.record_id, aside.row, aside.reason) == ("r7", 7, "model_failed")
    assert aside.detail == "it ended its worker, twice"
    same_sums(got, sums)


def test_probing_touches_the_rows_asked_for_and_writes_nothing(tmp_path, critics, monkeypatch):
    path = written(tmp_path / "r.parquet", map(record, range(N)))
    (tmp_path / "positions").mkdir()
    shard = next(shards_of(survey(path, one_window(), tmp_path / "positions", N).parts[0]))
    worker = ProfileWorker(settings(tmp_path / "sums", critics))
    seen, encode = [], Bytes.encode

    def watched(self, contents):
        seen.extend(contents)
        return encode(self, contents)

    monkeypatch.setattr(Bytes, "encode", watched)
    worker.probe(replace(shard, items=shard.items[40:42]))
    assert {"what is 40?", "what is 41?"} <= set(seen) and "what is 39?" not in seen
    seen.clear()
    worker.probe(replace(shard, items=()))
    assert len(seen) == 2  # a blank text and a blank image
    assert list((tmp_path / "sums").iterdir()) == []


def test_the_fold_has_the_bits_of_one_merge(tmp_path, critics):
    path = written(tmp_path / "r.parquet", map(record, range(N)))
    truth = profiled(path, tmp_path, critics, unit=5)["all traffic"]
    part = survey(path, one_window(), tmp_path / "positions", 5).parts[0]
    shards = list(shards_of(part))
    fold = Fold(tmp_path / "sums", [f"{shard.name}-0" for shard in shards])
    total = folded(fold.files())
    assert len(list((tmp_path / "sums").iterdir())) == 4  # of 16, 8, 1 and the last one
    for name, array in truth.to_arrays().items():
        assert np.array_equal(array, total.to_arrays()[name]), name


# Sampled answers.


def several(i):
    return {"responses": {"m": tuple(f"it is {(i * k) % 13}" for k in range(1, 5 + i % 2))} if i % 4 else {}}


def test_sampled_answers_do_not_depend_on_the_cut_into_units(tmp_path, critics):
    """Those of the records with the smallest hashes, whatever units they came in; other texts are not
    embedded."""
    path = written(tmp_path / "r.parquet", (record(i, **several(i)) for i in range(N)))
    found = []
    for unit in (7, 20, N):
        (tmp_path / str(unit)).mkdir()
        found.append(profiled(path, tmp_path / str(unit), critics, unit=unit, answers=30)["all traffic"])
    truth = found[0].answers.to_arrays()
    assert len(found[0].answers) == 30 and found[0].answers.seen == sum(i % 4 > 0 for i in range(N))
    for other in found[1:]:
        for name, array in other.answers.to_arrays().items():
            assert np.array_equal(array, truth[name]), name
    (tmp_path / "none").mkdir()
    without = profiled(path, tmp_path / "none", critics, unit=20)["all traffic"]
    assert without.answers is None
    same_sums(without, found[1])


def test_an_answer_that_could_not_be_embedded_is_left_out_and_tried_again(tmp_path, critics):
    texts = {3: ("a", "b", "c", "raise"), 4: ("a", "b", "c", "zero"), 5: ("a", "b", "c", "d")}
    path = written(tmp_path / "r.parquet", (record(i, responses={"m": texts[i]}) for i in texts))
    got = profiled(path, tmp_path, critics, answers=50)["all traffic"]
    assert [len(rows) for _, rows in got.answers.answer_rows()] == [3, 3, 4]
    assert got.set_aside == () and got.again == (0,)  # a vector of nothing would be one again


# Rows that failed in an earlier run.


class Moody(Bytes):
    """Cannot do texts with a word that stands in its file."""

    def __init__(self, words):
        super().__init__("text", 8)
        self._words = words

    def encode(self, contents):
        words = self._words.read_text().split()
        if any(word in content for word in words for content in contents):
            raise RuntimeError("not today")
        return super().encode(contents)


@pytest.fixture
def moody(tmp_path, critics):
    """A worker, its unit, and the words that it cannot do."""
    path = written(tmp_path / "r.parquet", map(record, range(N)))
    (tmp_path / "positions").mkdir()
    part = survey(path, one_window(), tmp_path / "positions", N).parts[0]
    (shard,) = shards_of(part)
    words = tmp_path / "words"
    words.write_text("")
    text = Encoding(lambda: Moody(words), text_encoder().identity)
    worker = ProfileWorker(settings(tmp_path / "sums", critics, text=text, answers=40))
    return worker, shard, words, profile_file(tmp_path / "sums", shard.name, 0)


def tried_again(shard, rows):
    unit = replace(shard.items[0].unit, again=rows)
    return replace(shard, items=tuple(replace(item, unit=unit) for item in shard.items))


def test_a_unit_is_made_again_once_a_failed_row_can_be_done(moody):
    worker, shard, words, path = moody
    worker.run(shard)
    truth = path.read_bytes()
    words.write_text("7? 61?")
    worker.run(shard)
    failed = read_profile(path)
    assert failed.again == tuple(i for i in range(N) if i % 10 == 7 or i == 61)
    assert failed.n == N - len(failed.again)

    before = path.stat().st_mtime_ns
    result = worker.run(tried_again(shard, failed.again))
    assert path.stat().st_mtime_ns == before and (result.rows, result.errors) == (N, len(failed.again))

    words.write_text("61?")  # not all of them
    worker.run(tried_again(shard, failed.again))
    assert read_profile(path).again == (61,)
    words.write_text("")
    worker.run(tried_again(shard, (61,)))
    assert path.read_bytes() == truth


def test_rows_that_fail_for_good_cost_no_more_than_themselves(moody, monkeypatch):
    worker, shard, words, path = moody
    words.write_text("61?")
    worker.run(shard)
    seen, encode = set(), Bytes.encode

    def watched(self, contents):
        seen.update(contents)
        return encode(self, contents)

    monkeypatch.setattr(Bytes, "encode", watched)
    worker.run(tried_again(shard, (61,)))
    assert not {"what is 60?", "what is 62?"} & seen
    condemned = replace(tried_again(shard, (61,)), condemned=((shard.items[61].key, "model_failed: no"),))
    assert worker.run(condemned).errors == 1 and read_profile(path).again == (61,)


def test_a_worse_day_does_not_replace_a_better_one(moody):
    worker, shard, words, path = moody
    words.write_text("61?")
    worker.run(shard)
    before = path.read_bytes()
    words.write_text("7?")
    worker.run(tried_again(shard, (61,)))
    assert path.read_bytes() == before
