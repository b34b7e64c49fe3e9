"""The lab is a small rendered world whose truth is known: scenes, questions, true answers, and trained
tiny models. May import every room; no other room imports it.

items = list(lab_items(100, seed=0, language="de"))      # picture, query, reference, truth
graded_score("red", items[0].truth)                      # 0..1; or truth_of(record_tags)
weights_dir("mllm-strong")                               # a directory that transformers loads
"""

from auditor.lab.lexicon import KINDS, LANGUAGE_NAMES, LANGUAGES
from auditor.lab.scene import Scene, SceneLaw, draw_scene, render
from auditor.lab.truth import Truth, exact, graded_score, to_tags, truth_of
from auditor.lab.weights import WEIGHTS, weights_dir
from auditor.lab.world import ID_MIX, NATURAL_MIX, NEW_MIX, POOLS, LabItem, Mix, lab_item, lab_items

__all__ = [
    "ID_MIX",
    "KINDS",
    "LANGUAGES",
    "LANGUAGE_NAMES",
    "NATURAL_MIX",
    "NEW_MIX",
    "POOLS",
    "WEIGHTS",
    "LabItem",
    "Mix",
    "Scene",
    "SceneLaw",
    "Truth",
    "draw_scene",
    "exact",
    "graded_score",
    "lab_item",
    "lab_items",
    "render",
    "to_tags",
    "truth_of",
    "weights_dir",
]
