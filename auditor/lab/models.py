"""This module finds the lab's models by the scheme `lab:`, wherever a model is loaded from a directory
(`lab:mllm-strong`)."""

from __future__ import annotations

from pathlib import Path

from auditor.encoders import model_path
from auditor.errors import BadInput
from auditor.lab.weights import weights_dir


@model_path("lab:")
def lab_directory(name: str) -> Path:
    """Return the directory of one of the lab's shipped models. Raises `BadInput`, which lists them."""
    try:
        return weights_dir(name)
    except (ValueError, FileNotFoundError) as error:
        raise BadInput(str(error)) from None
