"""`auditor drift`: windows of traffic against a baseline. What moved, by how much, and is it chance?

python -m jobs.drift --baseline DIR --traffic GLOB --out DIR
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.cluster import connect
from auditor import reducer
from auditor.baseline import Baseline, load
from auditor.encoders.coverage import KNOWN
from auditor.entropies import Known
from auditor.errors import BadInput
from auditor.estimators import CLUB
from auditor.label_free import label_free
from auditor.provenance import versions
from auditor.records import MediaPolicy, Quarantine, read_many, thumbnail
from auditor.records.sources import fingerprint
from auditor.report import write_reports
from auditor.rows import RowKeys, answers, descriptors, embedded, means, row_keys, usable
from auditor.rundir import RunDir
from auditor.scenarios import Scenario, Source, gather, media_policy
from auditor.sketching import SketchSet
from auditor.slices import leading, moved, side, slices, table
from auditor.store import Store
from auditor.verdict import overall, window_verdict, with_shares
from auditor.windows import Splitter, Window, by_rows, by_time, gaps, one_window, timed, window_length
from jobs.baseline import (
    COVERAGE_TEXTS,
    all_texts,
    embed_images,
    queries_chars_per_token,
    responding,
    why,
)
from jobs.pipeline import Embedded, Plans, embed, how_trained, plans_digest, sketch, workplace
from jobs.progress import Bars
from jobs.settings import config_hash
from schemas.config import DataConfig, DriftConfig
from schemas.record import Record
from schemas.report import WHERE, Divergence, Example, Intervals, Report, Row, Run, Verdict

MODALITIES = ("image", "text", "response")
TRAFFIC = "traffic"
ENOUGH_WINDOWS = 10
"""Windows against one baseline are not independent tests: below this many windows' rows in the baseline, some
baselines alarm more often than the nominal rate."""


@dataclass
class Told:
    """What the rows of one window say without any embedding."""

    window: Window
    keys: list[RowKeys] = field(default_factory=list)
    facts: dict[str, int] = field(default_factory=dict)
    aside: int = 0
    """Rows (and single answers) of it that were set aside."""
    first: list[Record] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    times: tuple[datetime, datetime] | None = None
    """The earliest and the latest timestamp."""


def drift(config: DriftConfig, out: Path, bars: Bars) -> Report:
    """Compare the traffic with the baseline, window by window, into `out` (report.html, report.json,
    audit.duckdb, and the run directory). The same call again resumes.

    Raises `BadInput` where there is nothing to compare, or the baseline or its encoders do not fit.
    """
    baseline = load(Path(config.baseline))
    length = window_length(config.window) if config.window else None
    run = RunDir(out)
    data = DataConfig(id=config.traffic, media_root=config.media_root)
    shards, encoders = baseline.manifest.config.shards, baseline.manifest.config.encoders
    with run.lock(), bars.shown():
        source = Source(
            TRAFFIC,
            "window",
            f"{'timed ' if length else ''}file {fingerprint(config.traffic)}",
            lambda: timed(read_many(config.traffic)) if length else read_many(config.traffic),
        )
        scenario = gather(source, run, data)
        if scenario.n == 0:
            raise BadInput(f"{config.traffic}: nothing to compare; {why(scenario.quarantine())}")
        model = responding(config.traffic, [scenario], config.model)
        if length:
            split = by_time(length)
        elif config.window_rows:
            split = by_rows(config.window_rows, scenario.n)
        else:
            split = one_window()
        with connect(config.workers, threads=shards.threads) as cluster:
            at = workplace(run, cluster, shards, bars, media_policy(data))
            # A baseline without images has no use for theirs: its query vectors are of texts alone.
            known = "image" in baseline.manifest.encoders
            images = embed_images(at, encoders.image if known else None, scenario)
            texts = embed(at, encoders.text, "text", all_texts(scenario, model))
            _same_encoders(baseline, images, texts)
            told, quarantine = _told(config, scenario, split, model, images, texts)
            plans: Plans = {(t.window.name, model or ""): t.keys for t in told if t.keys}
            if not plans:
                raise BadInput(f"{config.traffic}: nothing to compare; {why(quarantine)}")
            critics, no_critic = _critics(baseline, next(iter(plans.values())), images, texts)
            sets = sketch(at, plans, images, texts, critics, config.row_sample)
        codebook = reducer.answer_codebook([baseline.sketches], config.bounds.symbols, config.seed)
        judge = _Judge(
            config,
            baseline,
            model,
            no_critic,
            tuple(CLUB.load(paths[0]) for paths in critics),
            codebook,
            reducer.answer_side(baseline.sketches, codebook),
        )
        began, rows = time.monotonic(), list[Row]()
        for t in told:
            bars.step("measures", len(rows), len(told), time.monotonic() - began)
            rows.append(judge.row(t, sets.get((t.window.name, model or ""))))
        bars.step("measures", len(rows), len(told), time.monotonic() - began)
        where = _where(judge, rows, {name: of for (name, _), of in sets.items()}, scenario, bars)
        report = _report(config, judge, told, rows, where, quarantine, scenario, plans, images, texts)
        examples = list(_examples(config, told, model, at.media))
        Store(out).write_run(report, examples)
        write_reports(report, out, examples)
    return report


def _same_encoders(baseline: Baseline, images: Embedded | None, texts: Embedded) -> None:
    made = {"text": texts.identity} | ({"image": images.identity} if images else {})
    for modality, identity in made.items():
        if baseline.manifest.encoders[modality] != identity:
            raise BadInput(
                f"{baseline.folder}: was made with another {modality} encoder "
                f"({baseline.manifest.encoders[modality]}, here it is {identity}); "
                "build the baseline again, or use the versions and weights that made it"
            )


def _told(
    config: DriftConfig,
    scenario: Scenario,
    split: Splitter,
    model: str | None,
    images: Embedded | None,
    texts: Embedded,
) -> tuple[list[Told], Quarantine]:
    """What is known of each window, in the order of time or of the rows; and all that was set aside."""
    found: dict[Window, Told] = {}
    quarantine = scenario.quarantine()
    image_store, text_store = images.open() if images else None, texts.open()
    for batch in scenario.batches():
        parts: dict[Window, list[Record]] = {}
        for record in batch:
            parts.setdefault(split(record), []).append(record)
        for window, part in parts.items():
            told = found.setdefault(window, Told(window))
            given = answers(part, model or "", None)
            kept, aside = usable(row_keys(part, given), image_store, text_store, window.name, model or "")
            for row in aside:
                quarantine.add(row)
            told.keys += kept
            told.aside += len(aside)
            for name, value in descriptors(part, given).items():
                told.facts[name] = told.facts.get(name, 0) + value
            told.first += part[: config.report.examples - len(told.first)]
            told.queries += [r.query for r in part if r.query][: COVERAGE_TEXTS - len(told.queries)]
            stamps = [r.timestamp for r in part if r.timestamp is not None]
            if stamps:
                stamps += told.times or ()
                told.times = min(stamps), max(stamps)
    if config.window is None and config.window_rows is None:
        for told in found.values():
            told.aside = len(quarantine)
    if config.window is not None:
        return sorted(found.values(), key=lambda t: t.window.name), quarantine
    return list(found.values()), quarantine


def _critics(
    baseline: Baseline, rows: Sequence[RowKeys], images: Embedded | None, texts: Embedded
) -> tuple[tuple[tuple[Path, ...], ...], str | None]:
    """The files of the baseline's critics, or none and the reason."""
    if not baseline.critics:
        return (), baseline.manifest.no_critic or "the baseline has no critic"
    # Traffic without any image (or text) has narrower query vectors where the encoders differ in size.
    width = embedded(rows[:1], images.open() if images else None, texts.open()).x.shape[1]
    if width != baseline.sketches.sketches["x"].dim:
        return (), "the traffic lacks a modality that the baseline's critic takes"
    return baseline.critics, None


