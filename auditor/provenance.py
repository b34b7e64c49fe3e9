"""Where a number comes from: the versions of what made it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from auditor import __version__

PACKAGES = ("torch", "transformers", "open_clip_torch", "ray", "duckdb", "faiss-cpu", "pyarrow", "numpy")


def versions() -> dict[str, str]:
    """Of this program and of the packages that make the numbers."""
    found = {"shift-auditor": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
