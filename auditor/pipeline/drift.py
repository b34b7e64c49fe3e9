"""`auditor drift`: windows of traffic against a baseline. What moved, by how much, and is it chance?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.attribution.slices import leading, moved, side, slices, table
from auditor.bounds.entropies import Known
from auditor.encoders.coverage import KNOWN
from auditor.encoders.precision import precision_notes
from auditor.errors import BadInput
from auditor.estimators.crossfit import FoldedClub
from auditor.measures import assessment as assessed
from auditor.measures import reducer
from auditor.measures.assessment import Against, Assessed, New, assess
from auditor.measures.query_coverage import queries, queries_chars_per_token
from auditor.measures.verdict import overall, window_verdict, with_shares
from auditor.pipeline.checks import check_encoders, check_same_encoders
from auditor.pipeline.choice import executor
from auditor.pipeline.critics import how_trained
from auditor.pipeline.embed import chosen
from auditor.pipeline.gather import gather_traffic
from auditor.pipeline.measure import Asked, divergences
from auditor.pipeline.progress import Progress, Stopwatch, each
from auditor.pipeline.stream import Encoders, content, stream
from auditor.pipeline.workers.streaming import StreamModel
from auditor.pipeline.workplace import workplace
from auditor.profiles.baseline import Baseline, load
from auditor.profiles.folding import Streamed, folded
from auditor.profiles.rows import joined_dim
from auditor.records import MediaPolicy, Quarantine, records_from_table
from auditor.report import provenance, write_reports
from auditor.report.examples import example
from auditor.report.provenance import Made
from auditor.report.store import Store
from auditor.scenarios import Scenario, media_policy
from auditor.scenarios.row_ranges import Part, Survey, first_rows, part_tags
from auditor.scenarios.windows import gaps
from auditor.storage.run_dir import RunDir
from schemas.config import DriftConfig, config_hash
from schemas.record import Record
from schemas.report import WHERE, Divergence, Example, Report, Row, Verdict

MODALITIES = ("image", "text", "response")
ENOUGH_WINDOWS = 10
"""Windows against one baseline are not independent tests: below this many windows' rows in the baseline, some
baselines alarm more often than the nominal rate."""


def drift(config: DriftConfig, out: Path, progress: Progress) -> Report:
    """Compare the traffic with the baseline, window by window, into `out` (report.html, report.json,
    audit.duckdb, and the run directory). The same call again resumes.

    Raises `BadInput` where there is nothing to compare, or the baseline or its encoders do not fit.
    """
    baseline = load(Path(config.baseline))
    run, watch = RunDir(out), Stopwatch(progress)
    shards, encoders = baseline.manifest.config.shards, baseline.manifest.config.encoders
    with run.lock():
        check_encoders(encoders)
        traffic = gather_traffic(config, run, shards.stream)
        scenario, found, parts, model = traffic.scenario, traffic.survey, traffic.parts, traffic.model
        quarantine = scenario.quarantine()
        with executor(config.workers, shards.threads, watch, rows=scenario.n) as taken:
            at = workplace(run, taken, shards, watch, media_policy(config.data))
            # A baseline without images has no use for theirs: its query vectors are of texts alone.
            pictures = encoders.image if found.images and "image" in baseline.manifest.encoders else None
            used = Encoders(
                chosen(at, encoders.text, "text"),
                chosen(at, pictures, "image") if pictures is not None else None,
            )
            check_same_encoders(baseline.folder, baseline.manifest.encoders, used.identities)
            critics, no_critic = _critics(baseline, used, found)
            files = stream(
                at,
                parts,
                used,
                critics,
                [StreamModel(model or "")],
                sample=config.row_sample,
                with_texts=found.texts,
                keep=config.embeddings == "keep",
            )
            measured = divergences(
                at, list(_asked(config, baseline, model, parts, files)), config.interval_level
            )
        codebook = reducer.answer_codebook([baseline.sketches], config.bounds.symbols, config.seed)
        judge = _Judge(
            config,
            baseline,
            scenario,
            model,
            no_critic,
            codebook,
            Against(
                baseline.sketches,
                reducer.answer_side(baseline.sketches, codebook),
                tuple(FoldedClub.load(paths) for paths in critics),
                config.interval_level,
            ),
        )
        rows, where = list[Row](), list[dict[str, Any]]()
        for part in each(watch, "measures", parts):  # no more than one window's sums are held
            kept = folded(files[part.window.name, model or ""])
            for aside in kept.aside:
                quarantine.add(aside)
            rows.append(judge.row(part, kept, {m: measured.get((part.window.name, m)) for m in MODALITIES}))
            where += judge.where(part, kept, rows[-1])
        if not any(row.n for row in rows):
            raise BadInput(f"{traffic.where}: nothing to compare; {quarantine.why_empty()}")
        if not (config.window or config.window_rows):  # the one window's are all that there are
            rows = [row.model_copy(update={"quarantined": len(quarantine)}) for row in rows]
        report = _report(config, judge, parts, rows, where, quarantine, used)
        examples = list(_examples(config, parts, model, at.media))
        Store(out).write_run(report, examples)
        write_reports(report, out, examples)
    return report


def _seed(config: DriftConfig, *of: str) -> int:
    """A seed of its own for each window and measure, whatever other windows there are."""
    text = json.dumps([config.seed, *of])
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")


def _asked(
    config: DriftConfig,
    baseline: Baseline,
    model: str | None,
    parts: Sequence[Part],
    files: Mapping[tuple[str, str], tuple[Path, ...]],
) -> Iterator[Asked[tuple[str, str]]]:
    """The divergences of every window, of the modalities that the baseline has."""
    p = baseline.sketches
    for part in parts:
        name = part.window.name
        rows = len(p.sample) + min(part.n, config.row_sample)
        for modality in MODALITIES:
            if p.sketches[modality].n:
                yield Asked(
                    (name, modality),
                    (baseline.folder / baseline.manifest.sketches,),
                    files[name, model or ""],
                    modality,
                    _seed(config, name, modality),
                    rows,
                    p.sketches[modality].dim,
                )


def _critics(
    baseline: Baseline, used: Encoders, found: Survey
) -> tuple[tuple[tuple[Path, ...], ...], str | None]:
    """The files of the baseline's critics, or none and the reason."""
    if not baseline.critics:
        return (), baseline.manifest.no_critic or "the baseline has no critic"
    # Traffic without any image (or text) has narrower query vectors where the encoders differ in size.
    of = baseline.sketches.sketches
    width = joined_dim(of["image"].dim if used.image else 0, of["text"].dim if found.texts else 0)
    if width != of["x"].dim:
        return (), "the traffic lacks a modality that the baseline's critic takes"
    return baseline.critics, None


