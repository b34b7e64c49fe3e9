"""This module gets answers from a model that transformers loads: image-text models (LLaVA and its kin) and
text-only ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from auditor.encoders.isolation import failure_of
from auditor.encoders.pretrained import fixed_threads, load_model, weights_digest
from auditor.errors import AuditError, one_line
from auditor.generators.logprobs import TokenLogProbs
from auditor.generators.registry import generator, weights_of
from auditor.generators.sampling import Drawn, Sampling, answer_of
from auditor.generators.template import ChatTemplate
from auditor.records import decode
from schemas.response import Answer, Prompt

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import GenerationConfig

STEP = 16
"""Prompts are padded (on the left) to a multiple of this many tokens."""
BLANK = Image.new("RGB", (64, 64))

Row = tuple[str, list[Image.Image]]
"""A prompt as the model's template writes it, and its images."""


class TransformersGenerator:
    """This class is a `Generator` around a loaded model.

    Prompts are sorted by their number of images and padded length, which depend on the prompt alone (for
    models that give every image the same number of tokens); each group is answered in batches of `batch`,
    filled with blanks. So the same arithmetic is done for a prompt whoever comes with it, and a greedy
    answer keeps its bits. Sampled answers also depend on the place in the batch: they repeat for the same
    prompts and seed.
    """

    def __init__(
        self, directory: Path, *, name: str, sampling: Sampling, batch: int, device: str, threads: int
    ) -> None:
        """Raise BadInput where `directory` holds no model that generates."""
        from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

        self._chat = ChatTemplate(directory, name)
        self._sees = self._chat.sees
        kind = AutoModelForImageTextToText if self._sees else AutoModelForCausalLM
        self._model: Any = load_model(kind, directory, name).to(device)
        self._processor, self._tokenizer = self._chat.processor, self._chat.tokenizer
        self._tokenizer.padding_side = "left"
        self._name = name
        self._sampling = sampling
        self._batch = batch
        self._device = device
        self._threads = threads
        self._settings = self._generation_config()
        self._limit = getattr(self._chat.config.get_text_config(), "max_position_embeddings", None)
        self._image_tokens = self._tokens_of_an_image() if self._sees else 0
        self._identity = self._describe()

    @property
    def identity(self) -> str:
        """Return canonical JSON of everything that changes the output."""
        return self._identity

    def generate(self, prompts: Sequence[Prompt], seed: int) -> list[Answer]:
        """Return one `Answer` a prompt, in order. A prompt that fails, or whose answers are all empty, has
        its `error`.

        Of several samples the empty ones are left out. Greedy log-probabilities are under the model's own
        distribution (temperature 1), sampled ones under the distribution that was sampled.

        Raises:
            AuditError: the model fails whatever it is asked, or memory runs out.
        """
        import torch

        answers = [Answer(error="not answered")] * len(prompts)
        groups: dict[tuple[int, int], list[tuple[int, str]]] = {}
        for index, prompt in enumerate(prompts):
            try:
                text = self._chat.render(prompt)
                length = self._pad(text, len(prompt.images))
            except Exception as error:  # templates raise what their authors chose
                answers[index] = Answer(error=one_line(error))
            else:
                groups.setdefault((len(prompt.images), length), []).append((index, text))
        with fixed_threads(self._threads), torch.inference_mode():
            for (images, length), members in sorted(groups.items()):
                for start in range(0, len(members), self._batch):
                    chunk = members[start : start + self._batch]
                    state = np.random.SeedSequence([seed, images, length, start]).generate_state(1)
                    rows = [(text, prompts[index].images) for index, text in chunk]
                    for (index, _), answer in zip(
                        chunk, self._chunk(rows, length, int(state[0])), strict=True
                    ):
                        answers[index] = answer
        return answers

    def _chunk(self, rows: list[tuple[str, tuple[bytes, ...]]], length: int, seed: int) -> list[Answer]:
        """Return answers to at most `batch` prompts of one padded length and one number of images."""
        import torch

        images = len(rows[0][1])
        blank: Row = (self._chat.render(Prompt(images=(b"",) * images)), [BLANK] * images)
        batch = [blank] * self._batch
        failed: dict[int, Answer] = {}
        for place, (text, encoded) in enumerate(rows):
            try:
                batch[place] = (text, [decode(data, None) for data in encoded])
            except Exception as error:
                failed[place] = Answer(error=str(failure_of(error)))
        try:
            answers = self._run(batch, length, seed)
        except torch.OutOfMemoryError as error:
            raise AuditError(f"model {self._name}: out of memory; lower its batch ({self._batch})") from error
        except Exception:
            # Each row alone among blanks, then all that can be answered: a bad row costs the others nothing
            # but time, and its place stays filled, so that they keep their bits.
            for place in (p for p in range(len(rows)) if p not in failed):
                alone = [blank] * self._batch
                alone[place] = batch[place]
                try:
                    self._run(alone, length, seed)
                except Exception as error:
                    failed[place] = Answer(error=one_line(error))
                    batch[place] = blank
            try:
                answers = self._run(batch, length, seed)
            except Exception as error:
                raise AuditError(f"model {self._name} fails on blank prompts: {one_line(error)}") from error
        return [failed.get(place, answers[place]) for place in range(len(rows))]

    def _run(self, batch: list[Row], length: int, seed: int) -> list[Answer]:
        import torch
        from transformers import LogitsProcessorList

        inputs = self._inputs(batch, length)
        prompt_length = inputs["input_ids"].shape[1]
        samples = self._sampling.samples
        log_probs = TokenLogProbs(self._sampling.temperature or 1.0, self._stops(), len(batch) * samples)
        devices = [self._device] if torch.device(self._device).type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            ids = self._model.generate(
                **inputs, generation_config=self._settings, logits_processor=LogitsProcessorList([log_probs])
            )
        log_probs.settle(ids)
        texts = self._chat.read(ids[:, prompt_length:])
        total, count = log_probs.total.tolist(), log_probs.count.tolist()
        drawn = [Drawn(text, total[i], count[i]) for i, text in enumerate(texts)]
        return [answer_of(drawn[i * samples : (i + 1) * samples]) for i in range(len(batch))]

    def _inputs(self, batch: list[Row], length: int) -> dict[str, Tensor]:
        """Return what the model is called with; rows padded on the left to `length`, or further where images
        need it."""
        import torch

        texts = [text for text, _ in batch]
        options = {
            "padding": True,
            "pad_to_multiple_of": STEP,
            "return_tensors": "pt",
            "add_special_tokens": self._chat.adds_special(texts[0]),
        }
        if self._sees:
            images = [pictures for _, pictures in batch] if batch[0][1] else None
            inputs = self._processor(text=texts, images=images, **options)
        else:
            inputs = self._tokenizer(texts, **options)
        short = length - inputs["input_ids"].shape[1]
        shape = inputs["input_ids"].shape
        fill = {"input_ids": self._tokenizer.pad_token_id}
        out = {}
        for key, value in inputs.items():
            if short > 0 and value.shape == shape:
                value = torch.nn.functional.pad(value, (short, 0), value=fill.get(key, 0))
            out[key] = value.to(self._device)
        return out

    def _pad(self, text: str, images: int) -> int:
        ids = self._tokenizer(text, add_special_tokens=self._chat.adds_special(text))["input_ids"]
        tokens = len(ids) + images * (self._image_tokens - 1)
        length = max(1, -(-tokens // STEP)) * STEP
        if self._limit is not None and length + self._sampling.max_new_tokens > self._limit:
            most = self._limit - self._sampling.max_new_tokens
            raise ValueError(f"the prompt has {tokens} tokens, the model takes {most // STEP * STEP}")
        return length

    def _tokens_of_an_image(self) -> int:
        """Return the number of tokens that an image becomes (of a blank one, where it depends on the
        image)."""
        text = self._chat.render(Prompt(images=(b"",)))
        without = len(self._tokenizer(text)["input_ids"])
        return len(self._processor(text=[text], images=[[BLANK]])["input_ids"][0]) - without + 1

    def _generation_config(self) -> GenerationConfig:
        from transformers import GenerationConfig

        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        base = {"eos_token_id": self._chat.ends or None, "pad_token_id": self._tokenizer.pad_token_id}
        # What a model's own settings add (penalties, top-p) would make log p another distribution's.
        self._model.generation_config = GenerationConfig(**base)
        drawn: dict[str, Any] = {"do_sample": False}
        if self._sampling.temperature > 0:
            drawn = {"do_sample": True, "temperature": self._sampling.temperature, "top_k": 0, "top_p": 1.0}
        return GenerationConfig(
            **base,
            **drawn,
            max_new_tokens=self._sampling.max_new_tokens,
            num_return_sequences=self._sampling.samples,
        )

    def _stops(self) -> Tensor:
        import torch

        return torch.tensor(self._chat.ends, dtype=torch.long, device=self._device)

    def _describe(self) -> str:
        import torch
        import transformers

        return json.dumps(
            {
                "name": self._name,
                "weights": weights_digest(self._model),
                **self._chat.identity(),
                "sampling": asdict(self._sampling),
                "dtype": "float32",
                "device": torch.device(self._device).type,
                "batch": self._batch,
                "padded_to": STEP,
                "threads": self._threads,
                "engine": f"transformers {transformers.__version__}",
                "torch": torch.__version__,
            },
            sort_keys=True,
        )


@generator("transformers")
def load(
    *, model: str | None, sampling: Sampling, batch: int, device: str, threads: int
) -> TransformersGenerator:
    """Load a model that transformers loads, in this process."""
    directory, name = weights_of(model, "transformers")
    return TransformersGenerator(
        directory, name=name, sampling=sampling, batch=batch, device=device, threads=threads
    )
