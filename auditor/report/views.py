"""What the page shows, worked out from the report: small values that the template only has to print."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from markupsafe import Markup

from auditor.measures.models import Pair, pairs
from auditor.report import words
from auditor.report.legend import Legend
from auditor.report.numbers import count, interval, number, p_value, percent, plural, signed
from auditor.report.plots.differences import differences
from auditor.report.plots.forest import Forest
from auditor.report.plots.scatter import scatter
from auditor.report.svg import Axis, drawing, el, line
from schemas.report import WHERE, Bound, ComparedRow, Divergence, Example, Graded, Report, Row, Status


class Tile(NamedTuple):
    label: str
    value: str
    detail: str
    status: str = ""


def tiles(report: Report) -> list[Tile]:
    """The few numbers to see first."""
    rows = [*report.scenarios, *report.windows]
    tally = Counter(row.verdict.status for row in rows)
    noun = "window" if report.windows and not report.scenarios else "scenario"
    done = len({row.scenario for row in rows})
    models = len({row.model for row in rows if row.model})
    found = [
        Tile(noun.capitalize() + "s", f"{done:,}", plural(models, "model") if models else "no model named")
    ]
    order: tuple[Status, ...] = ("fail", "warn", "undecided", "pass")
    kinds = [
        Tile(words.STATUS[s], f"{tally[s]:,}", "of " + plural(len(rows), "result"), s)
        for s in order
        if tally[s]
    ]
    found += kinds
    lost = max((row for row in rows if row.emid is not None), key=lambda row: row.emid or 0.0, default=None)
    if lost is not None:
        found.append(Tile("Most relevance lost", f"{number(lost.emid)} nats", _who(lost)))
    moved = [
        (divergence.excess, name, row)
        for row in rows
        for name, divergence in row.divergences.items()
        if divergence.excess is not None and name != "joint"
    ]
    if moved:
        excess, name, row = max(moved, key=lambda found_: found_[0])
        found.append(
            Tile("Moved most", words.MODALITY.get(name, name), f"excess {number(excess)}, {row.scenario}")
        )
    aside = sum(report.quarantine.values())
    found.append(Tile("Rows set aside", count(aside), "quarantined" if aside else "every row was used"))
    return found


def _who(row: Row) -> str:
    return row.scenario if row.model is None else f"{row.scenario}, {row.model}"


class Fact(NamedTuple):
    name: str
    values: list[str]


def facts(report: Report) -> list[Fact]:
    """What made the numbers."""
    run = report.run
    sizes = sorted({row.n for row in [*report.scenarios, *report.windows]})
    found = [
        Fact("Run", [run.run_id]),
        Fact("Made", [run.created]),
        Fact("Models", [_identity(k, v) for k, v in run.models.items()]),
        Fact("Encoders", [_identity(k, v) for k, v in run.encoders.items()]),
        Fact("Critic", [run.critic] if run.critic else []),
        Fact("Accuracy", [_identity(run.grader.meaning, run.grader.identity)] if run.grader else []),
        Fact("In-distribution records", [run.id_scenario] if run.id_scenario else []),
        Fact(
            "Rows a result",
            [count(sizes[0]) if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"] if sizes else [],
        ),
        Fact("Interval level", [percent(run.interval_level)]),
        Fact("Thresholds", [f"{name}: {value:g}" for name, value in run.thresholds.items()]),
        Fact("Seed", [str(run.seed)]),
        Fact("Config hash", [run.config_hash]),
    ]
    return [fact for fact in found if fact.values]


def _identity(name: str, identity: str) -> str:
    return name if name == identity else f"{name}: {identity}"


# The main table


class Cell(NamedTuple):
    text: str
    detail: str = ""
    sort: str = ""
    warn: str = ""


class TableRow(NamedTuple):
    row: Row
    name: str
    colour: str
    cells: list[Cell]


class Table(NamedTuple):
    columns: list[str]
    titles: dict[str, str]
    """What hovering over a column's name says."""
    rows: list[TableRow]
    models: bool
    """Whether there is a model to name."""
    times: bool
    families: list[str | None]