@dataclass(frozen=True)
class _Judge:
    """Measures one window after the other; none depends on the others."""

    config: DriftConfig
    baseline: Baseline
    model: str | None
    no_critic: str | None
    critics: tuple[CLUB, ...]
    codebook: NDArray[np.float32] | None
    """Of the baseline's answers and references."""
    answers: reducer.AnswerSide
    """Of the baseline."""

    def row(self, told: Told, rows: SketchSet | None) -> Row:
        start, end = told.window.start, told.window.end
        if start is None and told.times is not None:
            start, end = told.times
        about = {
            "scenario": told.window.name,
            "model": self.model,
            "family": "window",
            "quarantined": told.aside,
            "start": start.isoformat() if start else None,
            "end": end.isoformat() if end else None,
        }
        if rows is None:
            verdict = Verdict(status="undecided", because="no usable row")
            every = ("emi", "emid", "mi_model", "label_free", *(f"divergences.{m}" for m in MODALITIES))
            return Row(**about, n=0, verdict=verdict, missing=dict.fromkeys(every, "no usable row"))
        divergences = self._divergences(told.window.name, rows)
        missing = divergences.missing
        p, seed, level = (
            self.baseline.sketches,
            self.seed(told.window.name, "emi"),
            self.config.interval_level,
        )
        given = self.config.bounds
        known = Known(given_reference=given.entropy_reference, given_model=given.entropy_model)
        answered = reducer.answer_terms(self.answers, reducer.answer_side(rows, self.codebook), known)
        d_x = reducer.input_divergence(p, rows, seed=self.seed(told.window.name, "joint"))
        groups = reducer.grouped(p, rows, divergences, level)
        bounds, lacking = reducer.bounds(divergences.found, d_x, answered, groups)
        missing |= lacking
        delta = answered.delta_q
        if delta is None:
            missing["delta"] = "no row has a response and a reference"
        free, silent = label_free(
            p,
            rows,
            () if self.no_critic else self.critics,
            bound=reducer.ceiling(bounds, answered),
            seed=seed,
            level=level,
        )
        if silent is not None:
            missing["label_free"] = silent
        relevance = reducer.relevance(p, rows, seed=seed, level=level) if self.no_critic is None else None
        information = reducer.model_information(rows)
        if relevance is None:
            missing["emi"] = missing["emid"] = missing["mi_reference"] = (
                self.no_critic or "no row of both sides has a query, an answer and a reference"
            )
        elif relevance.emid_interval is None:
            missing["intervals.emi"] = missing["intervals.emid"] = "too few hash blocks with rows"
        if information is None:
            missing["mi_model"] = self.no_critic or "no row has a query and a response"
        missing["accuracy"] = "the truth is not known"
        n = rows.sample.seen
        return Row(
            **about,
            n=n,
            n_labelled=rows.sketches["reference"].n,
            n_emi=relevance.n if relevance else None,
            mi_model=information,
            mi_reference=relevance.mi_reference if relevance else None,
            emi=relevance.emi if relevance else None,
            emi_spread=relevance.emi_spread if relevance else None,
            emid=relevance.emid if relevance else None,
            emid_spread=relevance.emid_spread if relevance else None,
            intervals=Intervals(
                emi=relevance.emi_interval if relevance else None,
                emid=relevance.emid_interval if relevance else None,
            ),
            bounds=bounds,
            divergences=divergences.found,
            delta=delta,
            label_free=free,
            descriptors=means(told.facts) | rows.norms.descriptors(),
            verdict=with_shares(
                window_verdict(n, divergences.found, self.config.thresholds),
                reducer.shares(p, rows),
                self.config.thresholds,
            ),
            missing=missing,
            notes=self._notes(told, n, divergences.found),
        )

    def seed(self, *of: str) -> int:
        """A seed of its own for each window and measure, whatever other windows there are."""
        text = json.dumps([self.config.seed, *of])
        return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")

    def _divergences(self, window: str, rows: SketchSet) -> reducer.Divergences:
        """P-values are adjusted over the modalities tested."""
        of = reducer.Divergences()
        for modality in MODALITIES:
            if self.baseline.sketches.sketches[modality].n == 0:
                of.missing[f"divergences.{modality}"] = (
                    f"no row of the baseline has {reducer.article(modality)}"
                )
                continue
            value, reason, of.left[modality] = reducer.divergence(
                self.baseline.sketches,
                rows,
                modality,
                seed=self.seed(window, modality),
                level=self.config.interval_level,
            )
            if value is None:
                of.missing[f"divergences.{modality}"] = f"{reason} in this window"
                continue
            of.found[modality] = value
            if reason is not None:
                of.missing[f"divergences.{modality}.corrected"] = reason
            if value.p_value is None:
                of.missing[f"divergences.{modality}.p_value"] = reason or "could not be tested"
        adjusted = reducer.adjust(list(of.found.values()))
        found = {m: d for m, d in zip(of.found, adjusted, strict=True) if d is not None}
        return replace(of, found=found)

    def _notes(self, told: Told, n: int, divergences: dict[str, Divergence]) -> list[str]:
        manifest = self.baseline.manifest
        notes = _short_baseline(manifest.n, n)
        if any(d.paired for d in divergences.values()):
            notes.append("rows share base ids with the baseline: they are compared within pairs")
        if manifest.chars_per_token and told.queries:
            found = queries_chars_per_token(manifest.config.encoders.text, told.queries)
            ratio = None if found is None else found / manifest.chars_per_token
            if ratio is not None and ratio < KNOWN:
                notes.append(
                    f"text encoder {manifest.config.encoders.text.name} does not know these queries: "
                    f"{ratio:.2f} of the baseline's characters per token (below {KNOWN})"
                )
        return notes


