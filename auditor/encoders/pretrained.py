"""This module finds pretrained weights, identifies them, and fixes how many threads compute with them.

Shared by encoders and generators. Nothing is fetched twice, nothing that is not safetensors is asked of a
hub, and what cannot be had is one line of `BadInput`, within seconds.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from auditor.encoders.registry import MODEL_PATHS
from auditor.errors import BadInput, missing_package

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

HUB_SECONDS = 5
"""Seconds to wait for a hub that does not answer. The loaders of the libraries try five times more,
for 23 s."""

HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]


def weights_digest(model: nn.Module) -> str:
    """Return SHA-256 (hex) of every parameter and buffer as loaded: names in order, types, shapes, bytes.
    O(size)."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().cpu().contiguous()
        digest.update(f"{name}:{flat.dtype}:{tuple(flat.shape)};".encode())
        # Viewed as bytes, because numpy knows no bfloat16.
        digest.update(flat.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return SHA-256 (hex) of a tokenizer's kind and vocabulary."""
    vocabulary = json.dumps([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
    return hashlib.sha256(vocabulary.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return SHA-256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_digest(paths: Sequence[Path]) -> str:
    """Return SHA-256 (hex) of files: their names and contents, in the order given. O(size)."""
    parts = json.dumps([[path.name, file_digest(path)] for path in paths])
    return hashlib.sha256(parts.encode()).hexdigest()


@contextmanager
def fixed_threads(threads: int) -> Iterator[None]:
    """Compute with exactly `threads` threads: the order of a sum, so its last bits, depends on them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def model_directory(name: str) -> Path:
    """Return the directory that holds the model `name`: itself where it is one, where its scheme leads
    (`lab:NAME`, see `model_path`), else fetched from the hub (or its cache).

    Raises:
        BadInput: there is no such directory, and no hub answers within `HUB_SECONDS` or none knows the name.
    """
    if Path(name).is_dir():
        return Path(name)
    if name in MODEL_PATHS:
        return MODEL_PATHS.find(name).directory(name.partition(":")[2])
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        # Loaded from a directory afterwards, so that loading itself never asks the hub again.
        return Path(
            snapshot_download(
                name, allow_patterns=HUB_FILES, ignore_patterns=["*/*"], etag_timeout=HUB_SECONDS
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise _unreachable_error(name, error) from error


def hub_file(repository: str, name: str) -> Path:
    """Fetch one file of a repository of the hub (or its cache). Raises BadInput as `model_directory` does."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, etag_timeout=HUB_SECONDS))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise _unreachable_error(f"{repository}/{name}", error) from error


def package_file(package: str, relative: str, sha256: str) -> Path:
    """Return a file of weights that an installed package ships, its content checked.

    Raises:
        BadInput: the package is not installed, or the file is missing or not the one expected.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise missing_package(package)
    path = Path(next(iter(spec.submodule_search_locations))) / relative
    if not path.is_file():
        raise BadInput(f"{package}: {relative} is missing; install the package again")
    digest = file_digest(path)
    if digest != sha256:
        raise BadInput(
            f"{package}: {relative} has SHA-256 {digest}, expected {sha256}; install the pinned version"
        )
    return path


def load_model(kind: Any, directory: Path, name: str, **config: Any) -> Any:
    """Load a transformers model in fp32, from safetensors, whole, ready to use; `kind` is its auto class,
    `config` what of its configuration is to be another.

    A pooler that the checkpoint lacks (those of masked language models do) is taken off: filled at random, it
    would give the same weights another digest at every start.

    Raises:
        BadInput: `directory` holds no such model, or not all of its weights.
    """
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    if config:  # weights that a changed configuration has no use for are no news
        transformers_logging.set_verbosity_error()
    try:
        model, info = kind.from_pretrained(
            directory,
            use_safetensors=True,
            trust_remote_code=False,
            dtype="float32",
            output_loading_info=True,
            **config,
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BadInput(f"model {name}: {directory} does not load ({str(error).splitlines()[0]})") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()
    missing = sorted(info["missing_keys"])
    lacking = [key for key in missing if not key.startswith("pooler.")]
    if lacking:
        raise BadInput(f"model {name}: {directory} lacks {len(lacking)} of its weights, {lacking[0]} first")
    if missing:
        model.pooler = None
    return model.eval()


def _unreachable_error(name: str, error: Exception) -> BadInput:
    cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return BadInput(f"model {name!r} needs a reachable model hub or a local directory ({cause})")
