"""This package holds the lab's trained weights, shipped as package data (see README.md beside this file for
the model card)."""

from importlib.resources import files
from pathlib import Path
from typing import Final

# transformers and open_clip read directories of a real file system, so the package is installed unzipped.
WEIGHTS: Final = Path(str(files(__name__)))
"""The directory that holds one folder a model."""
MODELS: Final = ("mllm-strong", "mllm-weak", "clip", "xlmr")


def weights_dir(name: str) -> Path:
    """Return the directory of a shipped model: ``mllm-strong``, ``mllm-weak``, ``clip`` or ``xlmr``."""
    if name not in MODELS:
        raise ValueError(f"unknown lab model {name!r}; shipped: {', '.join(MODELS)}")
    path = WEIGHTS / name
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is missing; make it with `python -m jobs.train_lab`")
    return path