def _short_baseline(n: int, window: int) -> list[str]:
    """A note where the baseline holds too few windows for p-values that hold for it alone."""
    if n >= ENOUGH_WINDOWS * window:
        return []
    return [
        f"the baseline has {n} rows, fewer than {ENOUGH_WINDOWS} times the window's {window}: p-values are "
        "right on average over baselines, less so for this one (changes no verdict)"
    ]


def _where(
    judge: _Judge, rows: Sequence[Row], sets: dict[str, SketchSet], traffic: Scenario, bars: Bars
) -> list[dict[str, Any]]:
    """Slices of what moved in each window. A baseline keeps no tags: those of the traffic's rows alone."""
    began, p = time.monotonic(), judge.baseline.sketches.sample
    todo = {
        row.scenario: found
        for row in rows
        if (found := moved(row.divergences, judge.config.thresholds.p_value))
    }
    tags = traffic.tags({i for name in todo for i in sets[name].sample.ids.tolist()}) if todo else {}
    lines: list[dict[str, Any]] = []
    for done, (name, modalities) in enumerate(todo.items(), start=1):
        for modality in modalities:
            q = side(sets[name].sample, modality, tags)
            of = slices(side(p, modality, None), q, seed=judge.seed(name, modality))
            lines += table(name, judge.model if modality == "response" else None, modality, leading(of))
        bars.step("where the drift is", done, len(todo), time.monotonic() - began)
    return lines