def table(rows: Sequence[Row], names: Legend, graded: Graded | None) -> Table:
    """Columns that hold a value in some row; a column of dashes only would say nothing."""
    forms = [form for form in ("scaled", "partial") if any(form in row.bounds for row in rows)]
    candidates: list[tuple[str, list[Cell]]] = [
        ("EMI", [_estimate(row.emi, interval(row.intervals.emi), row.emi_spread) for row in rows]),
        ("EMID", [_estimate(row.emid, interval(row.intervals.emid), row.emid_spread) for row in rows]),
        *((form.capitalize() + " bound", [_bound(row.bounds.get(form)) for row in rows]) for form in forms),
        ("Accuracy", [_estimate(row.accuracy, interval(row.intervals.accuracy, 2)) for row in rows]),
        ("Win rate", [_estimate(row.win_rate) for row in rows]),
    ]
    kept = [(label, cells) for label, cells in candidates if any(cell.sort for cell in cells)]
    return Table(
        columns=[label for label, _ in kept],
        titles={"Accuracy": words.accuracy(graded)},
        rows=[
            TableRow(row, names.name(row), names.models[row.model], [cells[i] for _, cells in kept])
            for i, row in enumerate(rows)
        ],
        models=any(row.model for row in rows),
        times=any(row.start for row in rows),
        families=list(dict.fromkeys(row.family for row in rows)),
    )


class Bounds(NamedTuple):
    columns: list[str]
    """Names of the forms."""
    rows: list[TableRow]
    sources: list[str]
    """What went in as entropy, a sentence a source."""


def bounds(rows: Sequence[Row], names: Legend) -> Bounds | None:
    """The bounds that carry an entropy; None where no row has one."""
    forms = [form for form in words.BOUND if any(_entropic(row, form) for row in rows)]
    if not forms:
        return None
    sources: dict[str, list[str]] = {}
    for row in rows:
        for form in forms:
            if (bound := _entropic(row, form)) is not None:
                said = f"{bound.entropy_source}" + (
                    f": Ĥ = {number(bound.entropy)} nats" if bound.entropy is not None else ""
                )
                if words.BOUND[form] not in sources.setdefault(said, []):
                    sources[said].append(words.BOUND[form])
    return Bounds(
        [words.BOUND[form].split(" (")[0] for form in forms],
        [
            TableRow(
                row,
                names.name(row),
                names.models[row.model],
                [_bound(row.bounds.get(form)) for form in forms],
            )
            for row in rows
            if any(row.bounds.get(form) for form in forms)
        ],
        [f"{', '.join(of)}: {said}" for said, of in sources.items()],
    )


def _entropic(row: Row, form: str) -> Bound | None:
    """The bound where it has a value that an entropy went into."""
    bound = row.bounds.get(form)
    return bound if bound is not None and bound.value is not None and bound.entropy_source else None


def _estimate(value: float | None, detail: str = "", spread: float | None = None) -> Cell:
    if value is None:
        return Cell(number(None))
    warn = "" if spread is None else f"spread over critics ±{number(spread)}"
    return Cell(number(value), detail, repr(value), warn)


def _bound(bound: Bound | None) -> Cell:
    if bound is None or bound.value is None:
        return Cell(number(None))
    if bound.complete:
        return Cell(number(bound.value), interval(bound.interval), repr(bound.value))
    return Cell(number(bound.value) + "*", "incomplete", repr(bound.value), "only " + ", ".join(bound.terms))


# Models against the current one


class ComparedLine(NamedTuple):
    name: str
    full: str
    cells: list[Cell]
    why: str
    """Why it was left out, or has no interval."""


class ComparedPair(NamedTuple):
    pair: Pair
    colour: str
    sentence: str
    hint: str
    plot: Forest | None
    lines: list[ComparedLine]
    """The mean, then the scenarios."""


COMPARED = ("Difference", "Corrected", "Std", "p", "Adjusted p", "Blocks", "Rows")
"""Columns of a pair's table."""


