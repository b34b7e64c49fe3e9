"""The mergeable value: addition with a neutral element, and one file format, old files of which are read and
bad ones refused by name.

`golden/profile-1.npz` was written by the first version of format 1 and is never written again: a program of
that format reads it to the values of `golden()`.
"""

import io
import json
import re
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import AuditError
from auditor.estimators import CLUB
from auditor.estimators.club_sums import ClubSums
from auditor.profiles.answer_sample import AnswerSample, RecordAnswers, smallest
from auditor.profiles.profile import (
    CONTENTS,
    PAIRS,
    SKETCHED,
    Norms,
    Profile,
    failed_rows,
    folded,
    having,
    profile_mark,
    read_profile,
    write_profile,
)
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows, joined
from auditor.sketch import RowSample, Sketch
from auditor.sketch.blocks import HASH_BLOCKS
from auditor.storage.embedding_store import Embeddings, normalise
from auditor.storage.work_units import text_key
from schemas.record import Quarantined, Reason

GOLDEN = Path(__file__).with_name("golden") / "profile-1.npz"
D = 3


def same(a: Profile, b: Profile) -> None:
    """To the bit."""
    one, two = a.to_arrays(), b.to_arrays()
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].dtype == two[name].dtype and np.array_equal(one[name], two[name]), name
    assert dict(a.facts) == dict(b.facts) and list(a.facts) == list(b.facts)
    assert (a.set_aside, a.again, a.units) == (b.set_aside, b.again, b.units)


# Merging.


