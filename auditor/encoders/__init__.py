"""Encoders: contents of one modality in, vectors out. `make_encoder("minilm", "text").encode(texts)`."""

from auditor.encoders.coverage import chars_per_token, knows_texts
from auditor.encoders.registry import check_encoder, encoder_names, make_encoder

__all__ = ["chars_per_token", "check_encoder", "encoder_names", "knows_texts", "make_encoder"]
