"""The forms of EMI: critics of correct answers learn no model's style, and cross-fitted none by heart."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.emi.forms import AnswerRows, Forms
from auditor.sketch.blocks import hash_blocks

D, N = 12, 400


def rows(seed: int, *, right: float = 1.0, echo: float = 0.0, chars: float = 10.0) -> AnswerRows:
    """Correct answers follow the inputs; of a model's answers a share does, and all repeat the question."""
    rng = np.random.default_rng(0)
    question, image = rng.normal(size=(2, N, D)) / np.sqrt(D)
    reference = np.tanh(2 * image) + 0.1 * rng.normal(size=(N, D))
    own = np.random.default_rng(seed)
    hit = own.random(N) < right
    response = np.where(hit[:, None], reference, own.permutation(reference)) + echo * question
    lengths = np.column_stack([np.full(N, chars), np.full(N, 10.0)])
    blocks = hash_blocks([f"r{i}" for i in range(N)])
    parts = (np.concatenate([image, question], axis=1), question, response, reference, lengths)
    return AnswerRows(*(part.astype(np.float32) for part in parts), blocks)


@pytest.fixture(scope="module")
def forms() -> Forms:
    return Forms([rows(1)], [rows(1), rows(2, right=0.5), rows(3, echo=3.0)])


def test_perfect_answers_lose_nothing_and_worse_ones_more(forms: Forms) -> None:
    perfect, half, none = (forms.sums(rows(4, right=share)) for share in (1.0, 0.5, 0.0))
    assert perfect.cross_fitted.value == perfect.style_free.value == 0 and perfect.cosine == pytest.approx(1)
    for name in ("reference_trained", "cross_fitted", "style_free"):
        a, b = getattr(half, name).value, getattr(none, name).value
        assert 0 > a > b
    assert 1 > half.cosine > none.cosine


def test_cross_fitted_critics_know_no_answer_by_heart() -> None:
    """Correct answers that the inputs say nothing of: in sample their information is far above 0."""
    given = rows(1)
    shuffled = AnswerRows(
        given.x,
        given.question,
        given.response,
        np.random.default_rng(5).permutation(given.reference),
        given.chars,
        given.blocks,
    )
    sums = Forms([shuffled], [shuffled]).sums(shuffled)

    def information(form: str) -> float:
        return float(np.mean([s.value() for s in getattr(sums, form).reference]))

    assert information("reference_trained") > 3
    assert abs(information("cross_fitted")) < 0.5


def test_style_that_follows_the_question_is_taken_off(forms: Forms) -> None:
    """The echo of a question hardly moves the form that is free of style."""
    plain, echoing = forms.sums(rows(6, right=0.5)), forms.sums(rows(6, right=0.5, echo=0.5))
    kept = abs(echoing.style_free.value - plain.style_free.value)
    assert kept < 0.5 * abs(plain.style_free.value)


def test_too_few_groups_are_refused() -> None:
    given = rows(1)
    one = AnswerRows(*(getattr(given, n) for n in ("x", "question", "response", "reference", "chars")),
                     np.zeros(N, np.int64))  # fmt: skip
    with pytest.raises(ValueError, match="too few groups to cross-fit"):
        Forms([one], [one])