def group(seed: int, n: int, count: int = 2) -> Profile:
    """Of n rows, some without an image, an answer or a reference, and of what goes with them."""
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
    rows = Rows(ids, ids, image, text, joined(image, text, has_image, every), response, reference, has)
    norms = rng.random((n, 4)) * np.column_stack([has[name] for name in CONTENTS])
    sums = sketch_rows(rows, norms.astype(np.float32), critics()[:count], 20) if n else Profile()
    return replace(
        sums,
        answers=answers(seed, n),
        facts={"n": n, "answered": int(has_response.sum()), f"only {seed % 2}": 1},
        scores=rng.random(n // 2),
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
some = st.lists(st.integers(0, len(SIZES) - 1), min_size=1, max_size=5, unique=True)
quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def merged(profiles: list[Profile]) -> Profile:
    total = Profile.empty()
    for each in profiles:
        total = total.merge(each)
    return total


def close(a: Profile, b: Profile) -> None:
    """Sums up to rounding; samples, counts and facts to the bit."""
    one, two = a.to_arrays(), b.to_arrays()
    assert one.keys() == two.keys()
    for name in one.keys() - {"profile"}:
        if one[name].dtype.kind == "f" and name.startswith(("sketch.", "critic.", "norms.")):
            np.testing.assert_allclose(one[name], two[name], rtol=1e-9, atol=1e-9, err_msg=name)
        elif name != "scores":
            assert np.array_equal(one[name], two[name]), name
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


def test_profiles_that_were_not_made_alike_do_not_merge() -> None:
    of = units()[0]
    with pytest.raises(ValueError, match="different critics"):
        of.merge(group(9, 5, count=1))
    other = replace(units()[2], sample=replace(units()[2].sample, k=19))
    with pytest.raises(ValueError, match="different k"):
        of.merge(other)
    narrow = replace(units()[2], sketches={**units()[2].sketches, "image": Sketch.empty(D + 1)})
    with pytest.raises(ValueError, match="dimensions"):
        of.merge(narrow)
    assert of.merge(Profile(facts={"n": 3})).n == of.n  # of no usable row: whatever it was made with


def test_files_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    write_profile(tmp_path / "a.npz", units()[0])
    write_profile(tmp_path / "b.npz", group(9, 5, count=1))
    with pytest.raises(AuditError, match=r"profiles do not fit together \(.*different critics\); delete it"):
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


def golden() -> Profile:
    """What `golden/profile-1.npz` holds: of five usable rows, three of them sampled, one without an image."""

    def sketch(n: int, d: int) -> Sketch:
        return Sketch(n, np.arange(d) + 0.25, np.eye(d) * n + 0.125, n + 0.5)

    def sums(n: int, w: float) -> ClubSums:
        blocks = np.zeros(HASH_BLOCKS)
        blocks[[3, 8]] = 1, n - 1
        return ClubSums(blocks, 0.5 * blocks, *(of * blocks[:, None] for of in (0.25, 0.5, 0.75, w)))

    sample = RowSample(
        3,
        5,
        np.array([11, 22, 2**63 + 5], np.uint64),
        np.array(["r2", "r0", "r4é"]),
        np.array(["b2", "b0", "b4"]),
        {
            "image": np.array([[1, 0], [0, 0], [0.6, 0.8]], np.float32),
            "text": np.array([[1], [1], [-1]], np.float32),
            "x": np.array([[0.5, 0.5], [0, 1], [0.25, 0.75]], np.float32),
            "response": np.array([[1], [-1], [0]], np.float32),
            "reference": np.array([[1], [0], [0]], np.float32),
            "has": np.array([[1, 1, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]], np.float32),
            "norm": np.array([[2, 3, 1, 1], [0, 3, 1, 0], [4, 3, 0, 0]], np.float32),
        },
    )
    return Profile(
        {
            "image": sketch(4, 2),
            "text": sketch(5, 1),
            "x": sketch(5, 2),
            "response": sketch(4, 1),
            "reference": sketch(3, 1),
        },
        {
            "model": (sums(4, 1.0), sums(4, 2.0)),
            "emi_model": (sums(3, 1.0), sums(3, 2.0)),
            "emi_reference": (sums(3, 4.0), sums(3, 8.0)),
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
        (
            Quarantined(
                "records.jsonl", 5, Reason.IMAGE_MISSING, "nowhere.png: no such file", "r5", "june", ""
            ),
            Quarantined("june", 6, Reason.MODEL_FAILED, "no answer", None, "june", "m"),
        ),
        (5, 6),
        2,
    )


def test_a_file_of_this_format_is_read_to_what_it_was_made_of() -> None:
    assert GOLDEN.stat().st_size < 60_000
    found = read_profile(GOLDEN)
    same(found, golden())
    assert found.n == 5 and found.again == failed_rows(GOLDEN) == (5, 6) and found.units == 2
    assert found.norms.descriptors()["image_norm"] == 3 and found.norms.descriptors()["image_norm_std"] == 1
    # A/n - m1·(Σ w μ)/n + ½ m2·(Σ w)/n, by hand
    assert [sums.value() for sums in found.critic_sums["model"]] == pytest.approx(
        [0.5 - 0.25 * 0.75 + 0.5 * 0.5 * w for w in (1, 2)]
    )
    assert found.answers is not None
    assert found.answers.log_probabilities() == [("b1", (-0.5, -1.5)), ("b3", (-0.25,))]
    assert [(base, rows.tolist()) for base, rows in found.answers.answer_rows()] == [
        ("b1", [0, 1, 0]),
        ("b3", [1, 1]),
    ]
    assert having(found.sample, "image").tolist() == [True, False, True]


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


def arrays(**changed: object) -> dict[str, np.ndarray]:
    """Those of the golden profile, with others in the place of some (None: left out), double underscores for
    dots."""
    of = golden().to_arrays() | {name.replace("__", "."): np.asarray(a) for name, a in changed.items()}
    return {name: a for name, a in of.items() if a.dtype.kind != "O"}


def head(**changed: object) -> np.ndarray:
    tree = json.loads(golden().to_arrays()["profile"].tobytes()) | changed
    text = json.dumps({name: value for name, value in tree.items() if value is not ...})
    return np.frombuffer(text.encode(), np.uint8)


def test_files_that_are_cut_off_anywhere(path: Path) -> None:
    data = GOLDEN.read_bytes()
    for size in {*range(0, len(data), 997), 1, 4, 100, len(data) - 1, len(data) - 30}:
        path.write_bytes(data[:size])
        refused(path)
        with pytest.raises(AuditError, match="not readable"):
            failed_rows(path)


@quick
@given(st.integers(0, GOLDEN.stat().st_size - 1), st.integers(1, 255))
def test_a_byte_that_was_changed_anywhere_is_refused_or_nothing_of_the_value(
    tmp_path: Path, at: int, bits: int
) -> None:
    data = bytearray(GOLDEN.read_bytes())
    data[at] ^= bits
    (tmp_path / "x.npz").write_bytes(data)
    try:
        found = read_profile(tmp_path / "x.npz")
    except AuditError as error:
        assert str(tmp_path / "x.npz") in str(error)
    else:
        same(found, golden())  # a time stamp of the archive, say


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
    np.savez_compressed(path, **arrays(scores=np.zeros(3 * 10**6)))
    assert path.stat().st_size < 10**5
    refused(path, "it is compressed")


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


@pytest.mark.parametrize("name", ["profile", "scores", "sketch.x.S", "answers.ids"])
def test_pickled_objects_are_not_loaded(path: Path, name: str) -> None:
    mark = path.with_name("ran")
    np.savez(path, **golden().to_arrays() | {name: np.array([Ran(mark)], dtype=object)})
    refused(path, "Object arrays cannot be loaded")
    assert not mark.exists()
    with np.load(path, allow_pickle=True) as file:
        file[name]
    assert mark.exists()  # it would have run


def test_files_of_another_format(path: Path) -> None:
    for version in (0, 2, 10**30, "1", None, ...):
        np.savez(path, **arrays(profile=head(format=version)))
        shown = None if version is ... else version
        refused(path, re.escape(f"it has format {shown} of profiles, this program reads format 1"))


def test_an_array_that_is_missing_is_named(path: Path) -> None:
    every = golden().to_arrays()
    assert len(every) > 80
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
        ({"sketch__x__s": [NAN, 1]}, r"sketch\.x: not a sketch: its sums are not finite"),
        ({"sketch__image__S": [[np.inf, 0], [0, 1]]}, r"sketch\.image: .* not finite"),
        ({"sketch__text__norm4": NAN}, r"sketch\.text: .* not finite"),
        ({"sketch__text__n": NAN}, r"sketch\.text: "),
        ({"sketch__text__n": np.inf}, r"sketch\.text: "),
        ({"critic__model__1__A": np.full(60, NAN)}, r"critic\.model\.1: not CLUB sums: some are not finite"),
        ({"norms__sums": [1, NAN, 1, 1]}, r"norms: sums: not 4 finite numbers"),
        ({"norms__squares": [1, 1, 1, -1]}, r"norms: squares: not 4 finite numbers of at least 0"),
        ({"sample__rows__text": [[1], [NAN], [1]]}, r"sample: rows\.text: row 1 is not finite"),
        ({"answers__vectors": [[NAN], [1]]}, r"answers: vectors: row 0 is not finite"),
        ({"answers__logs": [NAN, 0, 0]}, r"answers: logs: some are no numbers"),
        # Wrong sizes.
        ({"sketch__x__S": np.eye(3)}, r"sketch\.x: not a sketch: n=5, s \(2,\), S \(3, 3\)"),
        ({"sketch__x__s": WIDE}, r"sketch\.x: not a sketch"),
        ({"sketch__x__n": [1, 2]}, r"sketch\.x: "),
        ({"sketch__x__s": [1], "sketch__x__S": [[1]]}, r"sample\.rows\.x: 2 dimensions, sketch\.x has 1"),
        ({"critic__model__0__y": np.zeros((60, 9))}, r"critic\.model\.0: not CLUB sums: shapes"),
        ({f"critic__model__0__{n}": np.zeros((2, 1)) for n in ("y", "y2", "wmu", "w")}, r"not CLUB sums"),
        ({"norms__n": [1, 2, 3]}, r"norms: n: not 4 finite numbers"),
        ({"norms__n": WIDE}, r"norms: n: "),
        ({"sample__ids": ["r0", "r1"]}, "sample: not a row sample: its arrays differ in length"),
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


def test_what_is_refused_is_what_was_changed(path: Path) -> None:
    """Nothing but the change is wrong with the files of the tests above."""
    np.savez(path, **arrays(profile=head()))
    same(read_profile(path), golden())
    assert set(PAIRS) == set(golden().critic_sums) and set(SKETCHED) == set(golden().sketches)
