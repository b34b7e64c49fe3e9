"""The mergeable value: addition with a neutral element, and one file format, old files of which are read and
bad ones refused by name.

`golden/profile-2.npz`, whose sample is all of its rows, and `golden/profile-2-large.npz`, whose sample is
not, were written by the first version of format 2 and are never written again: a program of that format reads
them to the values of `golden(WHOLE)` and `golden(LARGE)`.
"""

import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import AuditError, BadInput
from auditor.estimators import CLUB
from auditor.estimators.club_sums import ClubSums
from auditor.profiles.answer_sample import AnswerSample, RecordAnswers, smallest
from auditor.profiles.profile import (
    CONTENTS,
    INPUTS,
    PAIRS,
    SKETCHED,
    Norms,
    Profile,
    failed_rows,
    folded,
    having,
    profile_mark,
    read_profile,
    sweep_inputs,
    write_profile,
)
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows, joined
from auditor.sketch import RowSample, Sketch
from auditor.sketch.blocks import HASH_BLOCKS
from auditor.storage.embedding_store import Embeddings, normalise
from auditor.storage.npz import MOST_UNFOLDED
from auditor.storage.work_units import text_key
from schemas.record import Quarantined, Reason

WHOLE, LARGE = 7, 3
"""Most rows of the samples of the golden profiles, which are of five rows."""
GOLDEN = {
    k: Path(__file__).with_name("golden") / name
    for k, name in ((WHOLE, "profile-2.npz"), (LARGE, "profile-2-large.npz"))
}
D = 3


def same(a: Profile, b: Profile) -> None:
    """To the bit."""
    one, two = a.to_arrays(), b.to_arrays()
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].dtype == two[name].dtype and np.array_equal(one[name], two[name]), name
    assert dict(a.facts) == dict(b.facts) and list(a.facts) == list(b.facts)
    assert (a.set_aside, a.again, a.units) == (b.set_aside, b.again, b.units)
    # What files leave out: the queries, and the sums over the rows of a sample that is whole.
    assert a.sample.rows.keys() == b.sample.rows.keys() and a.sketches.keys() == b.sketches.keys()
    for name, rows in a.sample.rows.items():
        assert rows.dtype == b.sample.rows[name].dtype and np.array_equal(rows, b.sample.rows[name]), name
    for name, sketch in a.sketches.items():
        assert sketch.n == b.sketches[name].n and sketch.norm4 == b.sketches[name].norm4, name
        assert np.array_equal(sketch.s, b.sketches[name].s) and np.array_equal(sketch.S, b.sketches[name].S)


# Merging.


def rows_of(seed: int, n: int) -> Rows:
    """n rows, some without an image, an answer or a reference."""
    rng = np.random.default_rng([7, seed])

    def unit(share: float) -> tuple[np.ndarray, np.ndarray]:
        there = rng.random(n) < share
        return np.where(there[:, None], normalise(rng.normal(size=(n, D))).rows, np.float32(0)), there

    image, has_image = unit(0.7)
    text, _ = unit(1.0)
    response, has_response = unit(0.8)
    reference, has_reference = unit(0.6)
    every = np.ones(n, bool)
    ids = tuple(f"{seed}-{i}" for i in range(n))
    has = {"image": has_image, "text": every, "response": has_response, "reference": has_reference}
    return Rows(ids, ids, ids, image, text, joined(image, text, has_image, every), response, reference, has)


