"""The lab's encoders load by name."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from auditor.encoders import make_encoder


def test_lab_encoders() -> None:
    image = make_encoder("lab", "image", batch=2)
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(out, format="PNG")
    assert np.isfinite(image.encode([out.getvalue()])).all()
    text = make_encoder("lab", "text", batch=2)
    assert np.isfinite(text.encode(["What colour is the square?", "Welche Farbe hat der Kreis?"])).all()
