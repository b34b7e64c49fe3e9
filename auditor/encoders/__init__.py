"""Encoders turn contents of one modality, images or texts, into vectors. May import the rooms up to
`risk`."""

from auditor.encoders.coverage import chars_per_token, knows_texts
from auditor.encoders.registry import encoder_names, make_encoder

__all__ = ["chars_per_token", "encoder_names", "knows_texts", "make_encoder"]
