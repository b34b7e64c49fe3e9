"""The format `question_answer`: sets of questions with their answers, as tables of Hugging Face and files of
instructions have them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from auditor.records.formats.contents import image_items, without_marks
from auditor.records.formats.reading import Reading
from auditor.records.formats.registry import Row, format
from auditor.records.formats.values import first_name

QUESTIONS = ("question", "prompt", "instruction", "problem", "user_prompt", "query", "caption_prompt")
ANSWERS = ("answer", "answers", "ground_truth", "solution", "output", "reference", "target", "caption")
IMAGES = ("image", "images", "image_path", "img", "picture")
_NUMBERED = re.compile(r"image_\d+")


def recognises(row: Mapping[str, Any]) -> bool:
    """Return whether a row has a question as a text, with an image or an answer."""
    asked = any(isinstance(row.get(name), str) for name in QUESTIONS)
    return asked and any(name in row for name in (*ANSWERS, *IMAGES) if name not in QUESTIONS)


@format(
    "question_answer",
    told_by="`question` (or `prompt`, `instruction`, `problem`), with `image` or `answer`",
    recognises=recognises,
    order=80,
)
def question_answer(row: dict[str, Any], reading: Reading) -> Row:
    """Translate one question. Its answers are the references."""
    asked = next((row[name] for name in QUESTIONS if isinstance(row.get(name), str)), None)
    if isinstance(row.get("instruction"), str) and isinstance(row.get("input"), str) and row["input"].strip():
        asked = f"{row['instruction']}\n{row['input']}"
    named = [*IMAGES, *sorted((n for n in row if _NUMBERED.fullmatch(n)), key=lambda n: int(n[6:]))]
    images = [item for name in named for item in image_items(row.get(name))]
    answer = next((row[name] for name in ANSWERS if row.get(name) not in (None, "", [])), None)
    answers = answer if isinstance(answer, list) else [answer]
    right = [a.get("answer", a.get("text")) if isinstance(a, Mapping) else a for a in answers]
    fields = {
        "record_id": first_name(row, "id", "question_id", "questionId", "qid", "uid"),
        "query": without_marks(asked) if images and isinstance(asked, str) else asked,
        "images": images,
        "reference": right if len(right) != 1 else right[0],
        "timestamp": row.get("timestamp"),
    }
    return Row({name: value for name, value in fields.items() if value not in (None, [])})
