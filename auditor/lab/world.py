"""This module makes the scenarios of the lab: items (picture, query, reference, truth), each a pure function
of seed and index."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from auditor.lab.lexicon import LANGUAGES
from auditor.lab.questions import KIND_WEIGHTS, draw_kind, draw_question
from auditor.lab.scene import SceneLaw, draw_scene, render
from auditor.lab.truth import Truth, to_tags


@dataclass(frozen=True)
class Mix:
    """A mix is the proportions of known scene and question types: a new mix of known inputs changes nothing
    but these."""

    scenes: SceneLaw = field(default_factory=SceneLaw)
    questions: Mapping[str, float] = field(default_factory=lambda: dict(KIND_WEIGHTS))


ID_MIX = Mix()
"""In-distribution: what the lab's models were trained on."""
NATURAL_MIX = Mix(scenes=SceneLaw(strangeness=(0.0, 1.0)))
"""The natural pool: scenes of graded strangeness, to be split by distance into easy, normal and hard."""
NEW_MIX = Mix(
    scenes=SceneLaw(
        objects={2: 1.0, 3: 1.0, 4: 4.0},
        backgrounds={"paper": 1.0, "slate": 4.0, "grass": 1.0, "dusk": 2.0},
        textures={"plain": 1.0, "striped": 2.0, "dotted": 4.0},
    ),
    questions={
        "colour": 0.06,
        "shape": 0.06,
        "count": 0.06,
        "count_of": 0.20,
        "digit": 0.30,
        "texture": 0.06,
        "relation": 0.20,
        "position": 0.06,
        "describe": 0.20,
    },
)
"""The same kinds of scenes and questions in other proportions, the harder ones more often."""
POOLS: Mapping[str, Mix] = {"id": ID_MIX, "natural": NATURAL_MIX, "new-mix": NEW_MIX}


@dataclass(frozen=True)
class LabItem:
    """An item is one record of the lab; ``image`` holds PNG bytes of 64 x 64 RGB."""

    record_id: str
    base_id: str
    """The same for the item's other languages: they share picture, question and truth."""
    image: bytes
    query: str
    reference: str
    truth: Truth
    scene_type: str
    question_type: str
    language: str
    strangeness: float

    @property
    def tags(self) -> list[str]:
        """Return the tags of the record; `auditor.lab.truth_of` reads the truth back from them."""
        return [
            "source:lab",
            f"scene:{self.scene_type}",
            f"language:{self.language}",
            f"strangeness:{self.strangeness:.3f}",
            *to_tags(self.truth),
        ]


def lab_item(
    index: int, seed: int = 0, language: str = "en", mix: Mix | None = None, pool: str = "id"
) -> LabItem:
    """Make item ``index`` of the scenario ``(seed, pool, mix)``, asked in ``language``; ``mix`` overrides the
    pool's own."""
    if language not in LANGUAGES:
        raise ValueError(f"unknown language {language!r}; known: {', '.join(LANGUAGES)}")
    if pool not in POOLS:
        raise ValueError(f"unknown pool {pool!r}; known: {', '.join(POOLS)}")
    law = mix or POOLS[pool]
    # Pools draw from streams of their own, far from those of the training scenes.
    stream = zlib.crc32(f"lab/{pool}".encode()) + (seed << 32)
    scene = draw_scene(stream, index, law.scenes)
    rng = np.random.default_rng((stream, index, 2))
    kind = draw_kind(law.questions, float(rng.random()))
    question = draw_question(scene, kind, rng)
    query_phrasing, reference_phrasing = rng.integers(0, 60, 2).tolist()
    buffer = io.BytesIO()
    Image.fromarray(render(scene)).save(buffer, format="PNG", compress_level=1)
    base_id = f"lab-{pool}-{seed}-{index:06d}"
    return LabItem(
        record_id=base_id if language == "en" else f"{base_id}-{language}",
        base_id=base_id,
        image=buffer.getvalue(),
        query=question.text(language, query_phrasing),
        reference=question.reference(reference_phrasing),
        truth=question.truth,
        scene_type=scene.scene_type,
        question_type=kind,
        language=language,
        strangeness=scene.strangeness,
    )


def lab_items(
    n: int, seed: int = 0, language: str = "en", mix: Mix | None = None, pool: str = "id", start: int = 0
) -> Iterator[LabItem]:
    """Yield items ``start`` to ``start + n`` of a scenario; item i is the same whatever ``n`` and ``start``.

    ``pool`` is ``id`` (the models' own distribution), ``new-mix`` (other proportions of the same types) or
    ``natural`` (scenes of graded strangeness).  The record ids of a ``mix`` of your own name its pool: give
    scenarios that differ only in ``mix`` different seeds if they go into one set of records.
    """
    for index in range(start, start + n):
        yield lab_item(index, seed, language, mix, pool)
