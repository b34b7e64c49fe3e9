"""Slices of RJSD: partitions add up, and what was planted comes first."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.attribution.slices import MOST_ROWS, SHOWN, Side, leading, side, slices, table
from auditor.divergences import rjsd
from auditor.sketch import Floats, RowSample

DRAWN = st.lists(st.sets(st.sampled_from(["a", "b", "c", "truth:7"])), min_size=1, max_size=30)


def of(rows: Floats, prefix: str, tags: dict[str, tuple[str, ...]] | None = None) -> Side:
    return Side([f"{prefix}{i}" for i in range(len(rows))], rows, tags)


def unit(z: Floats) -> Floats:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def planted(seed: int = 0, tags_of_p: bool = True) -> tuple[Side, Side]:
    """400 rows a side of one law, but that 5% of Q are of another; these are tagged, as are random others."""
    rng = np.random.default_rng(seed)
    p, q = (rng.normal(size=(400, 24)) + 1 for _ in range(2))
    q[:20] = 0.3 * rng.normal(size=(20, 24)) - 5 * np.eye(24)[3]

    def tags(prefix: str) -> dict[str, tuple[str, ...]]:
        extra = {i: ("topic:medical",) for i in range(20)} if prefix == "q" else {}
        return {
            f"{prefix}{i}": ("source:web", f"shard:{rng.integers(4)}", "truth:red", *extra.get(i, ()))
            for i in range(400)
        }

    return of(unit(p), "p", tags("p") if tags_of_p else None), of(unit(q), "q", tags("q"))


@settings(max_examples=30, deadline=None)
@given(DRAWN, DRAWN, st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_partitions_add_up_to_the_divergence(of_p: list, of_q: list, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.normal(size=(len(of_p), d)), rng.normal(size=(len(of_q), d)) * np.arange(1, d + 1)
    found = slices(
        of(p, "p", {f"p{i}": tuple(t) for i, t in enumerate(of_p)}),
        of(q, "q", {f"q{i}": tuple(t) for i, t in enumerate(of_q)}),
        seed=seed,
    )
    value = rjsd(p, q)
    for kind in ("record", "cluster"):
        assert sum(s.nats for s in found[kind]) == pytest.approx(value, abs=1e-9)
        assert sum(s.excess for s in found[kind]) == pytest.approx(0, abs=1e-9)
        assert sum(s.rows for s in found[kind]) == len(q)
        assert sum(s.share_of_rows for s in found[kind]) == pytest.approx(1)
        assert sum(s.share_of_id_rows for s in found[kind]) == pytest.approx(1)
    assert len(found["record"]) == len(p) + len(q)
    every = [t for t in "abc" if sum(t in tags for tags in [*of_p, *of_q]) > 1]
    assert {s.name for s in found["tag"]} == set(every)
    for s in found["tag"]:
        assert s.rows == sum(s.name in tags for tags in of_q)
        assert s.share_of_id_rows == pytest.approx(sum(s.name in tags for tags in of_p) / len(p))


@pytest.mark.parametrize("tags_of_p", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_planted_slice_comes_first(tags_of_p: bool, seed: int) -> None:
    p, q = planted(seed, tags_of_p)
    found = slices(p, q, seed=seed)
    first = found["tag"][0]
    assert (first.name, first.rows, first.share_of_rows) == ("topic:medical", 20, 0.05)
    assert first.share_of_divergence > 0.5 and first.excess > 0.4 * rjsd(p.rows, q.rows)
    assert first.share_of_id_rows == (0 if tags_of_p else None)
    cluster = found["cluster"][0]
    assert cluster.rows == 20 and cluster.share_of_id_rows == 0 and cluster.nats == pytest.approx(first.nats)
    assert cluster.name.endswith(", mostly topic:medical")
    assert int(cluster.name.split(",")[0].removeprefix("near q")) < 20
    assert all(int(s.name.removeprefix("q")) < 20 for s in found["record"][:20])
    everyone = next(s for s in found["tag"] if s.name == "source:web")
    assert everyone.excess == pytest.approx(0, abs=1e-12)
    shown = leading(found)
    assert everyone not in shown and not any("truth" in s.name for s in shown)
    assert [s.kind for s in shown].count("record") == SHOWN["record"]


def test_a_population_that_went_away() -> None:
    p, q = planted()
    tags = {i: ("gone",) for i in q.ids[:20]}
    found = slices(Side(q.ids, q.rows, tags), Side(p.ids, p.rows, {}), seed=0)
    tag = found["tag"][0]
    assert (tag.name, tag.rows) == ("gone", 0) and tag.share_of_divergence > 0.5
    assert found["cluster"][0].rows == 0 and found["cluster"][0].share_of_id_rows == 0.05
    assert all(s.rows == 1 for s in leading(found) if s.kind == "record")  # of the new rows alone


def test_the_same_rows_have_no_excess() -> None:
    p, _ = planted()
    assert leading(slices(p, p)) == []
    assert all(s.share_of_divergence == 0 or abs(s.nats) < 1e-9 for s in slices(p, p)["record"])


def test_sides_are_the_first_sampled_rows_that_have_the_modality() -> None:
    n = MOST_ROWS + 500
    has = np.zeros((n, 4))
    has[::5, 0] = has[:, 1] = 1
    ids = [f"r{i}" for i in range(n)]
    sample = RowSample.from_rows(
        ids, ids, ids, {"image": np.ones((n, 3)), "text": np.eye(n, 2) + 1, "has": has}, n
    )
    assert len(side(sample, "text", None).ids) == MOST_ROWS
    images = side(sample, "image", {"r5": ("a",)})
    assert len(images.ids) == n // 5 and all(int(i[1:]) % 5 == 0 for i in images.ids)
    assert images.tag_lists()[images.ids.index("r5")] == ["a"]
    again = side(sample, "text", None)
    assert again.ids == sample.ids[:MOST_ROWS].tolist()


def test_rows_of_the_table_are_plain() -> None:
    p, q = planted()
    (row,) = table("june", None, "image", slices(p, q)["tag"][:1])
    assert row["scenario"] == "june" and row["slice"] == "tag" and row["name"] == "topic:medical"
    assert all(v is None or type(v) in (str, int, float) for v in row.values())
