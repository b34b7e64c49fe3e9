"""This module loads the lab's own encoders of pictures and questions, both named `lab`."""

from __future__ import annotations

from typing import Any

from auditor.encoders import encoder, openclip, transformers_text
from auditor.encoders.images import ImageEncoder
from auditor.encoders.texts import TextEncoder
from auditor.lab.models import lab_directory


class LabImageSettings(openclip.OpenClipSettings):
    """The default is the space that the contrastive training shapes; patch tokens are shaped by the
    supervised tower alone."""

    pooling: str = openclip.PROJECTED


@encoder("lab", "image", settings=LabImageSettings)
def lab_image(*, settings: LabImageSettings, **options: Any) -> ImageEncoder:
    """Load a small CLIP of the lab's scenes."""
    return openclip.from_directory(lab_directory("clip"), **settings.model_dump(), **options)


@encoder("lab", "text", settings=transformers_text.TextSettings)
def lab_text(*, settings: transformers_text.TextSettings, **options: Any) -> TextEncoder:
    """Load a small XLM-R of the lab's seven languages. The last layer, not the published layer 0: lab
    questions differ by word order ("left of", "above"), which an average of embeddings does not see."""
    return transformers_text.load(
        lab_directory("xlmr"), multilingual=True, **settings.model_dump(), **options
    )