def compared(report: Report, names: Legend) -> list[ComparedPair]:
    """Empty where no two models were compared."""
    found = []
    for pair in pairs(report):
        apart = sum(row.n_new != row.n_current for row in pair.measured)
        hint = (
            f"In {plural(apart, 'scenario')} the two do not have equally many rows: they differ in these too."
        )
        found.append(
            ComparedPair(
                pair,
                names.models.get(pair.mean.new, "m7"),
                words.compared(pair),
                hint if apart else "",
                differences(pair, names),
                [_compared(row, names) for row in (pair.mean, *pair.scenarios)],
            )
        )
    return found


def _compared(row: ComparedRow, names: Legend) -> ComparedLine:
    rows = count(row.n_new)
    if row.n_new != row.n_current:
        rows += f" against {count(row.n_current)}"
    cells = [
        Cell(signed(row.value), sort=_sort(row.value)),
        Cell(signed(row.corrected), interval(row.interval), _sort(row.corrected)),
        Cell(number(row.std), sort=_sort(row.std)),
        Cell(p_value(row.p_value), sort=_sort(row.p_value)),
        Cell(p_value(row.p_adjusted), sort=_sort(row.p_adjusted)),
        Cell(count(row.blocks), sort=_sort(row.blocks)),
        Cell(rows, sort=_sort(row.n_new)),
    ]
    if row.scenario is None:
        return ComparedLine("Mean", "The mean over the scenarios", cells, row.reason or "")
    name = names.scenario_names.get(row.scenario, row.scenario)
    return ComparedLine(name, row.scenario, cells, row.reason or "")


def _sort(value: float | None) -> str:
    return "" if value is None else repr(value)


# Scatter plots with what is said of them


class Scatter(NamedTuple):
    title: str
    drawing: Markup
    said: list[str]


def scatters(report: Report, names: Legend) -> list[Scatter]:
    rows = [row for row in report.scenarios if row.family != "id"]
    bounded = [plot for form in ("scaled", "partial") if (plot := _bound_scatter(report, rows, form, names))]
    found: list[Scatter] = bounded[:1]
    for name in ("accuracy", "win_rate"):
        label = words.MEASURE[name]
        drawn = scatter(
            report.scenarios,
            attrgetter(name),
            lambda row: row.emi,
            label,
            "EMI (nats)",
            names,
        )
        if drawn is not None:
            found.append(Scatter(f"EMI against {label.lower()}", drawn, _said(report, "EMI", label)))
    return found + bounded[1:]


def _bound_scatter(report: Report, rows: Sequence[Row], form: str, names: Legend) -> Scatter | None:
    terms, bounded = _comparable(rows, form)
    label = words.BOUND[form].split(" (")[0]
    drawn = scatter(
        bounded,
        lambda row: row.bounds[form].value,
        lambda row: row.emid,
        f"{label} ({' + '.join(terms)})",
        "EMID (nats)",
        names,
    )
    if drawn is None:
        return None
    return Scatter(f"EMID against the {label.lower()}", drawn, _said(report, "EMID", label))


def _comparable(rows: Sequence[Row], form: str) -> tuple[tuple[str, ...], list[Row]]:
    """Rows whose bound has the same terms, the commonest: part of a bound is not held against a whole one."""
    terms = {
        id(row): tuple(bound.terms)
        for row in rows
        if (bound := row.bounds.get(form)) is not None and bound.value is not None
    }
    if not terms:
        return (), []
    common = Counter(terms.values()).most_common(1)[0][0]
    return common, [row for row in rows if terms.get(id(row)) == common]


def _said(report: Report, first: str, second: str) -> list[str]:
    """The correlations of these two measures, as the report has them."""
    return [
        f"{c.kind.capitalize()} {number(c.value, 2)} over {c.model or 'all models'} (n={c.n}"
        + (f"; ceiling {number(c.ceiling, 2)}" if c.ceiling is not None else "")
        + ")"
        for c in report.correlations
        if {words.measure(c.x), words.measure(c.y)} == {first, second} and c.value is not None
    ]


# How far each modality moved


