"""This module knows how a model is prompted: by its processor or tokenizer, its chat template and its end
tokens. Every engine that loads the model itself uses it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditor.encoders.pretrained import tokenizer_digest
from auditor.errors import BadInput
from schemas.response import Prompt


class ChatTemplate:
    """This class writes prompts as the model in a directory has learnt to read them, and reads its tokens."""

    def __init__(self, directory: Path, name: str) -> None:
        """Raise BadInput where `directory` holds no model that generates."""
        from transformers import (
            MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
            AutoConfig,
            AutoProcessor,
            AutoTokenizer,
        )

        try:
            self.config: Any = AutoConfig.from_pretrained(directory, trust_remote_code=False)
            self.sees = type(self.config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
            reader = AutoProcessor if self.sees else AutoTokenizer
            self.processor: Any = reader.from_pretrained(directory, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise BadInput(
                f"model {name}: {directory} does not load ({str(error).splitlines()[0]})"
            ) from error
        self.tokenizer: Any = self.processor.tokenizer if self.sees else self.processor
        self.ends = self._ends(directory)
        """Ids of the tokens that end an answer."""

    def render(self, prompt: Prompt) -> str:
        """Return the prompt in the words of the model's chat template; without one, images first, then the
        texts.

        Raises ValueError for images that the model does not take, and whatever a template raises.
        """
        if prompt.images and not self.sees:
            raise ValueError("this model takes no images")
        if not self.processor.chat_template:
            texts = [*(turn.text for turn in prompt.history), prompt.text]
            return getattr(self.processor, "image_token", "") * len(prompt.images) + "\n".join(texts)
        turns = [(turn.role, turn.text, 0) for turn in prompt.history] + [
            ("user", prompt.text, len(prompt.images))
        ]
        messages = [
            {
                "role": role,
                "content": [{"type": "image"}] * images + [{"type": "text", "text": text}]
                if self.sees
                else text,
            }
            for role, text, images in turns
        ]
        return str(self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def adds_special(self, text: str) -> bool:
        """Return whether the tokenizer is to add its own begin token, which many templates write
        themselves."""
        if not self.processor.chat_template:
            return True
        begin = self.tokenizer.bos_token
        return self.sees and not (begin is not None and text.startswith(begin))

    def read(self, tokens: Sequence[Sequence[int]]) -> list[str]:
        """Return the texts of answers, without special tokens and outer blanks."""
        return [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    def identity(self) -> dict[str, Any]:
        """Return the parts of the template that change an answer."""
        pictures = self.processor.image_processor.to_dict() if self.sees else {}
        template = json.dumps([self.processor.chat_template, pictures], sort_keys=True, default=str)
        return {
            "tokenizer": tokenizer_digest(self.tokenizer),
            "template": hashlib.sha256(template.encode()).hexdigest(),
        }

    def _ends(self, directory: Path) -> list[int]:
        from transformers import GenerationConfig

        try:
            own = GenerationConfig.from_pretrained(directory)
        except OSError:
            own = GenerationConfig.from_model_config(self.config)
        ends = own.eos_token_id if own.eos_token_id is not None else self.tokenizer.eos_token_id
        return [] if ends is None else list(ends) if isinstance(ends, list | tuple) else [ends]