@dataclass(frozen=True)
class _Judge:
    """Measures one window after the other; none depends on the others."""

    config: DriftConfig
    baseline: Baseline
    traffic: Scenario
    model: str | None
    no_critic: str | None
    codebook: NDArray[np.float32] | None
    """Of the baseline's answers and references."""
    against: Against

    def row(self, part: Part, kept: Streamed, measured: Mapping[str, reducer.Measured | None]) -> Row:
        window, rows = part.window, kept.sketches
        start, end = window.start, window.end
        if start is None and part.times is not None:
            start, end = part.times
        about: dict[str, Any] = {
            "scenario": window.name,
            "model": self.model,
            "family": "window",
            "quarantined": len(kept.aside),
            "start": start.isoformat() if start else None,
            "end": end.isoformat() if end else None,
        }
        if rows is None:
            verdict = Verdict(status="undecided", because="no usable row")
            every = ("emi", "emid", "mi_model", "label_free", *(f"divergences.{m}" for m in MODALITIES))
            return Row(**about, n=0, verdict=verdict, missing=dict.fromkeys(every, "no usable row"))
        given, divergences = self.config.bounds, self._divergences(measured)
        new = New(
            rows,
            reducer.answer_side(rows, self.codebook),
            divergences,
            reducer.input_divergence(self.against.p, rows, seed=self.seed(window.name, "joint")),
            Known(given_reference=given.entropy_reference, given_model=given.entropy_model),
        )
        it = assess(self.against, new, seed=self.seed(window.name, "emi"))
        verdict = window_verdict(it.n, divergences.found, self.config.thresholds)
        shares = reducer.shares(self.against.p, rows)
        about |= {
            "verdict": with_shares(verdict, shares, self.config.thresholds),
            "missing": self._missing(it),
            "notes": self._notes(part, it.n, divergences.found),
        }
        return assessed.row(it, kept.facts, about)

    def _missing(self, it: Assessed) -> dict[str, str]:
        missing = it.divergences.missing | dict(it.lacking)
        if it.answers.delta_q is None:
            missing["delta"] = "no row has a response and a reference"
        if it.silent is not None:
            missing["label_free"] = it.silent
        if it.relevance is None:
            missing["emi"] = missing["emid"] = missing["mi_reference"] = (
                self.no_critic or "no row of both sides has a query, an answer and a reference"
            )
        elif it.relevance.emid_interval is None:
            missing["intervals.emi"] = missing["intervals.emid"] = "too few hash blocks with rows"
        if it.information is None:
            missing["mi_model"] = self.no_critic or "no row has a query and a response"
        missing["accuracy"] = "the truth is not known"
        return missing

    def seed(self, *of: str) -> int:
        return _seed(self.config, *of)

    def _divergences(self, measured: Mapping[str, reducer.Measured | None]) -> reducer.Divergences:
        """P-values are adjusted over the modalities tested."""
        of = reducer.Divergences()
        for modality, one in measured.items():
            if one is None:
                of.missing[f"divergences.{modality}"] = (
                    f"no row of the baseline has {reducer.article(modality)}"
                )
                continue
            value, reason, of.left[modality] = one
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

    def _notes(self, part: Part, n: int, divergences: dict[str, Divergence]) -> list[str]:
        manifest = self.baseline.manifest
        notes = _short_baseline(manifest.n, n)
        if any(d.paired for d in divergences.values()):
            notes.append("rows share base ids with the baseline: they are compared within pairs")
        if manifest.chars_per_token:
            found = queries_chars_per_token(manifest.config.encoders.text, queries(_first(part)))
            ratio = None if found is None else found / manifest.chars_per_token
            if ratio is not None and ratio < KNOWN:
                notes.append(
                    f"text encoder {manifest.config.encoders.text.name} does not know these queries: "
                    f"{ratio:.2f} of the baseline's characters per token (below {KNOWN})"
                )
        return notes

    def where(self, part: Part, kept: Streamed, row: Row) -> list[dict[str, Any]]:
        """Slices of what moved in a window. A baseline keeps no tags: those of the traffic's rows alone."""
        modalities = moved(row.divergences, self.config.thresholds.p_value)
        if not modalities or kept.sketches is None:
            return []
        name, p, q = part.window.name, self.baseline.sketches.sample, kept.sketches.sample
        tags = part_tags(part, set(q.ids.tolist()))
        lines: list[dict[str, Any]] = []
        for modality in modalities:
            of = slices(side(p, modality, None), side(q, modality, tags), seed=self.seed(name, modality))
            lines += table(name, self.model if modality == "response" else None, modality, leading(of))
        return lines


