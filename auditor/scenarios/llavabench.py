"""This module is the reader `llavabench`: it reads the published LLaVA-Bench layout."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from auditor.errors import BadInput
from auditor.records import LlavaBench
from auditor.records.sources import fingerprint
from auditor.scenarios.registry import reader
from auditor.scenarios.scenario import TRAFFIC, Source
from auditor.storage.run_dir import RunDir
from schemas.config import AuditData, DriftData, JobConfig, ScenarioSpec

_LANGUAGES = ("Arabic", "Chinese", "German", "Greek", "Hindi", "Korean")


@reader(
    "llavabench",
    needs={"root": "the folder of the LLaVA-Bench files (--set data.root=PATH)"},
    media_root="root",
)
def llavabench(config: JobConfig, run: RunDir) -> Iterator[Source]:
    """Yield published scenarios by their names; by default those that have references: the shifted copies and
    the six languages of the COCO set. For drift yield the one that `data.traffic` names."""
    data = config.data
    bench = LlavaBench(str(data.root))
    known = bench.scenarios()
    if isinstance(data, DriftData):
        if data.traffic not in known:
            raise BadInput(
                f"data.traffic: no scenario {data.traffic!r} under {data.root}; there is {known[0]}, ..."
            )
        yield _published_source(bench, data.traffic, TRAFFIC, "window", str(data.root))
        return
    if not isinstance(data, AuditData):
        yield _published_source(bench, known[0], known[0], "id", str(data.root))
        return
    if data.scenarios:
        for name, spec in data.scenarios.items():
            if name not in known:
                raise BadInput(
                    f"data.scenarios: no scenario {name!r} under {data.root}; there is {known[0]}, ..."
                )
            if spec != ScenarioSpec(family=spec.family):
                raise BadInput(f"data.scenarios.{name}: only `family` can be set for a published scenario")
        chosen = [known[0], *(name for name in known[1:] if name in data.scenarios)]
    else:
        chosen = [name for name in known if name.startswith(known[0]) and not name.endswith("_English")]
    for name in chosen:
        settings = data.scenarios.get(name)
        family = (settings.family if settings else None) or _family(name, known[0])
        yield _published_source(bench, name, name, family, str(data.root))


def _published_source(bench: LlavaBench, published: str, name: str, family: str, root: str) -> Source:
    """Return one published scenario, under a name of ours."""
    files = fingerprint(f"{root}/responses/*.jsonl")
    return Source(name, family, f"llavabench {published} {files}", partial(bench.records, published))


def _family(name: str, first: str) -> str:
    if name == first:
        return "id"
    if any(name.endswith(f"_{language}") for language in _LANGUAGES):
        return "text" if name.startswith(first) else "joint"
    visual = "frost" in name or "defocus" in name
    text = "_sr_" in name or "Keyboard" in name
    return "joint" if visual and text else "visual" if visual else "text" if text else "natural"
