"""This module tests how questions go with images, and answers and correct answers with inputs: what a new
model, or pairs that were dealt anew, change where every modality by itself stays as it was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditor.estimators.dependence import ReferenceScores
from auditor.measures.divergences import Measured, ReferenceFit, article
from auditor.measures.pairing import aligned
from auditor.profiles.profile import Profile, having
from auditor.sketch import RowSample
from schemas.report import Divergence

PAIRS = {
    "text_given_image": ("image", "text"),
    "response_given_input": ("x", "response"),
    "reference_given_input": ("x", "reference"),
}
"""What is given, and what its law is compared of."""
_NAMES = {"x": "query"}


def dependence(
    p: Profile, q: Profile, name: str, *, seed: int, reference: ReferenceFit | None = None
) -> Measured:
    """Test whether the second of PAIRS[name] still goes with the first as it did, and why it could not be
    tested: over sampled rows that have both, and whose queries are made of the same modalities as most of
    Q's. `reference`: of P, which keeps the critics for the next Q."""
    contents = PAIRS[name]
    if aligned(p.sample, q.sample).related:
        return Measured(None, "its rows are copies of the reference's: how they go together is not tested")
    for content in contents:
        if not all(content in side.sample.rows and having(side.sample, content).any() for side in (p, q)):
            return Measured(None, f"no row has {article(_NAMES.get(content, content))}")
    of_p, of_q = (having(side.sample, *contents) for side in (p, q))
    if not of_q.any():
        return Measured(None, "no row has both")
    # A query of a text alone lies elsewhere than one of an image and a text: like is compared with like.
    kinds_p, kinds_q = (_kinds(side.sample) for side in (p, q))
    kind = int(np.bincount(kinds_q[of_q]).argmax())
    of_p, of_q = of_p & (kinds_p == kind), of_q & (kinds_q == kind)
    try:
        kept = {} if reference is None else reference.scores
        if (name, kind) not in kept:
            a, b = (p.sample.rows[content][of_p] for content in contents)
            kept[name, kind] = ReferenceScores.fit(a, b, p.sample.groups[of_p])
        a, b = (q.sample.rows[content][of_q] for content in contents)
        found = kept[name, kind].test(a, b, q.sample.groups[of_q], seed=seed)
    except ValueError as error:
        return Measured(None, str(error))
    return Measured(Divergence(score=found.change, p_value=found.p_value, n_id=found.n_p, n=found.n_q), None)


def _kinds(sample: RowSample) -> NDArray[np.int64]:
    """(m,) what each query is made of: 1 a text, 2 an image, 3 both."""
    return np.asarray(2 * having(sample, "image") + having(sample, "text"), dtype=np.int64)