def _first(part: Part) -> Iterator[Record]:
    """The records of a window, from its first one on."""
    for rows in first_rows(part):
        yield from records_from_table(rows)


def _short_baseline(n: int, window: int) -> list[str]:
    """A note where the baseline holds too few windows for p-values that hold for it alone."""
    if n >= ENOUGH_WINDOWS * window:
        return []
    return [
        f"the baseline has {n} rows, fewer than {ENOUGH_WINDOWS} times the window's {window}: p-values are "
        "right on average over baselines, less so for this one (changes no verdict)"
    ]


def _report(
    config: DriftConfig,
    judge: _Judge,
    parts: Sequence[Part],
    rows: list[Row],
    where: list[dict[str, Any]],
    quarantine: Quarantine,
    used: Encoders,
) -> Report:
    manifest, model = judge.baseline.manifest, judge.model
    made = Made(
        config_hash(config),
        f"{manifest.identity}{content(parts)}",
        used.identities,
        {model: "recorded responses"} if model is not None else {},
        f"CLUB, {how_trained(manifest.config.critic)}, on {manifest.pairs:,} pairs of the baseline"
        if manifest.critics
        else None,
        {"baseline_config": manifest.config.model_dump(mode="json")},
    )
    notes = _short_baseline(manifest.n, max(row.n for row in rows))
    notes += precision_notes(manifest.config.encoders, used.identities)
    if len(rows) > 1:
        p = config.thresholds.p_value
        notes.append(
            f"{len(rows)} windows are tested at {p:g} each: about {len(rows) * p:.2g} would fail by chance"
        )
    if empty := gaps([part.window for part in parts]):
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
    if naive := judge.traffic.naive_timestamps:
        notes.append(f"{naive} timestamps had no zone and were taken as UTC")
    return Report(
        run=provenance.run(config, "baseline", made),
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
    config: DriftConfig,
    parts: Sequence[Part],
    model: str | None,
    policy: MediaPolicy,
) -> Iterator[Example]:
    """The first records of each window."""
    for part in parts if config.report.examples else ():
        for record in islice(_first(part), config.report.examples):
            given = record.responses.get(model or "", ())
            first = {model: given[0]} if model is not None and given else {}
            yield example(part.window.name, record, first, policy)
