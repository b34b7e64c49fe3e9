"""This is the command line `auditor`.

Exit codes: 2 bad input or usage (nothing could be audited), 3 failed or stopped before the end, 1 a threshold
crossed, 4 undecided (too few rows to say), 0 pass or warn.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console

from auditor import __version__
from auditor.errors import AuditError, BadInput, ClusterLost
from jobs.run.log import LogFormat, redacted
from jobs.run.settings import check, load_config
from schemas.config import AuditConfig, BaselineConfig, DriftConfig, JobConfig
from schemas.report import Report

if TYPE_CHECKING:
    from auditor.pipeline.bars import Bars

T = TypeVar("T")

app = typer.Typer(
    help="Audit distribution shift for multimodal LLMs: EMI, EMID, bounds, label-free risk.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="Exit codes: 0 pass or warn, 1 threshold crossed, 4 undecided, 2 bad input, 3 failed or stopped.",
)
baseline_app = typer.Typer(
    help="Baselines: everything learned from in-distribution records, kept once.", no_args_is_help=True
)
app.add_typer(baseline_app, name="baseline")

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file; every key can be set with --set.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE, dotted keys, YAML values, e.g. critic.seeds=5. Repeatable."),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for report.html, report.json, audit.duckdb.")]
Json = Annotated[bool, typer.Option("--json", help="Print report.json instead of the summary.")]
MediaRoot = Annotated[str | None, typer.Option(help="Folder that image paths must stay under.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
LogOption = Annotated[
    LogFormat,
    typer.Option("--log-format", help="Standard error: text, or JSON a line (as in run/log.jsonl)."),
]
MetricsOption = Annotated[
    Path | None,
    typer.Option(
        "--metrics", help="Prometheus text file (default: OUT/metrics.prom), e.g. for node_exporter."
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"shift-auditor {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command()
def audit(
    config: Config = None,
    set_: Set = None,
    out: Out = Path("out"),
    json: Json = False,
    dry_run: DryRun = False,
    log_format: LogOption = LogFormat.TEXT,
    metrics: MetricsOption = None,
) -> None:
    """Audit models over scenarios: EMI, EMID, bounds and divergences of each. The same command resumes.

    Example: auditor audit --config examples/lab.yaml --out out
    """
    if config is None and not set_:
        raise BadInput("no --config; try: auditor audit --config examples/lab.yaml --out out")
    settings = _settings(AuditConfig, config, set_)
    if dry_run:
        _show_plan(settings, config)
        return

    def job(bars: Bars) -> Report:
        check(settings, config)
        from auditor.pipeline.audit import audit

        return audit(settings, out, bars)

    _finish(_run_observed("audit", out, log_format, metrics, job), out, json)


@baseline_app.command("build")
def baseline_build(
    records: Annotated[str | None, typer.Option(help="File or glob of the in-distribution records.")] = None,
    out: Out = Path("baseline"),
    image_encoder: Annotated[
        str | None, typer.Option(help="Image encoder by name; none: images are left out.")
    ] = None,
    text_encoder: Annotated[str | None, typer.Option(help="Text encoder by name.")] = None,
    media_root: MediaRoot = None,
    model: Annotated[str | None, typer.Option(help="Whose responses (default: the only one's).")] = None,
    window: Annotated[
        str | None,
        typer.Option(
            help="Length of a window: 1d, 6h. Days begin at midnight, weeks on Mondays, in UTC "
            "(--set timezone=Europe/Berlin, --set window_offset=6h). With ten or more, drift knows how "
            "windows vary."
        ),
    ] = None,
    window_rows: Annotated[int | None, typer.Option(help="Rows of a window.")] = None,
    config: Config = None,
    set_: Set = None,
    dry_run: DryRun = False,
    log_format: LogOption = LogFormat.TEXT,
    metrics: MetricsOption = None,
) -> None:
    """Learn a baseline from in-distribution records: sketches, row sample, critic, encoders' identities.

    Example: auditor baseline build --records id.jsonl --media-root images --text-encoder minilm
    --image-encoder efficientnet-lite0 --out baseline
    """
    settings = _settings(
        BaselineConfig,
        config,
        set_,
        {
            "data.id": records,
            "data.media_root": media_root,
            "encoders.text": text_encoder,
            "encoders.image": image_encoder,
            "model": model,
            "window": window,
            "window_rows": window_rows,
        },
    )
    if dry_run:
        _show_plan(settings, config)
        return

    def job(bars: Bars) -> object:
        check(settings, config)
        from auditor.pipeline.baseline import build

        return build(settings, out, bars)

    _run_observed("baseline", out, log_format, metrics, job)
    print(f"baseline: {out}")


@app.command()
def drift(
    baseline: Annotated[str | None, typer.Option(help="Folder made by `auditor baseline build`.")] = None,
    traffic: Annotated[str | None, typer.Option(help="File or glob of the records to compare.")] = None,
    out: Out = Path("out-drift"),
    window: Annotated[
        str | None,
        typer.Option(
            help="Length of a window: 1d, 6h, 30m. Days begin at midnight, weeks on Mondays, in UTC "
            "(--set timezone=Europe/Berlin, --set window_offset=6h). Default: one window."
        ),
    ] = None,
    window_rows: Annotated[int | None, typer.Option(help="Rows of a window.")] = None,
    media_root: MediaRoot = None,
    model: Annotated[str | None, typer.Option(help="Whose responses (default: the only one's).")] = None,
    config: Config = None,
    set_: Set = None,
    json: Json = False,
    dry_run: DryRun = False,
    log_format: LogOption = LogFormat.TEXT,
    metrics: MetricsOption = None,
) -> None:
    """Compare traffic with a baseline, window by window: what moved, by how much, and is it chance?

    Example: auditor drift --baseline baseline --traffic 'traffic/*.jsonl' --window 1d --out out-drift
    """
    settings = _settings(
        DriftConfig,
        config,
        set_,
        {
            "baseline": baseline,
            "data.traffic": traffic,
            "data.media_root": media_root,
            "window": window,
            "window_rows": window_rows,
            "model": model,
        },
    )
    if dry_run:
        _show_plan(settings, config)
        return

    def job(bars: Bars) -> Report:
        check(settings, config)
        from auditor.pipeline.drift import drift

        return drift(settings, out, bars)

    _finish(_run_observed("drift", out, log_format, metrics, job), out, json)


C = TypeVar("C", bound=JobConfig)


def _settings(
    job: type[C],
    config: Path | None,
    set_: list[str] | None,
    options: Mapping[str, Any] | None = None,
    *,
    names: bool = False,
) -> C:
    """Read the config of a job; of `options` (dotted keys) those that were given. An encoder `none` is no
    encoder."""
    values = {key: value for key, value in (options or {}).items() if value is not None}
    for key in values.keys() & {"encoders.image", "encoders.text"}:
        values[key] = None if values[key] == "none" else {"name": values[key]}
    return load_config(job, config, set_ or (), values, names=names)


@app.command()
def report(
    out: Out = Path("out"),
    run: Annotated[str | None, typer.Option(help="Run id (default: the latest).")] = None,
    json: Json = False,
) -> None:
    """Make report.html and report.json again from the store in --out."""
    from auditor.report import write_reports
    from auditor.report.store import Store

    def again() -> Report:
        store = Store(out)
        chosen = store.load_report(run)
        return write_reports(chosen, out, store.load_examples(chosen.run.run_id))

    _finish(_run_in(out, again), out, json)


@app.command()
def clean(
    out: Annotated[Path, typer.Argument(help="Folder of finished jobs (their --out).")],
    latest: Annotated[
        bool, typer.Option("--latest", help="Keep what the latest result needs alone.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Delete what no result in a folder was made of: shards of earlier settings, weights or records.

    Reports, the store and baselines stay. What goes is made again where a command needs it.

    Example: auditor clean out --dry-run
    """
    from auditor.pipeline.clean import clean as job

    cleaned = _run_in(out, lambda: job(out, latest=latest, dry_run=dry_run))
    word = "would be deleted" if dry_run else "deleted"
    folders = "1 folder" if len(cleaned.folders) == 1 else f"{len(cleaned.folders):,} folders"
    print(f"{out}: {folders} of shards {word}, {cleaned.bytes / 1e6:,.1f} MB")