class HeatCell(NamedTuple):
    text: str
    level: int
    """0 (no shift) to 8."""
    moved: bool
    title: str
    sort: str


class HeatRow(NamedTuple):
    name: str
    full: str
    cells: list[HeatCell | None]


class Heat(NamedTuple):
    columns: list[str]
    rows: list[HeatRow]
    p_threshold: float


def heat(rows: Sequence[Row], names: Legend, p_threshold: float) -> Heat | None:
    """A row a scenario; inputs once, since they do not depend on the model, responses once a model."""
    by_scenario: dict[str, list[Row]] = {}
    for row in rows:
        if row.divergences:
            by_scenario.setdefault(row.scenario, []).append(row)
    if not by_scenario:
        return None
    found = {name for row in rows for name in row.divergences}
    inputs = [name for name in ("image", "text", "joint") if name in found]
    models = [m for m in names.models if any(r.model == m and "response" in r.divergences for r in rows)]
    many = len(models) > 1
    columns = [words.MODALITY[name] for name in inputs]
    columns += [f"Responses of {names.model_names[m]}" if many else "Responses" for m in models]
    found_excess = [d.excess or 0.0 for row in rows for d in row.divergences.values()]
    top = max(0.05, *found_excess)  # at least 0.05, or noise alone would glow
    lines = []
    for scenario, of in by_scenario.items():
        by_model = {row.model: row.divergences.get("response") for row in of}
        all_cells = [of[0].divergences.get(name) for name in inputs] + [
            by_model.get(model) for model in models
        ]
        cells = [
            None if d is None else _heat_cell(d, top, p_threshold, f"{scenario}: {column}")
            for d, column in zip(all_cells, columns, strict=True)
        ]
        lines.append(HeatRow(names.scenario_names[scenario], scenario, cells))
    return Heat(columns, lines, p_threshold)


def _heat_cell(divergence: Divergence, top: float, threshold: float, head: str) -> HeatCell:
    p = divergence.p_adjusted if divergence.p_adjusted is not None else divergence.p_value
    value = divergence.excess if divergence.excess is not None else divergence.value
    share = max(divergence.excess or 0.0, 0.0) / top
    told = [
        head,
        f"excess {number(divergence.excess)}, raw value {number(divergence.value)}",
        f"without a shift: {number(divergence.null_mean)} ± {number(divergence.null_std)}",
        f"corrected {number(divergence.corrected)} {interval(divergence.interval)}",
        f"p {p_value(divergence.p_value)}, adjusted {p_value(divergence.p_adjusted)}",
    ]
    if divergence.n is not None and divergence.n_id is not None:
        told.append(
            f"{divergence.n:,} rows against {divergence.n_id:,}" + (", paired" if divergence.paired else "")
        )
    return HeatCell(
        number(value) + ("" if divergence.excess is not None or value is None else " raw"),
        round(8 * share),
        p is not None and p <= threshold,
        "\n".join(told),
        "" if value is None else repr(value),
    )


# Which slices have the drift


class WhereLine(NamedTuple):
    modality: str
    kind: str
    name: str
    rows: int
    of_rows: str
    of_id_rows: str
    of_divergence: str
    bar: Markup
    excess: float


class Where(NamedTuple):
    name: str
    full: str
    lines: list[WhereLine]


NAME_CHARS = 120
"""Characters of a slice's name that are shown: tags are data, of any length."""


def where(report: Report, names: Legend) -> list[Where]:
    """The slices of each scenario or window that moved, in the order of the table."""
    found: dict[str, list[WhereLine]] = {}
    many = len(names.models) > 1
    for row in report.tables.get(WHERE, ()):
        modality = words.MODALITY.get(row["modality"]) or str(row["modality"])
        if many and row["model"] is not None:
            modality += f" of {row['model']}"
        name = str(row["name"])
        found.setdefault(row["scenario"], []).append(
            WhereLine(
                modality,
                row["slice"],
                name if len(name) <= NAME_CHARS else name[: NAME_CHARS - 1] + "…",
                row["rows"],
                percent(row["share_of_rows"], 1),
                percent(row["share_of_id_rows"], 1),
                percent(row["share_of_divergence"], 1),
                _share_bar(row["share_of_divergence"], row["share_of_rows"]),
                row["excess"],
            )
        )
    return [Where(names.scenario_names.get(s, s), s, lines) for s, lines in found.items()]


