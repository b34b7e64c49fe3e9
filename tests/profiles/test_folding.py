"""Files of profiles, folded as they come: few are left, and nothing is forgotten."""

import numpy as np
import pytest

from auditor.errors import AuditError
from auditor.profiles.folding import EVERY, MOST_FILES, Fold
from auditor.profiles.profile import Profile, failed_rows, folded, read_profile, write_profile
from schemas.record import Quarantined, Reason

ASIDE = Quarantined("w", 3, Reason.MODEL_FAILED, "no such luck", "r3", "w", "m")


def scored(*scores):
    return {"scores": np.array(scores), "score_groups": np.arange(len(scores), dtype=np.uint64)}


def test_what_was_written_is_read(tmp_path):
    some = Profile(facts={"n": 3, "answered": 2}, set_aside=(ASIDE,), **scored(0.5, 1.0))
    more = some.merge(Profile(facts={"n": 4}, **scored(0.0)))
    write_profile(tmp_path / "x.npz", more)
    back = read_profile(tmp_path / "x.npz")
    assert back.facts == {"n": 7, "answered": 2} and back.set_aside == (ASIDE,) and back.n == 0
    assert back.scores.tolist() == [0.5, 1.0, 0.0] and back.units == 2
    assert folded([tmp_path / "x.npz"]).n == 0
    for damaged in (b"PK nothing", b"", (tmp_path / "x.npz").read_bytes()[:100]):
        (tmp_path / "x.npz").write_bytes(damaged)
        with pytest.raises(AuditError, match="not readable"):
            read_profile(tmp_path / "x.npz")
        with pytest.raises(AuditError, match="not readable"):
            folded([tmp_path / "x.npz"])
        with pytest.raises(AuditError, match="not readable"):
            Fold(tmp_path, ["x"])


def test_failed_rows_are_told_without_the_rest(tmp_path):
    some = Profile(facts={"n": 3}, set_aside=(ASIDE,), again=(3, 5))
    write_profile(tmp_path / "x.npz", some.merge(Profile(facts={"n": 1}, again=(9,), units=2)))
    back = read_profile(tmp_path / "x.npz")
    assert failed_rows(tmp_path / "x.npz") == back.again == (3, 5, 9) and back.units == 3


def unit(tmp_path, name, k, again=()):
    write_profile(tmp_path / f"{name}.npz", Profile(facts={"n": k, f"of {k}": 1}, again=again))


def nodes(count):
    """Files that whole nodes of the tree over all but the last unit are."""
    return (count - 1).bit_count() + 1


@pytest.mark.parametrize("count", [1, 2, EVERY, EVERY + 1, 3 * EVERY + 2, EVERY**2 + 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_folding_leaves_few_files_and_forgets_nothing(tmp_path, count, seed):
    names = [f"u{k}" for k in range(count)]
    fold = Fold(tmp_path, names)
    assert fold.missing() == list(range(count))
    most = 0
    for k in np.random.default_rng(seed).permutation(count) if seed else range(count):
        unit(tmp_path, names[k], int(k))
        fold.came(int(k))
        most = max(most, len(list(tmp_path.iterdir())))
    assert fold.missing() == [] and fold.again() == {}
    total = folded(fold.files())
    assert total.facts["n"] == sum(range(count)) and len(total.facts) == count + 1 and total.units == count
    assert list(total.facts)[1:] == [f"of {k}" for k in range(count)]  # in the order of the units
    assert len(fold.files()) == len(list(tmp_path.iterdir())) == nodes(count)
    assert most <= 2 * EVERY or seed


def test_folding_goes_on_where_it_stopped_and_with_a_window_that_grew(tmp_path):
    names = [f"u{k}" for k in range(2 * EVERY + 3)]
    fold = Fold(tmp_path, names)
    for k in range(EVERY + 2):
        unit(tmp_path, names[k], k)
        fold.came(k)
    again = Fold(tmp_path, names)  # of the next run: units beyond the last node written are still there
    assert again.missing() == list(range(EVERY + 2, 2 * EVERY + 3))
    for k in again.missing():
        unit(tmp_path, names[k], k)
        again.came(k)
    whole = folded(again.files()).facts
    assert whole["n"] == sum(range(len(names)))

    grown = Fold(tmp_path, [*names[:-1], "longer", "new"])  # the last unit was not full yet
    assert grown.missing() == [len(names) - 1, len(names)]
    other = Fold(tmp_path, ["changed", *names[1:]])
    assert other.missing()[:2] == [0, 1]
    shrunk = Fold(tmp_path, names[: 2 * EVERY])  # its last unit is in a node
    assert shrunk.missing() == [] and folded(shrunk.files()).facts["n"] == sum(range(2 * EVERY))


def test_units_that_came_before_a_run_ended_are_folded_by_the_next(tmp_path):
    names = [f"u{k}" for k in range(EVERY + 1)]
    for k in range(EVERY + 1):
        unit(tmp_path, names[k], k)  # the driver died before it heard of any
    fold = Fold(tmp_path, names)
    assert fold.missing() == []
    fold.advance()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_unit_made_again_after_it_was_folded_is_forgotten(tmp_path):
    """Of another model of its shard it was missing."""
    names = [f"u{k}" for k in range(EVERY + 1)]
    fold = Fold(tmp_path, names)
    for k in range(len(names)):
        unit(tmp_path, names[k], k)
        fold.came(k)
    before = {path.name for path in tmp_path.iterdir()}
    for k in (0, 2):
        unit(tmp_path, names[k], k)
        fold.came(k)
        assert {path.name for path in tmp_path.iterdir()} == before
    assert folded(fold.files()).facts["n"] == sum(range(len(names)))


@pytest.mark.parametrize("bad", [[0], [3], [EVERY, EVERY + 1], [5, 20, EVERY**2 + 1]])
def test_units_with_failed_rows_wait_outside_until_they_come_anew(tmp_path, bad):
    """The rest is folded around them, and is not made again."""
    count = EVERY**2 + 5
    names = [f"u{k}" for k in range(count)]
    fold = Fold(tmp_path, names)
    for k in range(count):
        unit(tmp_path, names[k], k, again=(k,) if k in bad else ())
        fold.came(k)
    assert fold.again() == {}  # not twice in one run
    total = folded(fold.files())
    assert total.again == tuple(bad) and total.units == count
    assert len(fold.files()) <= nodes(count) + 7 * len(bad)

    after = Fold(tmp_path, names)
    assert after.missing() == [] and after.again() == {k: (k,) for k in bad}
    for k in bad:
        unit(tmp_path, names[k], 1000 + k)
        after.came(k)
    assert after.again() == {} and after.missing() == []
    total = folded(after.files())
    assert total.facts["n"] == sum(range(count)) + 1000 * len(bad) and total.again == ()
    assert list(total.facts)[1:] == [f"of {1000 + k if k in bad else k}" for k in range(count)]
    assert len(after.files()) == len(list(tmp_path.iterdir())) == nodes(count)


def test_readers_get_one_file_where_many_units_wait(tmp_path):
    count = MOST_FILES + 10
    names = [f"u{k}" for k in range(count)]
    for k in range(count):
        unit(tmp_path, names[k], k, again=(k,))
    fold = Fold(tmp_path, names)
    fold.advance()
    (whole,) = fold.files()
    assert read_profile(whole).facts["n"] == sum(range(count)) and fold.again().keys() == set(range(count))
    for k in range(count):
        unit(tmp_path, names[k], k)
        fold.came(k)
    assert len(fold.files()) == nodes(count) and not whole.exists()
