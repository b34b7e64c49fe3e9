"""This package audits distribution shift for multimodal LLMs, by effective mutual information (Oh et al.,
ICML 2025).

    import auditor

    baseline = auditor.build_baseline(frame, encoders={"image": "efficientnet-lite0", "text": "minilm"})
    report = auditor.drift(baseline, "traffic/*.jsonl", window="1d", media_root="images")
    report.verdict, report.to_frame(), report.save("out")

Everything in this package is true without a cluster: it never imports ray. What is heavy (torch,
transformers, pyarrow, duckdb) is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from auditor.api import audit, build_baseline, compare, drift, profile, ray, read, serial
    from auditor.errors import AuditError, BadInput
    from auditor.profiles.baseline import Baseline
    from auditor.profiles.profile import Profile
    from auditor.records.collection import Records
    from auditor.report.result import Report

_PUBLIC = {
    "AuditError": "auditor.errors",
    "BadInput": "auditor.errors",
    "Baseline": "auditor.profiles.baseline",
    "Profile": "auditor.profiles.profile",
    "Records": "auditor.records.collection",
    "Report": "auditor.report.result",
    "audit": "auditor.api",
    "build_baseline": "auditor.api",
    "compare": "auditor.api",
    "drift": "auditor.api",
    "profile": "auditor.api",
    "ray": "auditor.api",
    "read": "auditor.api",
    "serial": "auditor.api",
}
"""Name -> the module that has it."""

__all__ = [
    "AuditError",
    "BadInput",
    "Baseline",
    "Profile",
    "Records",
    "Report",
    "audit",
    "build_baseline",
    "compare",
    "drift",
    "profile",
    "ray",
    "read",
    "serial",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_PUBLIC[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