def group(seed: int, n: int, count: int = 2) -> Profile:
    """Of n rows, and of what goes with them."""
    rng, rows = np.random.default_rng([9, seed]), rows_of(seed, n)
    norms = rng.random((n, 4)) * np.column_stack([rows.has[name] for name in CONTENTS])
    sums = sketch_rows(rows, norms.astype(np.float32), critics()[:count], SAMPLE) if n else Profile()
    return replace(
        sums,
        answers=answers(seed, n),
        facts={"n": n, "answered": int(rows.has["response"].sum()), f"only {seed % 2}": 1},
        scores=rng.random(n // 2),
        score_groups=rng.integers(0, 2**63, n // 2).astype(np.uint64),
        set_aside=tuple(
            Quarantined("f", i, Reason.MISSING_INPUT, "no", f"{seed}-x{i}") for i in range(seed % 3)
        ),
        again=tuple(range(seed % 2)),
    )


def answers(seed: int, n: int) -> AnswerSample:
    words = [f"word {i}" for i in range(9)]
    texts = Embeddings(list(map(text_key, words)), np.eye(9, D, dtype=np.float32) + 1, [None] * 9)
    rng = np.random.default_rng([8, seed])
    records = [
        RecordAnswers(i, f"{seed}-{i}", f"{seed}-{i}", (-1.0 * i, -2.0), tuple(rng.choice(words, 4)))
        for i in range(n)
    ]
    return AnswerSample.from_records(smallest(records, 15, 2**64), n, texts, 15)


def trained(seed: int) -> CLUB:
    x = np.random.default_rng(seed).normal(size=(40, D))
    return CLUB(hidden=4, steps=3, batch=16, seed=seed).fit(x, -x)


@cache
def critics() -> list[CLUB]:
    return [trained(0), trained(1)]


@cache
def units() -> list[Profile]:
    return [group(seed, n) for seed, n in enumerate(SIZES)]


SIZES = (12, 0, 25, 7, 1, 0, 40, 3)
SAMPLE = 20
some = st.lists(st.integers(0, len(SIZES) - 1), min_size=1, max_size=5, unique=True)
quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def merged(profiles: list[Profile]) -> Profile:
    total = Profile.empty()
    for each in profiles:
        total = total.merge(each)
    return total


def spread(profile: Profile) -> dict[str, np.ndarray]:
    """Its arrays, those too that are written once for several."""
    every = profile.to_arrays()
    head = json.loads(every["profile"].tobytes())
    return every | {name: every[first] for name, first in head["same"].items()}


def close_sketches(a: Mapping[str, Sketch], b: Mapping[str, Sketch], rtol: float) -> None:
    assert a.keys() == b.keys()
    for name in a:
        one, two = a[name].to_arrays(), b[name].to_arrays()
        assert one.keys() == two.keys() and a[name].n == b[name].n
        for of in one:
            np.testing.assert_allclose(one[of], two[of], rtol=rtol, atol=rtol, err_msg=f"{name}.{of}")


def close(a: Profile, b: Profile) -> None:
    """Sums up to rounding (of products in float32: which rows are multiplied at once depends on when the
    sample ceased to be whole); samples, counts and facts to the bit."""
    one, two = spread(a), spread(b)
    assert one.keys() == two.keys()
    for name in one.keys() - {"profile"}:
        if one[name].dtype.kind == "f" and name.startswith(("critic.", "norms.")):
            np.testing.assert_allclose(one[name], two[name], rtol=1e-9, atol=1e-9, err_msg=name)
        elif name not in ("scores", "score_groups") and not name.startswith("sketch."):
            assert np.array_equal(one[name], two[name]), name
    close_sketches(a.sketches, b.sketches, 1e-9 if a.sample.complete else 1e-6)
    assert dict(a.facts) == dict(b.facts) and a.units == b.units
    assert sorted(a.scores) == sorted(b.scores) and sorted(a.again) == sorted(b.again)
    assert sorted(r.record_id or "" for r in a.set_aside) == sorted(r.record_id or "" for r in b.set_aside)


@quick
@given(some)
def test_the_empty_profile_is_neutral(chosen: list[int]) -> None:
    of = merged([units()[i] for i in chosen])
    same(Profile.empty().merge(of), of)
    same(of.merge(Profile.empty()), of)
    assert Profile.empty().n == Profile.empty().units == 0


@quick
@given(some, st.randoms(use_true_random=False))
def test_however_units_are_bracketed_it_is_one_group(chosen: list[int], random) -> None:
    parts = [units()[i] for i in chosen]
    whole = merged(parts)
    while len(parts) > 1:
        at = random.randrange(len(parts) - 1)
        parts[at : at + 2] = [parts[at].merge(parts[at + 1])]
    close(parts[0], whole)
    # What is listed keeps the order of the units, however they were bracketed.
    assert parts[0].set_aside == whole.set_aside and parts[0].again == whole.again
    assert np.array_equal(parts[0].scores, whole.scores) and list(parts[0].facts) == list(whole.facts)


@quick
@given(some, st.randoms(use_true_random=False))
def test_the_order_of_units_is_that_of_what_is_listed_and_nothing_else(chosen: list[int], random) -> None:
    other = list(chosen)
    random.shuffle(other)
    one, two = (merged([units()[i] for i in order]) for order in (chosen, other))
    close(one, two)
    assert two.set_aside == tuple(row for i in other for row in units()[i].set_aside)
    assert np.array_equal(two.scores, np.concatenate([units()[i].scores for i in other]))
    assert two.units == len(other) and two.n == sum(units()[i].n for i in chosen)


@quick
@given(some)
def test_files_come_back_to_the_bit(tmp_path: Path, chosen: list[int]) -> None:
    of = merged([units()[i] for i in chosen])
    write_profile(tmp_path / "a.npz", of)
    same(read_profile(tmp_path / "a.npz"), of)
    assert failed_rows(tmp_path / "a.npz") == of.again


@pytest.mark.parametrize("at", [[0], [2], [0, 7], [0, 3], [3, 0], [4, 7, 3], [2, 6], [7, 6, 0]])
def test_sketches_are_the_sums_of_all_rows_whether_the_sample_is_whole(at: list[int]) -> None:
    found, parts = merged([units()[i] for i in at]), [rows_of(i, SIZES[i]) for i in at]
    n = sum(map(len, parts))
    assert found.n == n and found.sample.complete == (n <= SAMPLE) == (not found.moments)
    expected = {}
    for name in SKETCHED:
        has = [p.has["image"] | p.has["text"] if name == "x" else p.has[name] for p in parts]
        expected[name] = Sketch.from_rows(
            np.concatenate([getattr(p, name)[of] for p, of in zip(parts, has, strict=True)])
        )
    close_sketches(found.sketches, expected, 1e-6)


@quick
@given(some, st.randoms(use_true_random=False))
def test_sketches_of_a_whole_sample_are_the_same_bits_in_any_order(chosen: list[int], random) -> None:
    chosen = [i for i in chosen if SIZES[i] <= 12][:2]  # never more rows than the sample holds
    other = random.sample(chosen, len(chosen))
    one, two = (merged([units()[i] for i in order]) for order in (chosen, other))
    assert one.sample.complete
    for name, sketch in one.sketches.items():
        assert np.array_equal(sketch.S, two.sketches[name].S) and np.array_equal(
            sketch.s, two.sketches[name].s
        )


def test_files_of_few_rows_hold_the_rows_alone_and_each_array_once(tmp_path: Path) -> None:
    for i, sums in ((0, False), (2, True)):
        write_profile(tmp_path / "a.npz", units()[i])
        with np.load(tmp_path / "a.npz") as file:
            names = set(file)
            written_once = json.loads(file["profile"].tobytes())["same"]
            kinds = {member.compress_type for member in file.zip.infolist()}
        assert any(name.startswith("sketch.") for name in names) == sums
        assert ("sketch.x.upper" in names) == sums and "sample.rows.x" not in names
        assert written_once and not names & set(written_once) and set(written_once.values()) <= names
        assert written_once["critic.model.1.y"] == "critic.model.0.y"  # critics share those of the answers
        assert kinds == {zipfile.ZIP_STORED if sums else zipfile.ZIP_DEFLATED}


def test_profiles_that_were_not_made_alike_do_not_merge() -> None:
    of = units()[0]
    with pytest.raises(BadInput, match="other numbers of critics"):
        of.merge(group(9, 5, count=1))
    other = replace(units()[2], sample=replace(units()[2].sample, k=19))
    with pytest.raises(BadInput, match="different k"):
        of.merge(other)
    made = replace(of, made_with="one"), replace(units()[2], made_with="other")
    with pytest.raises(BadInput, match="one row_sample: these have other encoders or critics"):
        made[0].merge(made[1])
    assert made[0].merge(units()[2]).made_with == "one"
    narrow = replace(units()[2], moments={**units()[2].moments, "image": Sketch.empty(D + 1)})
    with pytest.raises(BadInput, match="dimensions"):
        of.merge(narrow)
    assert of.merge(Profile(facts={"n": 3})).n == of.n  # of no usable row: whatever it was made with


def test_files_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    write_profile(tmp_path / "a.npz", units()[0])
    write_profile(tmp_path / "b.npz", group(9, 5, count=1))
    said = r"profiles do not fit together \(.*other numbers of critics\); delete it"
    with pytest.raises(AuditError, match=said):
        folded([tmp_path / "a.npz", tmp_path / "b.npz"])
    same(folded([]), Profile.empty())


def test_a_mark_is_of_what_a_file_says_of_its_rows(tmp_path: Path) -> None:
    a, b = tmp_path / "a.npz", tmp_path / "b.npz"
    write_profile(a, units()[2])
    write_profile(b, units()[2])
    assert profile_mark(a) == profile_mark(b)
    for change in ({"again": (7,)}, {"facts": {"n": 1}}, {"set_aside": ()}, {"units": 2}):
        write_profile(b, replace(units()[2], **change))
        assert profile_mark(a) != profile_mark(b), change


def test_rows_that_have_contents() -> None:
    sample = units()[6].sample
    has = sample.rows["has"] > 0
    assert np.array_equal(having(sample, "image", "reference"), has[:, 0] & has[:, 3])
    assert np.array_equal(having(sample, "x"), has[:, 0] | has[:, 1])


# The golden file.


def golden(k: int) -> Profile:
    """Of five usable rows, one without an image, of which the sample holds at most k."""

    def sketch(n: int, d: int) -> Sketch:
        return Sketch(n, np.arange(d) + 0.25, np.eye(d) * n + 0.125, n + 0.5)

    def sums(n: int, w: float) -> ClubSums:
        blocks = np.zeros(HASH_BLOCKS)
        blocks[[3, 8]] = 1, n - 1
        return ClubSums(blocks, 0.5 * blocks, *(np.outer(blocks, [of, of]) for of in (0.25, 0.5, 0.75, w)))

    image = np.array([[1], [0], [0.5], [-1], [0.25]], np.float32)
    text = np.array([[1, 0], [0, 1], [1, 0], [0.5, 0.5], [0, 1]], np.float32)
    has = np.array([[1, 1, 1, 1], [0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]], np.float32)
    sample = RowSample(
        k,
        5,
        np.array([[11, 12, 13], [22, 9, 13], [33, 1, 2], [44, 5, 6], [2**63 + 5, 0, 0]], np.uint64)[:k],
        np.array(["r2", "r0", "r3", "r1", "r4é"])[:k],
        np.array(["b2", "b0", "b3", "b1", "b4"])[:k],
        np.array(["chat", "b0", "b3", "b1", "b4"])[:k],
        {
            "image": image[:k],
            "text": text[:k],
            "x": np.array(
                [[0.5, 0.5, 0], [0, 0, 1], [0.25, 0.5, 0], [-0.5, 0.25, 0.25], [0.125, 0, 0.5]], np.float32
            )[:k],
            "response": np.array([[1, 0], [-1, 0], [0, 1], [0, 0], [0, -1]], np.float32)[:k],
            "reference": np.array([[1, 0], [0, 0], [0, 1], [1, 0], [0, 0]], np.float32)[:k],
            "has": has[:k],
            "norm": (np.array([4, 3, 1, 1], np.float32) * has)[:k],
        },
    )
    moments = {
        "image": sketch(4, 1),
        "text": sketch(5, 2),
        "x": sketch(5, 3),
        "response": sketch(4, 2),
        "reference": sketch(3, 2),
    }
    return Profile(
        {} if k >= 5 else moments,
        {
            "model": (sums(4, 1.0), sums(4, 2.0)),
            "emi_model": (sums(2, 1.0), sums(2, 2.0)),
            "emi_reference": (sums(2, 4.0), sums(2, 8.0)),
        },
        Norms(np.array([4.0, 5, 4, 3]), np.array([12.0, 15, 4, 3]), np.array([40.0, 45, 4, 3])),
        sample,
        AnswerSample(
            2,
            4,
            np.array([5, 9], np.uint64),
            np.array(["r1", "r3"]),
            np.array(["b1", "b3"]),
            np.array([1, 3]),
            np.array([-0.5, -1.5, -0.25]),
            np.array([2, 1]),
            np.array([0, 1, 0, 1, 1]),
            np.array([3, 2]),
            np.array(["0" * 32, "f" * 32]),
            np.array([[1], [-1]], np.float32),
        ),
        {"n": 7, "answered": 6, "query_chars": 70},
        np.array([0.0, 0.5, 1.0]),
        np.array([7, 2**64 - 1, 7], np.uint64),
        (
            Quarantined(
                "records.jsonl", 5, Reason.IMAGE_MISSING, "nowhere.png: no such file", "r5", "june", ""
            ),
            Quarantined("june", 6, Reason.MODEL_FAILED, "no answer", None, "june", "m"),
        ),
        (5, 6),
        2,
    )


@pytest.mark.parametrize("k", GOLDEN)
def test_a_file_of_this_format_is_read_to_what_it_was_made_of(k: int) -> None:
    assert GOLDEN[k].stat().st_size < 60_000
    found = read_profile(GOLDEN[k])
    same(found, golden(k))
    assert found.n == 5 and found.again == failed_rows(GOLDEN[k]) == (5, 6) and found.units == 2
    assert found.norms.descriptors()["image_norm"] == 3 and found.norms.descriptors()["image_norm_std"] == 1
    # A/n - m1·(Σ w μ)/n + ½ m2·(Σ w)/n, by hand; two dimensions
    assert [sums.value() for sums in found.critic_sums["model"]] == pytest.approx(
        [0.5 - 2 * 0.25 * 0.75 + 2 * 0.5 * 0.5 * w for w in (1, 2)]
    )
    text = found.sketches["text"]
    assert {name: sketch.n for name, sketch in found.sketches.items()} == {
        "image": 4,
        "text": 5,
        "x": 5,
        "response": 4,
        "reference": 3,
    }
    if k == WHOLE:  # of the rows, by hand
        assert found.sample.complete and not found.moments
        assert text.s.tolist() == [2.5, 2.5] and text.S.tolist() == [[2.25, 0.25], [0.25, 2.25]]
        assert text.norm4 == 4.25 and found.sketches["x"].s.tolist() == [0.375, 1.25, 1.75]
    else:
        assert len(found.sample) == 3 and text.S.tolist() == [[5.125, 0.125], [0.125, 5.125]]
    assert found.answers is not None
    assert found.answers.log_probabilities() == [("b1", (-0.5, -1.5)), ("b3", (-0.25,))]
    assert [(base, rows.tolist()) for base, rows in found.answers.answer_rows()] == [
        ("b1", [0, 1, 0]),
        ("b3", [1, 1]),
    ]
    assert having(found.sample, "image").tolist() == [True, False, True, True, True][:k]


# Hostile files.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "of-strangers.npz"


def refused(path: Path, why: str | None = None) -> None:
    """By every reader, in one line that names the file."""
    for read in (read_profile, lambda p: folded([p])):
        with pytest.raises(AuditError, match=why) as error:
            read(path)
        said = str(error.value)
        assert said.startswith(f"{path}: not readable (") and said.endswith("; delete it and run again")
        assert "\n" not in said and len(said) < 400


def arrays(k: int = LARGE, **changed: object) -> dict[str, np.ndarray]:
    """Those of a golden profile, with others in the place of some (None: left out), double underscores for
    dots."""
    of = golden(k).to_arrays() | {name.replace("__", "."): np.asarray(a) for name, a in changed.items()}
    return {name: a for name, a in of.items() if a.dtype.kind != "O"}


def head(k: int = LARGE, **changed: object) -> np.ndarray:
    tree = json.loads(golden(k).to_arrays()["profile"].tobytes()) | changed
    text = json.dumps({name: value for name, value in tree.items() if value is not ...})
    return np.frombuffer(text.encode(), np.uint8)


@pytest.mark.parametrize("k", GOLDEN)
def test_files_that_are_cut_off_anywhere(path: Path, k: int) -> None:
    data = GOLDEN[k].read_bytes()
    for size in {*range(0, len(data), 997), 1, 4, 100, len(data) - 1, len(data) - 30}:
        path.write_bytes(data[:size])
        refused(path)
        with pytest.raises(AuditError, match="not readable"):
            failed_rows(path)


@pytest.mark.parametrize("k", GOLDEN)
@settings(quick, max_examples=100)
@given(st.data())
def test_a_byte_that_was_changed_anywhere_is_refused_or_nothing_of_the_value(
    tmp_path: Path, k: int, data: st.DataObject
) -> None:
    changed = bytearray(GOLDEN[k].read_bytes())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "x.npz").write_bytes(changed)
    try:
        found = read_profile(tmp_path / "x.npz")
    except AuditError as error:
        assert str(tmp_path / "x.npz") in str(error)
    else:
        same(found, golden(k))  # a time stamp of the archive, say


def test_files_that_are_no_profiles(path: Path) -> None:
    def zipped(**members: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return out.getvalue()

    for data in (b"", b"PK nothing", b"\x80\x05K\x01.", b"{}", zipped(), zipped(readme=b"hello")):
        path.write_bytes(data)
        refused(path)
    path.write_bytes(zipped(**{"profile.npy": b"no array", "scores.npy": b""}))
    refused(path)
    np.save(path.with_suffix(".npy"), np.arange(3))
    path.with_suffix(".npy").replace(path)
    refused(path, "it is a single array, no npz file")
    path.unlink()
    refused(path, "No such file")
    path.mkdir()
    refused(path, "directory")


def test_a_small_file_does_not_unfold_to_a_large_one(path: Path) -> None:
    zeros = np.zeros(MOST_UNFOLDED // 32)
    np.savez_compressed(path, **arrays(scores=zeros, score_groups=zeros))
    assert len(read_profile(path).scores) == MOST_UNFOLDED // 32  # up to the limit it is read
    one = {"scores": np.zeros(MOST_UNFOLDED // 8)}
    many = {"scores": np.zeros(MOST_UNFOLDED // 16), "more": np.zeros(MOST_UNFOLDED // 16)}
    for changed in (one, many):
        np.savez_compressed(path, **arrays(**changed))
        assert path.stat().st_size < 10**5
        refused(path, "it is compressed and unfolds to more than")
        with pytest.raises(AuditError, match="it is compressed and unfolds to more than"):
            failed_rows(path)


@pytest.mark.parametrize("way", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_compressing_are_refused(path: Path, way: int) -> None:
    """They unfold a piece at a time to any size, and are damaged in ways of their own."""
    with zipfile.ZipFile(path, "w", compression=way) as archive:
        for name, array in arrays().items():
            out = io.BytesIO()
            np.save(out, array)
            archive.writestr(f"{name}.npy", out.getvalue())
    refused(path, "it is compressed in a way that this program's files never are")


def test_an_array_larger_than_its_file(path: Path) -> None:
    """A header may promise any number of rows: none of them are there."""
    for shape in ((10**9,), (10**18,), (10**30,), (-1,)):
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
        member = b"\x93NUMPY\x01\x00" + (128 - 10).to_bytes(2, "little") + header.ljust(117).encode() + b"\n"
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in arrays().items():
                out = io.BytesIO()
                np.save(out, array)
                archive.writestr(f"{name}.npy", member if name == "scores" else out.getvalue())
        refused(path)


class Ran:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> object:
        return type(self.mark).touch, (self.mark,)


@pytest.mark.parametrize("name", ["profile", "scores", "sketch.x.upper", "answers.ids"])
def test_pickled_objects_are_not_loaded(path: Path, name: str) -> None:
    mark = path.with_name("ran")
    np.savez(path, **golden(LARGE).to_arrays() | {name: np.array([Ran(mark)], dtype=object)})
    refused(path, "Object arrays cannot be loaded")
    assert not mark.exists()
    with np.load(path, allow_pickle=True) as file:
        file[name]
    assert mark.exists()  # it would have run


def test_files_of_another_format(path: Path) -> None:
    for version in (0, 1, 3, 10**30, "1", None, ...):
        np.savez(path, **arrays(profile=head(format=version)))
        shown = None if version is ... else version
        refused(path, re.escape(f"it has format {shown} of profiles, this program reads format 2"))


@pytest.mark.parametrize(("k", "least"), [(WHOLE, 50), (LARGE, 70)])
def test_an_array_that_is_missing_is_named(path: Path, k: int, least: int) -> None:
    every = golden(k).to_arrays()
    assert len(every) > least
    for name in every:
        np.savez(path, **{key: a for key, a in every.items() if key != name})
        refused(path, re.escape(name))


NAN, WIDE = float("nan"), np.zeros((2, 2, 2))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        # Numbers that are none.
        ({"scores": [0.5, NAN]}, "scores: not a list of finite numbers"),
        ({"scores": [[0.5]]}, "scores: not a list"),
        ({"scores": ["a"]}, "could not convert"),
        ({"scores": [0.5]}, r"score_groups: \(3,\) of 1 scores"),
        ({"sketch__x__s": [NAN, 1, 1]}, r"sketch\.x: not a sketch: its sums are not finite"),
        ({"sketch__image__S": [[np.inf]]}, r"sketch\.image: .* not finite"),
        ({"sketch__image__upper": [np.inf]}, r"sketch\.image: .* not finite"),
        ({"sketch__text__norm4": NAN}, r"sketch\.text: .* not finite"),
        ({"sketch__text__n": NAN}, r"sketch\.text: "),
        ({"sketch__text__n": np.inf}, r"sketch\.text: "),
        ({"critic__model__1__A": np.full(60, NAN)}, r"critic\.model\.1: not CLUB sums: some are not finite"),
        ({"norms__sums": [1, NAN, 1, 1]}, r"norms: sums: not 4 finite numbers"),
        ({"norms__squares": [1, 1, 1, -1]}, r"norms: squares: not 4 finite numbers of at least 0"),
        ({"sample__rows__text": [[1, 0], [0, NAN], [1, 0]]}, r"sample: rows\.text: row 1 is not finite"),
        ({"answers__vectors": [[NAN], [1]]}, r"answers: vectors: row 0 is not finite"),
        ({"answers__logs": [NAN, 0, 0]}, r"answers: logs: some are no numbers"),
        # Wrong sizes.
        ({"sketch__x__S": np.eye(2)}, r"sketch\.x: not a sketch: n=5, s \(3,\), S \(2, 2\)"),
        ({"sketch__x__upper": np.ones(5)}, r"sketch\.x: .* half of S has shape \(5,\), for 3 dimensions"),
        ({"sketch__x__upper": np.eye(3)}, r"sketch\.x: .* half of S has shape \(3, 3\), for 3 dimensions"),
        ({"sketch__x__s": np.ones(10**6)}, r"sketch\.x: .* half of S has shape \(6,\), for 1000000 dim"),
        ({"sketch__x__s": WIDE}, r"sketch\.x: not a sketch"),
        ({"sketch__x__n": [1, 2]}, r"sketch\.x: "),
        ({"sketch__x__s": [1], "sketch__x__S": [[1]]}, r"sample\.rows\.x: 3 dimensions, sketch\.x has 1"),
        ({"critic__model__0__y": np.zeros((60, 9))}, r"critic\.model\.0: not CLUB sums: shapes"),
        ({f"critic__model__0__{n}": np.zeros((2, 1)) for n in ("y", "y2", "wmu", "w")}, r"not CLUB sums"),
        ({"norms__n": [1, 2, 3]}, r"norms: n: not 4 finite numbers"),
        ({"norms__n": WIDE}, r"norms: n: "),
        ({"sample__ids": ["r0", "r1"]}, r"sample: not a row sample: hashes \(3, 3\) of 2 rows"),
        ({"sample__groups": ["r0", "r1"]}, "sample: not a row sample: its arrays differ in length"),
        ({"sample__hashes": [1, 2, 3, 4]}, "sample: not a row sample"),
        ({"sample__rows__has": np.zeros((3, 5))}, r"sample\.rows\.has: missing, or of another shape"),
        ({"sample__rows__norm": np.zeros((3, 1))}, r"sample\.rows\.norm"),
        ({"sample__rows__image": WIDE}, r"sample: rows\.image must be an \(n, d\) matrix"),
        ({"answers__ids": ["r1"]}, "answers: not a sample of answers: its arrays do not fit together"),
        ({"answers__answers": [0, 1, 0, 1, 2]}, "answers: not a sample of answers"),
        ({"answers__answers": [0, 1, 0, 1, -1]}, "answers: not a sample of answers"),
        ({"answers__log_counts": [4, -1]}, "answers: not a sample of answers"),
        ({"answers__keys": ["0" * 32]}, "answers: not a sample of answers"),
        # Counts that cannot be, or do not fit one another.
        ({"sketch__x__n": -1}, r"sketch\.x: not a sketch: n=-1"),
        ({"sketch__x__n": 10**12}, r"sketch\.x: 1000000000000 rows are more than the 5 usable ones"),
        ({"critic__emi_model__0__n": np.ones(60)}, r"critic\.emi_model: .* more than 5 rows"),
        ({"critic__emi_model__0__n": np.full(60, -1.0)}, r"critic\.emi_model: "),
        ({"norms__n": [4, 9, 4, 3]}, "norms: of more than 5 rows"),
        ({"sample__seen": 10**12}, "sample: 3 of 1000000000000 rows do not fit 5 usable rows"),
        ({"sample__k": 4}, "sample: 3 of 5 rows do not fit 5 usable rows"),
        ({"answers__seen": 1}, "answers: not a sample of answers"),
        ({"profile": head(rows=10**12)}, "sample: 3 of 5 rows do not fit 1000000000000 usable rows"),
        ({"profile": head(rows=-1)}, "rows: -1 is no count"),
        ({"profile": head(rows=2**70)}, r"rows: \d+ is no count"),
        ({"profile": head(rows=True)}, "rows: True is no count"),
        ({"profile": head(rows=4)}, "do not fit 4 usable rows"),
        ({"profile": head(rows=...)}, "it lacks 'rows'"),
        ({"profile": head(critics=3)}, r"it lacks 'critic\.model\.2\."),
        ({"profile": head(critics=2**62)}, "critics: 4611686018427387904 are more than there are sums of"),
        ({"profile": head(units=1.5)}, r"units: 1\.5 is no count"),
        ({"profile": head(again=[2, -3])}, "again: -3 is no count"),
        ({"profile": head(again=3)}, "not iterable"),
        ({"profile": head(facts={"n": "many"})}, r"facts\.n: many is no count"),
        ({"profile": head(facts={"n": NAN})}, r"facts\.n: nan is no count"),
        ({"profile": head(facts=[1])}, None),
        ({"profile": head(set_aside=[{"row": 1}])}, "it lacks 'reason'"),
        ({"profile": head(set_aside=[{"source": "f", "row": 1, "reason": "because"}])}, "because"),
        ({"profile": head(set_aside=[{"source": "f", "row": "x", "reason": "model_failed"}])}, "no count"),
        ({"profile": head(set_aside=[{"source": 7, "row": 1, "reason": "model_failed"}])}, "are no texts"),
        ({"profile": head(set_aside=[{"source": "f", "row": 1, "reason": "model_failed", "x": 1}])}, "'x'"),
        ({"profile": head(set_aside=[3])}, None),
        # Arrays that no file of this format holds, or that are named in the place of others.
        ({"sample__rows__x": np.zeros((3, 3))}, r"sample\.rows\.x: no content of a row"),
        ({"sample__rows__y": np.zeros((3, 3))}, r"sample\.rows\.y: no content of a row"),
        ({"profile": head(same=...)}, "it lacks 'same'"),
        ({"profile": head(same={"scores": "nothing"})}, "it lacks 'nothing'"),
        ({"profile": head(same={"scores": ["scores"]})}, None),
        ({"profile": head(same=["scores"])}, None),
        ({"profile": head(same={"sketch.x.s": "scores"})}, None),
        # A description that is none.
        ({"profile": np.frombuffer(b"no json", np.uint8)}, "Expecting value"),
        ({"profile": np.frombuffer(b"[]", np.uint8)}, "it has format None of profiles"),
        ({"profile": np.frombuffer(b"\xff\xfe", np.uint8)}, None),
        ({"profile": np.frombuffer(b"[" * 10**5, np.uint8)}, None),
    ],
)
def test_arrays_that_cannot_be(path: Path, changed: dict[str, object], why: str | None) -> None:
    np.savez(path, **arrays(**changed))
    refused(path, why)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"sample__rows__x": np.zeros((5, 3))}, r"sample\.rows\.x: no content of a row"),
        ({"sample__rows__image": None}, r"sample\.rows\.image: missing, though rows have it"),
        ({"sample__rows__text": [[NAN, 0]] * 5}, r"sample: rows\.text: row 0 is not finite"),
        ({"sample__rows__text": np.zeros((4, 2))}, "sample: not a row sample"),
        ({"sample__rows__has": np.full((5, 4), NAN)}, r"sample: rows\.has: row 0 is not finite"),
        ({"sample__k": 4}, "sample: 5 of 5 rows do not fit 5 usable rows"),
        ({"sample__seen": 6}, "sample: 5 of 6 rows do not fit 5 usable rows"),
        ({"profile": head(WHOLE, rows=6)}, "sample: 5 of 5 rows do not fit 6 usable rows"),
        # Of more rows than it holds there must be sums.
        (
            {"sample__k": 5, "sample__seen": 6, "profile": head(WHOLE, rows=6)},
            r"it lacks 'sketch\.image\.s'",
        ),
        ({"norms__n": [4, 9, 4, 3]}, "norms: of more than 5 rows"),
        ({"critic__emi_model__0__n": np.ones(60)}, r"critic\.emi_model: .* more than 5 rows"),
    ],
)
def test_rows_of_a_whole_sample_that_cannot_be(
    path: Path, changed: dict[str, object], why: str | None
) -> None:
    np.savez_compressed(path, **arrays(WHOLE, **changed))
    refused(path, why)


@pytest.mark.parametrize("k", GOLDEN)
def test_what_is_refused_is_what_was_changed(path: Path, k: int) -> None:
    """Nothing but the change is wrong with the files of the tests above."""
    np.savez(path, **arrays(k, profile=head(k)))
    same(read_profile(path), golden(k))
    assert set(PAIRS) == set(golden(k).critic_sums) and set(SKETCHED) == set(golden(k).sketches)


# What the profiles of several models share.


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The units of this module are small."""
    monkeypatch.setattr("auditor.profiles.profile.SMALL_BYTES", 32)


def test_inputs_lie_once_for_all_models(apart: None, tmp_path: Path) -> None:
    """Of images and queries; each model's answers are its own. What nobody needs any more goes."""
    for i, large in ((0, False), (2, True)):
        folder, one = tmp_path / str(i), units()[i]
        folder.mkdir()
        other = replace(one, facts={"n": 1})
        for name, profile in (("m", one), ("k", other)):
            write_profile(folder / f"{name}.npz", profile, inputs_apart=True)
            same(read_profile(folder / f"{name}.npz"), profile)
        shared = list((folder / INPUTS).iterdir())
        with np.load(folder / "m.npz") as file:
            assert not any(name.startswith(("sample.rows.image", "sketch.image.upper")) for name in file)
            head = json.loads(file["profile"].tobytes())["apart"]
        wanted = {"sample.rows.image", "sample.rows.text", *(["sketch.image.upper"] if large else [])}
        assert wanted <= set(head) and {path.stem for path in shared} == set(head.values())
        sweep_inputs(folder)
        assert list((folder / INPUTS).iterdir()) == shared
        (folder / "m.npz").unlink()
        write_profile(folder / "k.npz", units()[4], inputs_apart=True)
        sweep_inputs(folder)
        assert not {path.name for path in shared} & {path.name for path in (folder / INPUTS).iterdir()}
        same(read_profile(folder / "k.npz"), units()[4])


def test_inputs_that_are_not_there_or_others_are_refused_by_name(apart: None, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    write_profile(path, units()[0], inputs_apart=True)
    first = min((tmp_path / INPUTS).iterdir())
    with np.load(first) as file:
        array = file["array"]
    np.savez(first, array=array + 1)
    with pytest.raises(
        AuditError, match=r"m.npz: .*sample.rows.*: not what the file of its name should hold"
    ):
        read_profile(path)
    first.unlink()
    with pytest.raises(AuditError, match=rf"{first.name}: not readable .*; delete {tmp_path} and run again"):
        read_profile(path)
    arrays = {name: np.asarray(a) for name, a in units()[0].to_arrays().items()}
    head = json.loads(arrays["profile"].tobytes()) | {"apart": {"sample.rows.image": "../../etc/passwd"}}
    np.savez(path, **{**arrays, "profile": np.frombuffer(json.dumps(head).encode(), np.uint8)})
    with pytest.raises(AuditError, match=r"apart: sample.rows.image is nothing that lies in a file"):
        read_profile(path)
