"""Label-free risk of sketches: which rows it looks at, and that it never looks at Q's references."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.estimators import CLUB, MINE, Gaussian
from auditor.estimators.crossfit import CrossFitted
from auditor.measures.label_free import label_free, unlabelled
from auditor.profiles.profile import Profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows
from auditor.risk import Ceiling

D = 8


@pytest.fixture(scope="module")
def critic() -> CLUB:
    rng = np.random.default_rng(0)
    x = unit(rng.normal(size=(500, D)))
    return CLUB(hidden=16, steps=100, batch=128).fit(x, unit(x + 0.3 * rng.normal(size=x.shape)))


def unit(z: np.ndarray) -> np.ndarray:
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


def world(
    n: int, seed: int, critic: CLUB, *, prefix: str = "", shift: float = 0.0, labelled: bool = True
) -> Profile:
    """n rows whose references and answers follow the inputs; `shift` moves every image the same way."""
    rng = np.random.default_rng(seed)
    image = unit(rng.normal(size=(n, D)) + shift * np.ones(D))
    text = unit(rng.normal(size=(n, D)))
    x = (image + text) / 2
    reference = unit(x + 0.2 * rng.normal(size=x.shape))
    response = unit(x + 0.4 * rng.normal(size=x.shape))
    ids = tuple(f"{prefix}{i}" for i in range(n))
    yes, no = np.ones(n, dtype=bool), np.zeros(n, dtype=bool)
    if not labelled:
        reference = np.zeros_like(reference)
    rows = Rows(
        ids,
        ids,
        ids,
        image,
        text,
        x,
        response,
        reference,
        {"image": yes, "text": yes, "response": yes, "reference": yes if labelled else no},
    )
    return sketch_rows(rows, np.ones((n, 4), np.float32), [critic], sample=2_000)


def test_references_of_the_new_rows_are_not_looked_at(critic: CLUB) -> None:
    p = world(400, 1, critic)
    with_labels = world(200, 2, critic, prefix="q")
    without = world(200, 2, critic, prefix="q", labelled=False)
    settings = {"bound": Ceiling(1.0, 8), "seed": 0, "level": 0.9}
    one, _ = label_free(p, with_labels, [CrossFitted((critic,))], **settings)
    two, _ = label_free(p, without, [CrossFitted((critic,))], **settings)
    assert one == two and one is not None
    assert one.voice == "reweighted" and one.low < one.estimate < one.high
    assert abs(one.estimate) < 3 * (one.high - one.low)


def test_critics_of_pairs_leave_it_to_the_quantised_interval(critic: CLUB) -> None:
    p, q = world(400, 1, critic), world(200, 2, critic, prefix="q", labelled=False)
    x, y = p.sample.rows["x"], p.sample.rows["reference"]
    of_pairs = CrossFitted((MINE(hidden=8, steps=5, batch=64).fit(x, y),))
    said, _ = label_free(p, q, [of_pairs], bound=None, seed=0, level=0.9)
    assert said is not None and said.voice == "identified" and said.low < said.high
    assert said.reason.endswith("(those of critic.estimator club and gaussian do).")
    assert "It is of inputs on 10 cells and answers on 5." in said.reason
    closed = CrossFitted((Gaussian().fit(x, y),))
    said, _ = label_free(p, q, [closed], bound=None, seed=0, level=0.9)
    assert said is not None and said.voice == "reweighted" and said.low < said.estimate < said.high


def test_moved_images_are_not_spoken_of_by_the_estimates(critic: CLUB) -> None:
    said, _ = label_free(
        world(400, 1, critic),
        world(200, 2, critic, prefix="q", shift=5.0),
        [CrossFitted((critic,))],
        bound=Ceiling(1.0, 8),
        seed=0,
        level=0.9,
    )
    assert said is not None and said.voice in (None, "sound") and said.estimate is None
    assert "is not reported" in said.reason


def test_a_perturbed_copy_is_compared_with_other_records_than_its_own(critic: CLUB) -> None:
    p, q = world(400, 1, critic), world(400, 1, critic)
    rows = unlabelled(p, q)
    assert not isinstance(rows, str)
    assert len(rows.inputs.x_p) + len(rows.inputs.x_q) == 400
    assert not set(map(bytes, rows.inputs.x_p)) & set(map(bytes, rows.inputs.x_q))


def test_why_nothing_can_be_said(critic: CLUB) -> None:
    p = world(400, 1, critic)
    nothing, reason = label_free(
        world(400, 1, critic, labelled=False), p, [CrossFitted((critic,))], bound=None, seed=0, level=0.9
    )
    assert nothing is None and reason == "no in-distribution row has a query, a response and a reference"
    nothing, reason = label_free(
        p, world(5, 2, critic, prefix="q"), [CrossFitted((critic,))], bound=None, seed=0, level=0.9
    )
    assert nothing is None and "rows" in (reason or "")
