"""What the jobs' common line says of its encoders."""

import json

from jobs.pipeline import precision_notes
from schemas.config import EncodersConfig


def test_a_refused_precision_is_told():
    asked = EncodersConfig(
        image={"name": "lab", "precision": "float16"}, text={"name": "lab", "precision": "bfloat16"}
    )
    made = {"image": json.dumps({"dtype": "float32"}), "text": json.dumps({"dtype": "bfloat16"})}
    (note,) = precision_notes(asked, made)
    assert note.startswith("encoders.image.precision: float16") and note.endswith("float32 was used")
    assert precision_notes(EncodersConfig(), made) == []  # auto
    assert precision_notes(asked, {"text": made["text"]}) == []  # no images in the records