def _share_bar(of_divergence: float, of_rows: float) -> Markup:
    """The share of the divergence, with a line at the share of the rows."""
    across = Axis(0.0, 1.0, 0.0, 120.0)
    said = f"{percent(of_divergence, 1)} of the divergence, {percent(of_rows, 1)} of the rows"
    return drawing(
        120,
        12,
        said,
        el("rect", x=0, y=1, width=120, height=10, rx=2, class_="band"),
        el("rect", x=0, y=1, width=across(of_divergence), height=10, rx=2, class_="bar m1"),
        line(across(of_rows), 0, across(of_rows), 12, "zero"),
    )


class Descriptors(NamedTuple):
    columns: list[str]
    rows: list[tuple[str, str | None, list[str]]]


def descriptors(rows: Sequence[Row], names: Legend) -> Descriptors | None:
    """Plain facts of the rows."""
    columns = list(dict.fromkeys(name for row in rows for name in row.descriptors))
    if not columns:
        return None
    lines = [
        (row.scenario, row.model, [number(row.descriptors.get(name), 2) for name in columns])
        for row in rows
        if row.descriptors
    ]
    return Descriptors([name.replace("_", " ") for name in columns], lines)


# What is missing, and other remarks, each said once


@dataclass(frozen=True, slots=True)
class Remark:
    text: str
    path: str
    where: str


def missing(report: Report, names: Legend) -> list[Remark]:
    found: dict[tuple[str, str], list[Row | None]] = defaultdict(list)
    for path, reason in report.missing.items():
        found[path, reason].append(None)
    rows = [*report.scenarios, *report.windows]
    for row in rows:
        for path, reason in row.missing.items():
            found[path, reason].append(row)
    return [Remark(reason, path, _where(of, len(rows), names)) for (path, reason), of in found.items()]


def notes(report: Report, names: Legend) -> list[Remark]:
    found: dict[str, list[Row | None]] = {note: [None] for note in report.notes}
    rows = [*report.scenarios, *report.windows]
    for row in rows:
        for note in row.notes:
            found.setdefault(note, []).append(row)
    return [Remark(note, "", _where(of, len(rows), names)) for note, of in found.items()]


def incomplete(rows: Sequence[Row], names: Legend) -> list[Remark]:
    """Bounds that lack a term: the form, and the terms that are in."""
    found: dict[tuple[str, str], list[Row | None]] = defaultdict(list)
    for row in rows:
        for form, bound in row.bounds.items():
            if bound.value is not None and not bound.complete:
                found[form, ", ".join(bound.terms)].append(row)
    return [
        Remark(f"{words.BOUND.get(form, form)}: only {terms}", form, _where(of, len(rows), names))
        for (form, terms), of in found.items()
    ]


def _where(rows: Sequence[Row | None], total: int, names: Legend) -> str:
    """Which results a remark is about: all, or some by name."""
    named = [row for row in rows if row is not None]
    if len(named) < len(rows):
        return "The whole run"
    if len(named) == total:
        return "Every result" if total > 1 else names.title(named[0])
    scenarios = list(dict.fromkeys(names.name(row) for row in named))
    models = list(dict.fromkeys(row.model for row in named if row.model))
    shown = ", ".join(scenarios[:6]) + (f" and {len(scenarios) - 6} more" if len(scenarios) > 6 else "")
    few = len(names.models) > 1 and 0 < len(models) < len(names.models)
    return shown + (f" ({', '.join(models)})" if few else "")


def examples(found: Sequence[Example]) -> dict[str, list[Example]]:
    by_scenario: dict[str, list[Example]] = {}
    for example in found:
        by_scenario.setdefault(example.scenario, []).append(example)
    return by_scenario
