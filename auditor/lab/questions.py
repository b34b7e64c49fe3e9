"""This module asks questions about a scene, in seven languages, with their true answers in English."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from auditor.lab.lexicon import KINDS, LEXICA, RELATIONS
from auditor.lab.scene import COLOURS, QUADRANTS, TEXTURES, Item, Scene, choose
from auditor.lab.truth import Truth

KIND_WEIGHTS: Final[Mapping[str, float]] = {
    "colour": 0.14,
    "shape": 0.14,
    "count": 0.10,
    "count_of": 0.12,
    "digit": 0.14,
    "texture": 0.14,
    "relation": 0.05,
    "position": 0.10,
    "describe": 0.40,
}
"""How often each kind is asked in-distribution (weights).  Descriptions are frequent, as in LLaVA-Bench,
where a third of the questions ask for one: their answer is the picture itself."""


@dataclass(frozen=True)
class Question:
    """A question, before it is put into words, is its kind, its truth, and the names its templates fill
    in."""

    kind: str
    truth: Truth
    slots: Mapping[str, str] = field(default_factory=dict)

    def text(self, language: str, phrasing: int) -> str:
        """Return the question in ``language``; ``phrasing`` picks a template (taken modulo their number)."""
        lexicon = LEXICA[language]
        templates = lexicon.templates[self.kind]
        words: dict[str, object] = {}
        for slot, name in self.slots.items():
            if slot in ("a", "b"):
                words[slot] = lexicon.shapes[name]
            elif slot == "c":
                words[slot] = lexicon.groups[name]
            elif slot == "where":
                words[slot] = lexicon.quadrants[name]
            else:
                words[slot] = lexicon.relations[name]
        sentence = templates[phrasing % len(templates)].format(**words)
        return sentence[:1].upper() + sentence[1:]

    def reference(self, phrasing: int) -> str:
        """Return the true answer as a person might write it; ``phrasing`` picks one of several ways."""
        options = _REFERENCES[self.kind]
        return options[phrasing % len(options)].format(answer=self.truth.answer, **self.slots)


_REFERENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "colour": ("{answer}", "It is {answer}.", "The {a} is {answer}."),
    "shape": ("{answer}", "It is a {answer}.", "The {c} object is a {answer}."),
    "count": ("{answer}", "There are {answer}.", "I see {answer} objects."),
    "count_of": ("{answer}", "There are {answer}.", "The number of {c} objects is {answer}."),
    "digit": ("{answer}", "It is {answer}.", "The {a} carries the digit {answer}."),
    "texture": ("{answer}", "It is {answer}.", "The {a} is {answer}."),
    "relation": ("{answer}", "The answer is {answer}."),
    "position": ("{answer}", "A {answer}.", "There is a {answer} at the {where}."),
    "describe": ("{answer}", "I see a {answer}.", "The picture shows a {answer}."),
}


def _holds(relation: str, a: Item, b: Item) -> bool:
    return {
        "left of": a.column < b.column,
        "right of": a.column > b.column,
        "above": a.row < b.row,
        "below": a.row > b.row,
    }[relation]


def description(items: Sequence[Item]) -> str:
    """Describe all objects, from the top left to the bottom right: ``red striped circle 3, blue plain star
    7``."""
    return ", ".join(f"{i.colour} {i.texture} {i.shape} {i.digit}" for i in items)


def draw_question(scene: Scene, kind: str, rng: np.random.Generator) -> Question:
    """Draw a question of ``kind`` that ``scene`` answers without doubt."""
    items = scene.items
    u = rng.random(4).tolist()
    item = items[int(u[0] * len(items))]
    if kind == "colour":
        return Question(kind, Truth(kind, item.colour), {"a": item.shape})
    if kind == "texture":
        return Question(kind, Truth(kind, item.texture), {"a": item.shape})
    if kind == "digit":
        return Question(kind, Truth(kind, str(item.digit)), {"a": item.shape})
    if kind == "count":
        return Question(kind, Truth(kind, str(len(items))))
    if kind == "describe":
        return Question(kind, Truth(kind, description(items)))
    if kind == "position":
        return Question(kind, Truth(kind, f"{item.colour} {item.shape}"), {"where": QUADRANTS[item.quadrant]})
    if kind == "shape":
        colours = [i.colour for i in items]
        unique = [i for i in items if colours.count(i.colour) == 1]
        item = unique[int(u[0] * len(unique))]
        return Question(kind, Truth(kind, item.shape), {"c": item.colour})
    if kind == "count_of":
        # Mostly something that is there; sometimes any colour, so that zero is an answer too.
        if u[1] < 0.5:
            group = item.texture if u[2] < 0.7 else TEXTURES[int(u[3] * 3)]
        else:
            group = item.colour if u[2] < 0.7 else COLOURS[int(u[3] * 8)]
        number = sum(group in (i.colour, i.texture) for i in items)
        return Question(kind, Truth(kind, str(number)), {"c": group})
    if kind == "relation":
        candidates = [i for i in items if i is not item]
        partner = candidates[int(u[1] * len(candidates))]
        # Only along an axis on which the two differ, so that yes and no are equally frequent and never in
        # doubt.
        axes = [r for r in RELATIONS if _holds(r, item, partner) or _holds(r, partner, item)]
        relation = axes[int(u[2] * len(axes))]
        truth = "yes" if _holds(relation, item, partner) else "no"
        return Question(kind, Truth(kind, truth), {"a": item.shape, "b": partner.shape, "rel": relation})
    raise ValueError(f"unknown kind of question {kind!r}; known: {', '.join(KINDS)}")


def draw_kind(weights: Mapping[str, float], u: float) -> str:
    """Draw the kind at quantile ``u`` of a mix of kinds."""
    unknown = set(weights) - set(KINDS)
    if unknown:
        raise ValueError(f"unknown kinds of question {sorted(unknown)}; known: {', '.join(KINDS)}")
    return choose(weights, u)
