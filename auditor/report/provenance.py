"""The provenance of a number says what made it, from what data, in which versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from auditor import __version__
from auditor.estimators.registry import describe
from schemas.config import AuditConfig, CriticConfig, DriftConfig
from schemas.report import Graded, Run

PACKAGES = ("torch", "transformers", "open_clip_torch", "ray", "duckdb", "faiss-cpu", "pyarrow", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of this program and of the packages that make the numbers."""
    packages = {"shift-auditor": __version__}
    for package in PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            continue
    return packages


@dataclass(frozen=True)
class Provenance:
    """The provenance of a report's numbers says what they were made of, and by what."""

    config_hash: str
    """Digest of all of the config that changes a number."""
    content: str
    """Digest of every row."""
    encoders: dict[str, str]
    """Modality -> identity; without images where no record has one."""
    models: dict[str, str]
    """Name -> identity."""
    critic: str | None
    """How it was trained, in words."""
    executor: str | None = None
    """Where the work was done, in words."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds of each stage, in their order."""
    grader: Graded | None = None
    """What answers were graded by."""
    beside: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the report's config, beside the job's own."""


def run(
    config: AuditConfig | DriftConfig, id_scenario: str, provenance: Provenance, groups: str | None = None
) -> Run:
    """Return the report's account of itself; `groups`: what ties rows together, in words. The same config on
    the same data has the same `run_id`."""
    stamp = f"{provenance.config_hash}{provenance.content}"
    return Run(
        run_id=blake2b(stamp.encode(), digest_size=6).hexdigest(),
        job="audit" if isinstance(config, AuditConfig) else "drift",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=config.seed,
        config_hash=provenance.config_hash,
        interval_level=config.interval_level,
        config=config.model_dump(mode="json") | dict(provenance.beside),
        versions=versions(),
        encoders=provenance.encoders,
        models=provenance.models,
        critic=provenance.critic,
        grader=provenance.grader,
        id_scenario=id_scenario,
        groups=groups,
        thresholds={k: v for k, v in config.thresholds.model_dump().items() if v is not None},
        executor=provenance.executor,
        seconds={stage: round(seconds, 3) for stage, seconds in provenance.seconds.items()},
    )


def how_trained(config: CriticConfig) -> str:
    """Say what critics were trained and how, in words."""
    folds = f", cross-fitted over {config.cross_fit} folds of base ids" if config.cross_fit else ""
    known = ", trained on correct answers alone" if config.pairs == "references" else ""
    return f"{describe(config.estimator)}, {config.seeds} seeds{folds}{known}"
