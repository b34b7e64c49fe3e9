"""The format `question_answer`: sets of questions with their answers, as tables of Hugging Face and files of
instructions have them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from auditor.records.fields import FIELDS
from auditor.records.formats.contents import image_items, without_marks
from auditor.records.formats.conversation import UNNAMED
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row, format
from auditor.records.formats.values import first_name

IDS = ("id", "question_id", "questionId", "qid", "uid")
QUESTIONS = ("question", "prompt", "instruction", "problem", "user_prompt", "query")
RIGHT = ("answer", "answers", "ground_truth", "solution", "output", "target", "caption")
SAID = ("response", "completion", "prediction", "generated_text", "model_output")
IMAGES = ("image", "images", "image_path", "img", "picture")
_NUMBERED = re.compile(r"image_\d{1,3}")


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row has a question as a text, and an id, an answer or an image with it."""
    asked = any(isinstance(row.get(name), str) for name in QUESTIONS)
    return asked and any(name in row for name in (*IDS, *RIGHT, *SAID, *IMAGES, "responses", "reference"))


@format(
    "question_answer",
    told_by="`question` (or `prompt`, `instruction`, `problem`, `query`), with an id, an answer or an image",
    recognises=recognises,
    order=80,
)
def question_answer(row: dict[str, Any], reading: Reading) -> Row:
    """Translate one question. `answer` and its kin are the reference, one or several; `response` and its kin
    are the answer of the row's `model`. Fields with names of ours are taken as they are."""
    fields = {name: row[name] for name in FIELDS if name in row}
    asked = next((row[name] for name in QUESTIONS if isinstance(row.get(name), str)), None)
    if isinstance(row.get("instruction"), str) and isinstance(row.get("input"), str) and row["input"].strip():
        asked = f"{row['instruction']}\n{row['input']}"
    named = [*IMAGES, *sorted((n for n in row if _NUMBERED.fullmatch(n)), key=lambda n: int(n[6:]))]
    images = [item for name in named for item in image_items(row.get(name))]
    if images:
        fields.pop("image", None)
        fields["images"] = images
    fields["query"] = without_marks(asked) if images and isinstance(asked, str) else asked
    right = next((row[name] for name in RIGHT if row.get(name) not in (None, "", [])), None)
    if right is not None:
        fields.setdefault("reference", [_text(answer) for answer in _listed(right)])
    said = next((row[name] for name in SAID if row.get(name) not in (None, "", [])), None)
    if said is not None and "responses" not in fields:
        model = first_name(row, "model", "model_id", "model_name")
        if model is None:
            reading.count("responses", f"of a model that is not named: kept as `{UNNAMED}`")
        fields["responses"] = {model or UNNAMED: said}
    return Row({"record_id": first_name(row, *IDS), **fields})


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(answer: Any) -> Any:
    """One right answer, which may stand in an object of its own."""
    return answer.get("answer", answer.get("text")) if isinstance(answer, Mapping) else answer
