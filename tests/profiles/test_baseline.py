"""The baseline folder: what was saved is what is read, and what is none is refused with the way out."""

import hashlib
import json

import numpy as np
import pytest

from auditor.errors import BadInput
from auditor.estimators import CLUB
from auditor.measures.reference import Fitted
from auditor.profiles.baseline import BaselineCensus, Manifest, coverage, load, save
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows, joined
from auditor.storage.npz import opened
from schemas.config import BaselineConfig


def rows_of(n, seed=0):
    z = np.random.default_rng(seed).normal(size=(5, n, 4)).astype(np.float32)
    names = ("image", "text", "response", "reference")
    has = {name: np.ones(n, bool) for name in names}
    has["reference"] = np.arange(n) % 2 == 0
    z[4][~has["reference"]] = 0
    ids = tuple(f"r{i}" for i in range(n))
    return Rows(ids, ids, ids, z[0], z[1], joined(z[0], z[1], has["image"], has["text"]), z[3], z[4], has)


@pytest.fixture
def parts(tmp_path):
    rows = rows_of(60)
    critic = CLUB(hidden=4, steps=5).fit(rows.x, rows.response)
    critic.save(tmp_path / "c.safetensors")
    profile = sketch_rows(rows, np.ones((60, 4), np.float32), [critic], 50)
    manifest = Manifest(
        created="2026-03-01T00:00:00+00:00",
        versions={"shift-auditor": "0"},
        config=BaselineConfig(data={"id": "id.jsonl"}, encoders={"image": "i", "text": "t"}, row_sample=50),
        config_hash="c",
        rows="r",
        encoders={"text": "t", "image": "i"},
        model="m",
        n=60,
        coverage=coverage(profile),
        descriptors={"query_chars": 3.5, "answered": None},
        quarantine={"missing_id": 1},
        chars_per_token=4.5,
        groups="no record names one",
        pairs=90,
    )
    fitted = Fitted.fit(profile, 0).to_arrays()
    return manifest, profile, fitted, [[tmp_path / "c.safetensors"] * 5]


def test_what_was_saved_is_read(tmp_path, parts):
    manifest, profile, fitted, critics = parts
    folder = tmp_path / "b"
    saved = save(folder, manifest, profile, fitted, critics)
    found = load(folder)
    assert found.manifest == saved.manifest and found.manifest.config == manifest.config
    before, after = profile.to_arrays(), found.profile.to_arrays()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert np.array_equal(profile.sample.rows["x"], found.profile.sample.rows["x"])
    assert [[CLUB.load(path).digest for path in of] for of in found.critics] == [
        [CLUB.load(path).digest for path in of] for of in critics
    ]
    assert found.manifest.coverage["all"] == {
        "rows": 60,
        "image": 60,
        "text": 60,
        "response": 60,
        "reference": 30,
        "labelled": 30,
    }
    assert found.manifest.coverage["sample"]["rows"] == 50
    assert found.profile_file == folder / found.manifest.profile
    assert {"response", "reference"} <= set(found.profile.sample.rows)
    assert found.fitted_file == folder / found.manifest.fitted
    with opened(found.fitted_file) as file:
        again = Fitted.from_arrays(dict(file), found.profile).to_arrays()
    assert again.keys() == fitted.keys() and fitted
    assert all(np.array_equal(fitted[key], again[key]) for key in fitted)


def test_what_was_fitted_is_part_of_the_identity(tmp_path, parts):
    manifest, profile, fitted, critics = parts
    first = save(tmp_path / "a", manifest, profile, fitted, critics)
    other = save(tmp_path / "b", manifest, profile, fitted | {"more": np.ones(2)}, critics)
    assert first.manifest.profile == other.manifest.profile
    assert first.manifest.identity != other.manifest.identity


def test_another_baseline_takes_the_place_of_the_old_one(tmp_path, parts):
    manifest, profile, fitted, critics = parts
    folder = tmp_path / "b"
    first = save(folder, manifest, profile, fitted, critics)
    other = sketch_rows(rows_of(60, seed=1), np.ones((60, 4), np.float32), [CLUB.load(critics[0][0])], 50)
    second = save(folder, manifest, other, Fitted.fit(other, 0).to_arrays(), [])
    assert load(folder).manifest == second.manifest and first.manifest.identity != second.manifest.identity
    kinds = sorted(path.name.split("-")[0] for path in folder.iterdir())
    assert kinds == ["baseline.json", "fitted", "profile"]  # nothing of the first one is left


def test_the_identity_does_not_depend_on_when_it_was_made(tmp_path, parts):
    manifest, profile, fitted, critics = parts
    first = save(tmp_path / "a", manifest, profile, fitted, critics)
    later = save(tmp_path / "b", manifest.model_copy(update={"created": "later"}), profile, fitted, critics)
    assert first.manifest.identity == later.manifest.identity


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(BadInput, match=r"is no baseline .* auditor baseline build --records FILE --out"):
        load(tmp_path)


