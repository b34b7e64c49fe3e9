"""What is kept of rows that streamed by: as a file, merged, and folded as it comes."""

import numpy as np
import pytest

from auditor.errors import AuditError
from auditor.streamed import EVERY, Fold, Streamed, folded, read_streamed, read_sums, write_streamed
from schemas.record import Quarantined, Reason

ASIDE = Quarantined("w", 3, Reason.MODEL_FAILED, "no such luck", "r3", "w", "m")


def test_what_was_written_is_read(tmp_path):
    some = Streamed(None, {"n": 3, "answered": 2}, (ASIDE,), np.array([0.5, 1.0]))
    more = some.merge(Streamed(None, {"n": 4}, (), np.array([0.0])))
    write_streamed(tmp_path / "x.npz", more)
    back = read_streamed(tmp_path / "x.npz")
    assert back.facts == {"n": 7, "answered": 2} and back.aside == (ASIDE,) and back.n == 0
    assert back.scores.tolist() == [0.5, 1.0, 0.0]
    assert read_sums([tmp_path / "x.npz"]) is None
    for damaged in (b"PK nothing", b"", (tmp_path / "x.npz").read_bytes()[:100]):
        (tmp_path / "x.npz").write_bytes(damaged)
        with pytest.raises(AuditError, match="not readable"):
            read_streamed(tmp_path / "x.npz")
        with pytest.raises(AuditError, match="not readable"):
            read_sums([tmp_path / "x.npz"])


def unit(tmp_path, name, k):
    write_streamed(tmp_path / f"{name}.npz", Streamed(None, {"n": k, f"of {k}": 1}))


@pytest.mark.parametrize("count", [1, 2, EVERY, EVERY + 1, 3 * EVERY + 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_folding_leaves_few_files_and_forgets_nothing(tmp_path, count, seed):
    names = [f"u{k}" for k in range(count)]
    fold = Fold(tmp_path, names)
    assert fold.missing() == list(range(count))
    most = 0
    for k in np.random.default_rng(seed).permutation(count) if seed else range(count):
        unit(tmp_path, names[k], int(k))
        fold.advance()
        most = max(most, len(list(tmp_path.iterdir())))
    assert fold.missing() == []
    total = folded(fold.files())
    assert total.facts["n"] == sum(range(count)) and len(total.facts) == count + 1
    assert len(fold.files()) == len(list(tmp_path.iterdir())) == min(count, 2)
    assert most <= EVERY + 2 or seed


def test_folding_goes_on_where_it_stopped_and_with_a_window_that_grew(tmp_path):
    names = [f"u{k}" for k in range(2 * EVERY + 3)]
    fold = Fold(tmp_path, names)
    for k in range(EVERY + 2):
        unit(tmp_path, names[k], k)
        fold.advance()
    again = Fold(tmp_path, names)  # of the next run: units beyond the last file written are still there
    assert again.missing() == list(range(EVERY + 2, 2 * EVERY + 3))
    for k in again.missing():
        unit(tmp_path, names[k], k)
        again.advance()
    whole = folded(again.files()).facts
    assert whole["n"] == sum(range(len(names)))

    grown = Fold(tmp_path, [*names[:-1], "longer", "new"])  # the last unit was not full yet
    assert grown.missing() == [len(names) - 1, len(names)]
    other = Fold(tmp_path, ["changed", *names[1:]])
    assert other.missing()[:2] == [0, 1]


def test_a_unit_made_again_after_it_was_folded_is_forgotten(tmp_path):
    """Of another model of its shard it was missing."""
    names = [f"u{k}" for k in range(EVERY + 1)]
    fold = Fold(tmp_path, names)
    for k in range(len(names)):
        unit(tmp_path, names[k], k)
        fold.came(k)
    before = {path.name for path in tmp_path.iterdir()}
    unit(tmp_path, names[2], 2)
    fold.came(2)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert folded(fold.files()).facts["n"] == sum(range(len(names)))
