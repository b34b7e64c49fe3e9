"""This module trains the tokenisers of the lab's models on its own sentences.

A byte-level BPE for the MLLMs and the caption tower of CLIP (any text is representable; a language the corpus
holds little of is cut into more pieces), and a Unigram model, XLM-R's kind, for the text encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from auditor.lab.lexicon import KINDS, LANGUAGES
from auditor.lab.questions import Question, draw_question
from auditor.lab.scene import Scene, draw_scene

CORPUS_STREAM: Final = 2_000
PAD, BOS, EOS, IMAGE, ANSWER = range(5)
BPE_SPECIALS: Final = ("<pad>", "<s>", "</s>", "<image>", "<|answer|>")
# A word with its space, a digit, a Chinese character alone (whole sentences would fuse otherwise), the rest.
_PIECES: Final = r"\p{Han}| ?[\p{L}\p{M}]+| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]|\s+"
CHAT_TEMPLATE: Final = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}<|answer|>{%- endif -%}"
    "{%- if message['content'] is string -%}{{ message['content'] }}"
    "{%- else -%}"
    "{%- for part in message['content'] if part['type'] in ('image', 'image_url') -%}<image>{%- endfor -%}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] }}{%- endfor -%}"
    "{%- endif -%}"
    "{%- if message['role'] == 'assistant' -%}</s>{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|answer|>{%- endif -%}"
)


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Write an English caption of a scene: some of its objects, in any order, more or less fully
    described."""
    parts = []
    for k in rng.permutation(len(scene.items)).tolist():
        item = scene.items[k]
        place = ("top left", "top right", "bottom left", "bottom right")[item.quadrant]
        parts.append(f"a {item.texture} {item.colour} {item.shape} {item.digit} {place}")
    return ", ".join(parts) + f" on {scene.background}"


def dialogue(index: int, seed: int, rng: np.random.Generator) -> tuple[Question, int]:
    """Draw a question of the corpus and the number of its phrasing."""
    scene = draw_scene(seed, index)
    return draw_question(scene, KINDS[index % len(KINDS)], rng), int(rng.integers(0, 60))


def sentences(seed: int, count: int = 1_200) -> Iterator[str]:
    """Yield questions of every language, answers, references and captions: ``count`` of a kind."""
    rng = np.random.default_rng((CORPUS_STREAM, seed))
    for index in range(count):
        question, phrasing = dialogue(index, CORPUS_STREAM + seed, rng)
        for language in LANGUAGES:
            yield question.text(language, phrasing)
        # Answers stand at the start of a turn and their words inside questions: both spellings become tokens.
        yield question.truth.answer
        yield question.text("en", phrasing + 1)
        yield question.reference(phrasing)
        yield caption(draw_scene(CORPUS_STREAM + seed, index), rng)


def train_bpe(seed: int, vocab: int = 1_536) -> PreTrainedTokenizerFast:
    """Train the tokeniser of the MLLMs: byte-level BPE, padded on the left for generation."""
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(BPE_SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(sentences(seed), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        model_max_length=512,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def train_caption_bpe(seed: int, vocab: int = 512) -> PreTrainedTokenizerFast:
    """Train the tokeniser of CLIP's caption tower: the same pieces, closed by ``</s>`` and padded on the
    right."""
    tokenizer = train_bpe(seed, vocab)
    core = tokenizer.backend_tokenizer
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=64
    )


def train_unigram(seed: int, vocab: int = 2_000) -> PreTrainedTokenizerFast:
    """Train the text encoder's tokeniser, laid out as XLM-R's: ``<s> ... </s>``, ids 0 to 3 as there,
    ``<mask>``."""
    core = Tokenizer(models.Unigram())
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab, special_tokens=specials, unk_token="<unk>", max_piece_length=12, show_progress=False
    )
    # Every letter and digit becomes a piece, so that a misspelt word is read as pieces and not as unknown.
    letters = " ".join("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    core.train_from_iterator([*sentences(seed), *([letters] * 20)], trainer)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=126,
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write the tokeniser's files into ``directory``."""
    tokenizer.save_pretrained(directory)
