"""Encoders turn contents of one modality, images or texts, into vectors. May import the rooms up to
`risk`.

A new encoder is one file with `@encoder("name", "text")` above the function that loads it.
"""

from auditor.encoders.coverage import chars_per_token, knows_texts
from auditor.encoders.registry import encoder, encoder_names, make_encoder, model_path

__all__ = ["chars_per_token", "encoder", "encoder_names", "knows_texts", "make_encoder", "model_path"]