@app.command()
def compare(
    out: Annotated[Path, typer.Argument(help="Folder of a finished audit of two or more models.")],
    new: Annotated[str, typer.Option(help="Name of the new model.")],
    margin: Annotated[float, typer.Option(help="EMI (nats) that one is ready to lose, set before looking.")],
    current: Annotated[
        str | None, typer.Option(help="Name of the model in use (default: the audit's comparison.current).")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option(help="One scenario (default: the mean over all, in-distribution too).")
    ] = None,
    level: Annotated[float, typer.Option(help="One-sided confidence of the verdict.")] = 0.95,
) -> None:
    """Is the new model no worse than the current one by more than a margin? From a finished audit's report.

    Pass (0): it is not worse by the margin, with that confidence. Fail (1): it is worse by more. Undecided
    (4): the records do not tell. Nothing is computed anew but the verdict.

    Example: auditor compare out --new lab-weak --current lab-strong --margin 0.05
    """
    from auditor.measures.verdict import EXIT_CODES
    from auditor.pipeline.compare import compare as job

    verdict = job(out, new, current, margin=margin, scenario=scenario, level=level)
    print(f"{verdict.status}: {verdict.because}")
    raise typer.Exit(EXIT_CODES[verdict.status])


@app.command()
def doctor(
    config: Config = None,
    set_: Set = None,
    out: Out = Path("out"),
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Does this machine (and the cluster) have what an audit needs? With --config: what that config needs.

    Versions, processors, weights, model hub, disk, store, Ray's token, cluster, shared storage; each finding
    with its way out. Exits 0 where nothing fails, 2 where something does. Changes nothing.

    Example: auditor doctor --config my.yaml --out /shared/out
    """
    from dataclasses import asdict
    from json import dumps

    if config is None and set_:
        raise BadInput("doctor: --set changes a config; give one with --config")
    if config is not None:
        from jobs.run.settings import job_of

        _settings(job_of(config), config, set_, names=True)  # what is wrong with it is said at once
    from jobs.doctor import examine, exit_code, table

    checks = examine(config, set_ or (), out)
    if json:
        print(dumps([asdict(check) for check in checks], indent=2))
    else:
        Console().print(table(checks))
    raise typer.Exit(exit_code(checks))


def _show_plan(settings: JobConfig, config: Path | None) -> None:
    check(settings, config)
    from auditor.pipeline.plan import plan

    Console().print(plan(settings))


def _finish(report: Report, out: Path, json: bool) -> None:
    """Say what was found, and end with the verdict's exit code."""
    from auditor.measures.verdict import EXIT_CODES
    from auditor.report import summary

    if json:
        print(report.model_dump_json(indent=2))
    else:
        console = Console()
        console.print(summary(report))
        console.print(f"{out / 'report.html'}", soft_wrap=True)
    raise typer.Exit(EXIT_CODES[report.verdict.status])


def main() -> None:
    """Run the command; every failure is one line and an exit code."""
    raise SystemExit(_guarded(lambda: app(standalone_mode=False)))


def run_job(*names: str) -> None:
    """Run the entry of `python -m jobs.NAME`, as the command of these names."""
    sys.argv[1:1] = names
    main()


_UsageError: Any = typer.BadParameter.__base__
"""The usage error of the click that typer uses: which one that is depends on typer's version."""
_INTERRUPTED = 130
"""What typer makes of Ctrl-C."""


def _guarded(command: Callable[[], object]) -> int:
    try:
        code = command()
        if code != _INTERRUPTED:
            return code if isinstance(code, int) else 0
        print("stopped; what is done is kept, and the same command goes on from there", file=sys.stderr)
        return 3
    except _UsageError as error:
        error.show()
        return 2
    except ClusterLost as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(error.exit_code)  # Ray's own way out would wait for the cluster, then exit with 1
    except AuditError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        print(f"error: {_unforeseen(error, None)}", file=sys.stderr)
        return 3


def _unforeseen(error: Exception, out: Path | None) -> str:
    """Return one line about an unforeseen failure. The whole of it goes into a file in `out`, where that
    folder exists, else in the folder for temporary files: never beside the user's own work."""
    line = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    details = "".join(traceback.format_exception(error))
    try:
        if out is not None and out.is_dir():
            log = out / "auditor-error.log"
            log.write_text(details, encoding="utf-8")
        else:
            # A name of its own and rights for its owner alone: others may write into that folder, too.
            folder = tempfile.gettempdir()
            if Path(folder) == Path.cwd():  # what Python takes where no folder for such files can be written
                return f"{line} (its details could be written nowhere: set TMPDIR to a folder)"
            number, name = tempfile.mkstemp(".log", "auditor-error-", folder)
            log = Path(name)
            with open(number, "w", encoding="utf-8") as file:
                file.write(details)
    except OSError as failed:
        return f"{line} (its details could not be written: {failed.strerror or failed})"
    return f"{line} (details: {log})"


def _run_in(out: Path, job: Callable[[], T]) -> T:
    """Run a job whose folder is `out`; an unforeseen failure is written there."""
    try:
        return job()
    except AuditError:
        raise
    except Exception as error:
        raise _Unforeseen(_unforeseen(error, out)) from error


class _Unforeseen(AuditError):
    """Nothing foresaw this failure. Its text may quote a record."""


def _run_observed(
    name: str, out: Path, log_format: LogFormat, metrics: Path | None, job: Callable[[Bars], T]
) -> T:
    """Run a job with its bars, its log and its metrics; both say how it ended."""
    from auditor.pipeline.bars import Bars
    from jobs.run.log import LoggedProgress, event, logged
    from jobs.run.metrics import Metrics

    with logged(out, log_format):
        measured = Metrics(name, out, metrics)
        bars = Bars(listeners=(LoggedProgress(), measured), quiet=log_format is LogFormat.JSON)
        event("begin", f"{name} begins", job=name, version=__version__)
        try:
            with bars.shown():
                result = _run_in(out, lambda: job(bars))
        except BaseException as error:
            code = error.exit_code if isinstance(error, AuditError) else 3
            kind = type(error.__cause__ if isinstance(error, _Unforeseen) else error).__name__
            foreseen = isinstance(error, AuditError) and not isinstance(error, _Unforeseen)
            message = redacted(str(error)) if foreseen else f"{name} stopped: {kind}"
            event("failed", message, logging.ERROR, job=name, exit_code=code, exception=kind)
            measured.ended(code)
            if log_format is LogFormat.JSON and isinstance(error, AuditError):
                raise typer.Exit(code) from error  # it has been said, in JSON
            raise
        from auditor.measures.verdict import EXIT_CODES

        report = result if isinstance(result, Report) else None
        code = EXIT_CODES[report.verdict.status] if report else 0
        ended: dict[str, Any] = {"job": name, "exit_code": code}
        if report:
            ended |= {"run_id": report.run.run_id, "verdict": report.verdict.status}
            ended |= {"quarantine": report.quarantine}
        event("end", f"{name} ended", **ended)
        measured.ended(code, report)
        return result


if __name__ == "__main__":
    main()