def _report(
    config: DriftConfig,
    judge: _Judge,
    told: Sequence[Told],
    rows: list[Row],
    where: list[dict[str, Any]],
    quarantine: Quarantine,
    scenario: Scenario,
    plans: Plans,
    images: Embedded | None,
    texts: Embedded,
) -> Report:
    manifest, model = judge.baseline.manifest, judge.model
    stamp = f"{config_hash(config)}{manifest.identity}{plans_digest(plans)}"
    notes = _short_baseline(manifest.n, max(row.n for row in rows))
    if len(rows) > 1:
        p = config.thresholds.p_value
        notes.append(
            f"{len(rows)} windows are tested at {p:g} each: about {len(rows) * p:.2g} would fail by chance"
        )
    if empty := gaps([t.window for t in told]):
        notes.append(f"{empty} windows between the first and the last have no row")
    if None not in (model, manifest.model) and model != manifest.model:
        notes.append(
            f"the responses are of {model}, the baseline's of {manifest.model}: "
            "the response divergence compares two models"
        )
    if any(row.emid is not None for row in rows) and not manifest.config.critic.cross_fit:
        notes.append(
            "the critic was trained on the baseline's own rows: quiet windows may have an EMID above 0, too, "
            "and the ranges of reweighted label-free estimates are too narrow"
        )
    if scenario.naive_timestamps:
        notes.append(f"{scenario.naive_timestamps} timestamps had no zone and were taken as UTC")
    return Report(
        run=Run(
            run_id=blake2b(stamp.encode(), digest_size=6).hexdigest(),
            job="drift",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            seed=config.seed,
            config_hash=config_hash(config),
            interval_level=config.interval_level,
            config=config.model_dump(mode="json")
            | {"baseline_config": manifest.config.model_dump(mode="json")},
            versions=versions(),
            encoders={"text": texts.identity} | ({"image": images.identity} if images else {}),
            models={model: "recorded responses"} if model is not None else {},
            critic=(
                f"CLUB, {how_trained(manifest.config.critic)}, on {manifest.pairs:,} pairs of the baseline"
                if manifest.critics
                else None
            ),
            id_scenario="baseline",
            thresholds={k: v for k, v in config.thresholds.model_dump().items() if v is not None},
        ),
        windows=rows,
        tables={
            **({WHERE: where} if where else {}),
            "baseline": [{"rows": manifest.n, "model": manifest.model, **manifest.descriptors}],
        },
        quarantine=quarantine.counts(),
        verdict=overall({row.scenario: row.verdict for row in rows}),
        notes=notes,
    )


def _examples(
    config: DriftConfig, told: Sequence[Told], model: str | None, policy: MediaPolicy
) -> Iterator[Example]:
    """The first records of each window."""
    for window in told:
        for record in window.first[: config.report.examples]:
            given = record.responses.get(model or "", ())
            yield Example(
                scenario=window.window.name,
                record_id=record.record_id,
                query=record.input_text(),
                reference=record.reference,
                responses={model: given[0]} if model is not None and given else {},
                thumbnail=thumbnail(record, policy),
            )


if __name__ == "__main__":
    from jobs.cli import run_job

    run_job("drift")
