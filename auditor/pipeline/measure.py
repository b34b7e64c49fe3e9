"""These steps go from profiles to what a report says of them: divergences, assessments, slices.

Every measure is a unit of work, named by the content that it is of, and kept: the same call again reads it,
and a run with one more window measures that window alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from auditor.attribution.what_moved import Moved, TagSource
from auditor.errors import AuditError
from auditor.estimators.crossfit import CrossFitted
from auditor.measures.answers import answer_codebook
from auditor.measures.assessment import FORMAT as ASSESSED
from auditor.measures.assessment import Assessment, Settings, read_assessment
from auditor.measures.divergences import FORMAT, Divergences, read_measured
from auditor.measures.families import DEPENDENCES, INPUTS, MODALITIES, Family, adjusted, by_modality
from auditor.measures.judgement import Judgement
from auditor.measures.window_means import FORMAT as WINDOW_FORMAT
from auditor.measures.window_means import EmbeddingMap, Scatter, WindowMeans, read_window
from auditor.pipeline.executor import HOUR, Stage, Worker
from auditor.pipeline.workers.measures import (
    AssessmentItem,
    AssessmentSettings,
    AssessmentWorker,
    DivergenceItem,
    DivergenceSettings,
    DivergenceWorker,
    Files,
    SlicesItem,
    SlicesSettings,
    SlicesWorker,
    WindowItem,
    WindowSettings,
    WindowWorker,
)
from auditor.pipeline.workplace import Workplace
from auditor.profiles.profile import GroupKey, Profile, folded, profile_mark
from auditor.scenarios import Scenario
from auditor.storage.npz import write_arrays
from auditor.storage.run_dir import digest
from auditor.storage.work_units import Item, Shard

FLOPS = 2e10
"""Operations a second of one thread, in products and decompositions of these sizes. It tells minutes from
moments, no more."""
DECOMPOSITIONS = 60
"""Decompositions of the null and of the jackknife."""
DEPENDENCE_SECONDS = 1.0
"""About how long a test of how pairs go together takes on one thread."""
ASSESSMENT_SECONDS, SLICES_SECONDS, WINDOW_SECONDS = 1.0, 0.5, 0.3

T = TypeVar("T", bound=Item)


@dataclass(frozen=True)
class Comparison:
    """The rows of a group are compared with reference rows."""

    key: GroupKey
    p: Files
    q: Files
    rows: int
    """Sampled rows of both sides together, at most."""
    dims: Mapping[str, int]
    """Modality -> dimension of its rows."""
    temperature: float | None = None
    """The temperature at which the model's answers were drawn; None where they were recorded."""


@dataclass(frozen=True)
class Measuring:
    """The measures of a job are made with these settings, critics and files."""

    judgement: Judgement
    settings: Settings
    critics: tuple[Files, ...]
    codebook: Path | None
    fitted: Path | None = None
    """What was fitted on the reference rows, where they are the same for all."""

    @property
    def identity(self) -> dict[str, Any]:
        """Return all that a measure depends on beside its rows and its seed."""
        return {
            "format": FORMAT,
            "assessed": ASSESSED,
            "level": self.settings.level,
            "bounds": self.settings.bounds.model_dump(),
            "conditional": self.settings.conditional,
            "no_critic": self.settings.no_critic,
            "critics": [CrossFitted.load(paths).digest for paths in self.critics],
            "codebook": self.codebook and self.codebook.stem,
            "fitted": self.fitted and self.fitted.stem,
        }


def codebook_file(workplace: Workplace, p: Sequence[Profile], symbols: int, seed: int) -> Path | None:
    """Return the file of the codebook of the reference rows' answers and correct answers. The whole job has
    one, so that cells mean the same everywhere; None where there are no answers of either kind."""
    codebook = answer_codebook([profile for profile in p if profile.n], symbols, seed)
    if codebook is None:
        return None
    return _kept(workplace, "codebook", digest(codebook.tobytes().hex()), {"codebook": codebook})


