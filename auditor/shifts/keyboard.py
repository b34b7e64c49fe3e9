"""This module makes typing errors: characters are replaced by their neighbours on a QWERTY keyboard."""

from __future__ import annotations

import numpy as np

from auditor.shifts.registry import shift

SHARES = (0.045, 0.07, 0.093, 0.12, 0.15)
"""Share of a text's characters that are replaced, by severity. The first and third are what the published
KeyboardAug_1 and KeyboardAug_3 prompts show (0.0450 and 0.0928 of the characters, over the prompts of
unchanged length)."""

_ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_INDENT = (0.0, 0.5, 0.75, 1.25)
"""Where each row starts, in widths of a key."""


def _neighbours() -> dict[str, str]:
    places = {key: (row, _INDENT[row] + i) for row, keys in enumerate(_ROWS) for i, key in enumerate(keys)}
    return {
        key: "".join(
            neighbour
            for neighbour, (r, x) in places.items()
            if neighbour != key and abs(r - row) <= 1 and abs(x - place) <= 1.0
        )
        for key, (row, place) in places.items()
    }


NEIGHBOURS = _neighbours()
"""Keys that touch a key."""


@shift("keyboard", "text")
def keyboard(text: str, severity: int, rng: np.random.Generator) -> str:
    """Return `text` with a share of its characters mistyped, case kept; the same `rng` makes every error of a
    lower severity again at a higher one. Only characters on the keyboard can change, and at least one does
    where there is one: a text of another script stays as it is."""
    places = [i for i, character in enumerate(text) if character.lower() in NEIGHBOURS]
    wanted = max(1, round(SHARES[severity - 1] * len(text)))
    out = list(text)
    order = rng.permutation(len(places))
    draws = rng.random(len(places))
    for k in order[:wanted]:
        character = text[places[k]]
        near = NEIGHBOURS[character.lower()]
        typed = near[int(draws[k] * len(near))]
        out[places[k]] = typed.upper() if character.isupper() else typed
    return "".join(out)