@pytest.mark.parametrize("version", [1, 7])
def test_another_version_is_named(tmp_path, parts, version):
    save(tmp_path / "b", *parts)
    path = tmp_path / "b" / "baseline.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": version}))
    with pytest.raises(
        BadInput,
        match=f"has format {version}, this program reads format 3; use the version .* build it again",
    ):
        load(tmp_path / "b")


def test_windows_are_kept_beside_the_profile(tmp_path, parts):
    arrays = {"names": np.array(["a", "b"]), "0.n": np.array(3)}
    saved = save(tmp_path / "b", *parts, arrays)
    file = load(tmp_path / "b").windows_file
    assert file == saved.windows_file is not None and file.name in saved.manifest.digests
    with opened(file) as kept:
        assert all(np.array_equal(kept[name], array) for name, array in arrays.items())
    save(tmp_path / "b", *parts)  # without windows the file goes
    assert load(tmp_path / "b").windows_file is None and not list((tmp_path / "b").glob("windows-*"))
    saved = save(tmp_path / "b", *parts, arrays)
    saved.windows_file.write_bytes(b"damaged")
    with pytest.raises(BadInput, match="missing or damaged"):
        load(tmp_path / "b")


def test_files_of_the_old_version_go_with_it(tmp_path, parts):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "sketches-0123456789abcdef.npz").write_bytes(b"of format 1")
    save(tmp_path / "b", *parts)
    assert not list((tmp_path / "b").glob("sketches-*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: "no json", "not readable"),
        (lambda tree: "[]", "not readable"),
        (lambda tree: json.dumps({k: v for k, v in tree.items() if k != "n"}), "not a baseline of format 3"),
        (lambda tree: json.dumps(tree | {"digests": {}}), "list of files is not whole"),
        (
            lambda tree: json.dumps(
                tree | {"profile": "../x", "fitted": "../x", "critics": [], "digests": {"../x": "0"}}
            ),
            "missing or damaged",
        ),
    ],
)
def test_a_damaged_description_is_refused(tmp_path, parts, change, message):
    save(tmp_path / "b", *parts)
    path = tmp_path / "b" / "baseline.json"
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(BadInput, match=f"{message}.*build it again"):
        load(tmp_path / "b")


def test_what_came_is_kept_and_checked(tmp_path, parts):
    manifest, *others = parts
    windows = {"2026-03-01": {"rows": 60, "rows_in": 61, "left_out": 1}}
    census = BaselineCensus(rows_in=61, left_out={"missing_id": 1}, repeats=0, windows=windows)
    config = manifest.config.model_copy(update={"window": "1d"})
    with_census = manifest.model_copy(update={"census": census, "config": config})
    save(tmp_path / "b", with_census, *others)
    assert load(tmp_path / "b").manifest.census == census
    path = tmp_path / "b" / "baseline.json"
    good = json.loads(path.read_text())
    for bad in (
        {"rows_in": -1},
        {"windows": {"2026-03-01": {"rows": -5}}},
        {"windows": {"yesterday": {}}},
        {"windows": {"2026-03-01T00:00:00": {}}},
    ):
        path.write_text(json.dumps({**good, "census": {**good["census"], **bad}}))
        with pytest.raises(BadInput, match="not a baseline of format"):
            load(tmp_path / "b")
    path.write_text(json.dumps({**good, "census": None}))  # of an earlier version
    assert load(tmp_path / "b").manifest.census is None


@pytest.mark.parametrize("pattern", ["profile-*.npz", "fitted-*.npz", "critic-*.safetensors"])
def test_a_damaged_file_is_refused(tmp_path, parts, pattern):
    save(tmp_path / "b", *parts)
    file = min((tmp_path / "b").glob(pattern))
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(BadInput, match=r"missing or damaged; build it again"):
        load(tmp_path / "b")


class Ran:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return type(self.mark).touch, (self.mark,)


def test_a_pickle_in_a_baseline_of_strangers_is_not_loaded(tmp_path, parts):
    """Its digests are right, since whoever made the folder wrote them too."""
    save(tmp_path / "b", *parts)
    path, mark = tmp_path / "b" / "baseline.json", tmp_path / "ran"
    tree = json.loads(path.read_text())
    with np.load(tmp_path / "b" / tree["profile"]) as file:
        arrays = dict(file)
    name = next(iter(arrays))
    arrays[name] = np.array([Ran(mark)], dtype=object)
    np.savez(tmp_path / "b" / "profile-other.npz", **arrays)
    tree["digests"].pop(tree["profile"])
    digest = hashlib.sha256((tmp_path / "b" / "profile-other.npz").read_bytes()).hexdigest()
    tree |= {"profile": "profile-other.npz", "digests": {**tree["digests"], "profile-other.npz": digest}}
    path.write_text(json.dumps(tree))
    with pytest.raises(BadInput, match="not readable"):
        load(tmp_path / "b")
    assert not mark.exists()
    with np.load(tmp_path / "b" / "profile-other.npz", allow_pickle=True) as file:
        file[name]
    assert mark.exists()  # it would have run