def _kept(workplace: Workplace, name: str, mark: str, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Return the file of arrays, named by `mark`, their content; it is written where there is none."""
    path = workplace.run.folder("measures", f"{name}s") / f"{name}-{mark}.npz"
    if not path.exists():
        write_arrays(path, arrays)
    return path


@dataclass(frozen=True)
class MeasuredDivergences:
    """These are the divergences of every comparison, before any adjustment."""

    by_group: Mapping[GroupKey, Divergences]
    files: Mapping[GroupKey, Files]
    """One a modality, in the order of MODALITIES."""

    def judged(self, family: Family) -> dict[GroupKey, Divergences]:
        """Return the divergences with their p-values adjusted over each family of tests."""
        return adjusted(self.by_group, family)


def divergences(
    workplace: Workplace, comparisons: Sequence[Comparison], measuring: Measuring
) -> MeasuredDivergences:
    """Measure the divergences of every comparison. Those of the inputs are measured once, whatever the number
    of models."""
    identity = json.dumps(
        {"format": FORMAT, "level": measuring.settings.level, "threads": workplace.shards.threads},
        sort_keys=True,
    )
    marks = _marks(comparisons)
    wanted: dict[tuple[str, str | None, str], tuple[Shard[DivergenceItem], float]] = {}
    of_group: dict[GroupKey, list[tuple[str, str | None, str]]] = {}
    for comparison in comparisons:
        for modality in measuring.judgement.tests:
            of_inputs = modality in INPUTS or modality == DEPENDENCES[0]
            key = (comparison.key.scenario, None if of_inputs else comparison.key.model, modality)
            of_group.setdefault(comparison.key, []).append(key)
            if key not in wanted:
                seed = measuring.judgement.seed(comparison.key.scenario, modality)
                name = digest(
                    json.dumps([identity, marks[comparison.p], marks[comparison.q], modality, seed])
                )
                item = DivergenceItem(name, comparison.p, comparison.q, modality, seed)
                wanted[key] = Shard(name, (item,)), _seconds(comparison, modality)
    folder = workplace.run.folder("measures", identity)
    settings = DivergenceSettings(
        folder, measuring.settings.level, workplace.shards.threads, measuring.fitted
    )
    results = _measured_files(
        workplace, "divergences", folder, DivergenceWorker, settings, list(wanted.values()), read_measured
    )
    files = {key: folder / f"{shard.name}.json" for key, (shard, _) in wanted.items()}
    measured = dict(zip(wanted, results, strict=True))
    return MeasuredDivergences(
        {group: by_modality({key[2]: measured[key] for key in keys}) for group, keys in of_group.items()},
        {
            group: tuple(files[key] for key in keys if key[2] in MODALITIES)
            for group, keys in of_group.items()
        },
    )


def assessments(
    workplace: Workplace,
    comparisons: Sequence[Comparison],
    references: Mapping[GroupKey, Files],
    divergences: MeasuredDivergences,
    measuring: Measuring,
) -> dict[GroupKey, Assessment]:
    """Assess every comparison, and every group of reference rows by itself."""
    identity = json.dumps(measuring.identity | {"threads": workplace.shards.threads}, sort_keys=True)
    seed, marks = measuring.judgement.seed, _marks(comparisons, references.values())
    items: dict[GroupKey, AssessmentItem] = {}
    for key, files in references.items():
        content = [identity, marks[files], seed(key.scenario, "emi")]
        items[key] = AssessmentItem(
            digest(json.dumps(content)), key.scenario, files, None, (), seed(key.scenario, "emi"), 0, None
        )
    for comparison in comparisons:
        seeds = seed(comparison.key.scenario, "emi"), seed(comparison.key.scenario, "joint")
        measured = divergences.files[comparison.key]
        content = [
            identity,
            marks[comparison.p],
            marks[comparison.q],
            [path.name for path in measured],
            seeds,
            comparison.temperature,
            comparison.key.scenario,
        ]
        items[comparison.key] = AssessmentItem(
            digest(json.dumps(content)),
            comparison.key.scenario,
            comparison.p,
            comparison.q,
            measured,
            *seeds,
            comparison.temperature,
        )
    folder = workplace.run.folder("measures", identity)
    settings = AssessmentSettings(
        folder,
        measuring.critics,
        measuring.codebook,
        measuring.settings,
        workplace.shards.threads,
        measuring.fitted,
    )
    shards = [(Shard(item.key, (item,)), ASSESSMENT_SECONDS) for item in items.values()]
    results = _measured_files(
        workplace, "measures", folder, AssessmentWorker, settings, shards, read_assessment
    )
    return dict(zip(items, results, strict=True))


def window_means(
    workplace: Workplace, windows: Mapping[str, Files], embedding_map: Path
) -> list[WindowMeans]:
    """Return the mean embeddings of each window (name -> the files of its rows), in their order, by the map
    in a file that is named by its content."""
    identity = json.dumps(
        {"windows": WINDOW_FORMAT, "map": embedding_map.stem, "threads": workplace.shards.threads},
        sort_keys=True,
    )
    folder = workplace.run.folder("measures", identity)
    marks = _file_marks(windows.values())
    items = [WindowItem(digest(json.dumps([identity, marks[files]])), files) for files in windows.values()]
    shards = {item.key: Shard(item.key, (item,)) for item in items}  # equal windows are done once
    settings = WindowSettings(folder, embedding_map, workplace.shards.threads)
    results = _measured_files(
        workplace,
        "windows",
        folder,
        WindowWorker,
        settings,
        [(shard, WINDOW_SECONDS) for shard in shards.values()],
        read_window,
        suffix=".npz",
    )
    found = dict(zip(shards, results, strict=True))
    return [found[item.key] for item in items]


def keep_map(workplace: Workplace, windows: Iterable[Files]) -> tuple[EmbeddingMap, Path]:
    """Return the map that windows give, and its file. One window at a time is read."""
    scatter = Scatter()
    with threadpool_limits(workplace.shards.threads):
        for files in windows:
            scatter.add(folded(files))
        found = scatter.embedding_map()
    arrays = found.to_arrays()
    mark = digest(json.dumps({name: digest(array.tobytes().hex()) for name, array in arrays.items()}))
    return EmbeddingMap.from_arrays(arrays), _kept(workplace, "map", mark, arrays)


def slice_rows(
    workplace: Workplace,
    moved: Sequence[Moved],
    comparisons: Sequence[Comparison],
    tags_p: TagSource | None,
    tags_q: Mapping[str, TagSource],
    measuring: Measuring,
) -> list[dict[str, Any]]:
    """Return the rows of the table of slices, for every divergence that is more than chance. `tags_q` is by
    scenario."""
    by_key = {comparison.key: comparison for comparison in comparisons}
    identity = json.dumps({"slices": FORMAT, "threads": workplace.shards.threads}, sort_keys=True)
    folder = workplace.run.folder("measures", identity)
    marks_of = _marks([by_key[shift.key] for shift in moved])
    shards: list[tuple[Shard[SlicesItem], float]] = []
    for key, model, modality in moved:
        comparison, seed = by_key[key], measuring.judgement.seed(key.scenario, modality)
        source = tags_q[key.scenario]
        tags = [_mark(tags_p), _mark(source)]
        content = [
            identity,
            marks_of[comparison.p],
            marks_of[comparison.q],
            key.scenario,
            model,
            modality,
            seed,
            tags,
        ]
        name = digest(json.dumps(content))
        item = SlicesItem(
            name, key.scenario, model, modality, comparison.p, comparison.q, tags_p, source, seed
        )
        shards.append((Shard(name, (item,)), SLICES_SECONDS))
    settings = SlicesSettings(folder, workplace.shards.threads)
    tables = _measured_files(
        workplace, "where the drift is", folder, SlicesWorker, settings, shards, _read_lines
    )
    return [line for lines in tables for line in lines]


R = TypeVar("R")


def _measured_files(
    workplace: Workplace,
    stage: str,
    folder: Path,
    worker: Callable[[Any], Worker[T]],
    settings: Any,
    shards: Sequence[tuple[Shard[T], float]],
    read: Callable[[Path], R],
    suffix: str = ".json",
) -> list[R]:
    """Return what the file of every shard says, in their order; missing files are made first. With each shard
    goes about how many seconds it takes."""
    todo = {
        shard.name: (shard, seconds)
        for shard, seconds in shards
        if not (folder / f"{shard.name}{suffix}").exists()
    }
    if todo:
        seconds = sum(seconds for _, seconds in todo.values())
        with workplace.executor.staff(Stage(stage, least_seconds=HOUR, work_seconds=seconds)) as staff:
            staff.run(worker, settings, [shard for shard, _ in todo.values()])
    return [read(folder / f"{shard.name}{suffix}") for shard, _ in shards]


def _marks(comparisons: Sequence[Comparison], references: Iterable[Files] = ()) -> dict[Files, list[str]]:
    """Return what stands for the rows in the files of each side: the names of the files, which depend on the
    rows that went in, and what they say of rows that failed, which a later run may do anew."""
    sides = [side for comparison in comparisons for side in (comparison.p, comparison.q)]
    return _file_marks([*sides, *references])


def _file_marks(groups: Iterable[Files]) -> dict[Files, list[str]]:
    return {files: [f"{path.name} {profile_mark(path)}" for path in files] for files in dict.fromkeys(groups)}


def _mark(source: TagSource | None) -> Any:
    """Return what stands for the tags of a source."""
    if source is None or not isinstance(source, Scenario):
        return source and source.tags
    stat = source.path.stat()  # a scenario's file is written once
    return [source.path.name, stat.st_size, stat.st_mtime_ns]


def _seconds(comparison: Comparison, modality: str) -> float:
    """Return about how many seconds a divergence takes on one thread."""
    if modality in DEPENDENCES:
        return DEPENDENCE_SECONDS
    dim = comparison.dims.get("x" if modality == "joint" else modality, 0)
    rank = min(comparison.rows, dim)
    return (DECOMPOSITIONS * 10.0 * rank**3 + 2.0 * comparison.rows**2 * dim) / FLOPS


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines: list[dict[str, Any]] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise AuditError(f"{path}: not readable ({error}); delete it and run again") from error
    return lines
