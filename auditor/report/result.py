"""An audit or a comparison with a baseline returns this report to a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from auditor.errors import BadInput
from auditor.report import words, write_reports
from auditor.report.columns import flat
from auditor.report.html import html
from auditor.report.numbers import count, interval, number, p_value, plural, rows_told
from auditor.report.store import Store
from schemas import report as schema
from schemas.report import Example, Row, Verdict

if TYPE_CHECKING:
    import pandas
    import pyarrow

SHOWN = 30
"""Rows in a notebook; `to_frame` and the reports have all of them."""
NAME_CHARS = 32
"""Characters of a name in a notebook: it comes from data."""


class Report:
    """This is the report of an audit or of a comparison with a baseline. In a notebook it shows its verdict
    and its results."""

    def __init__(self, content: schema.Report, examples: Sequence[Example] = ()) -> None:
        """`examples`: the records that the HTML report shows."""
        self.content = content
        """The whole report, as `report.json` has it."""
        self.examples = tuple(examples)

    @classmethod
    def load(cls, folder: str | Path) -> Report:
        """Return the latest report in the store of `folder`, as `save`, a job's `out` and the command line
        leave it. Raises `BadInput` where there is none."""
        store = Store(folder)
        content = store.load_report()
        return cls(content, store.load_examples(content.run.run_id))

    @property
    def verdict(self) -> Verdict:
        """Return the verdict of the whole: `status` (pass, warn, fail, undecided) and `because`, a
        sentence."""
        return self.content.verdict

    @property
    def rows(self) -> list[Row]:
        """Return the results: each is a scenario, or a window, under one model."""
        return [*self.content.scenarios, *self.content.windows]

    def to_arrow(self) -> pyarrow.Table:
        """Return the results as a flat table (columns: `auditor.report.columns.COLUMNS`)."""
        return flat(self.content)

    def to_frame(self) -> pandas.DataFrame:
        """Return the results as a table of pandas. Raises `BadInput` where pandas is not installed."""
        try:
            import pandas  # noqa: F401
        except ImportError:
            raise BadInput("to_frame needs pandas: pip install pandas, or take to_arrow()") from None
        frame: pandas.DataFrame = self.to_arrow().to_pandas()
        return frame

    def save(self, folder: str | Path) -> Path:
        """Write `report.html`, `report.json` and `audit.duckdb` into `folder`, each whole, and return the
        folder. Runs that are in the store already stay."""
        out = Path(folder)
        Store(out).write_run(self.content, self.examples)
        write_reports(self.content, out, self.examples)
        return out

    def html(self) -> str:
        """Return the page that `save` writes."""
        return html(self.content, self.examples)

    def json(self) -> str:
        """Return the content of `report.json`."""
        return self.content.model_dump_json(indent=2)

    def __repr__(self) -> str:
        job = "audit" if self.content.run.job == "audit" else "drift"
        tally = Counter(row.verdict.status for row in self.rows)
        results = ", ".join(f"{n} {status}" for status, n in sorted(tally.items()))
        return (
            f"<Report of {job}: {self.verdict.status}: {_cut(self.verdict.because, 300)} "
            f"({plural(len(self.rows), 'result')}: {results or 'none'}; see .to_frame(), .save(DIR))>"
        )

    def _repr_html_(self) -> str:
        """The verdict and a table of the results, the worst first where there are many. Every text comes from
        data and is escaped; nothing runs and nothing is loaded."""
        status = self.verdict.status
        headline = f"{words.STATUS_SIGN[status]} {words.STATUS[status]}"
        parts = [Markup("<p><b>{}</b>: {}</p>").format(headline, _cut(self.verdict.because, 400))]
        rows = self.rows
        if len(rows) > SHOWN:
            rows.sort(key=lambda row: (words.STATUS_ORDER[row.verdict.status], -(row.emid or 0.0)))
        if rows:
            parts.append(_table(rows[:SHOWN]))
        if len(rows) > SHOWN:
            rest = plural(len(rows) - SHOWN, "more result")
            parts.append(Markup("<p>and {} (to_frame() has all of them)</p>").format(rest))
        if self.content.quarantine:
            quarantined = ", ".join(f"{reason} {n:,}" for reason, n in self.content.quarantine.items())
            parts.append(Markup("<p>Rows set aside: {}</p>").format(_cut(quarantined, 400)))
        return str(Markup("").join(parts))


def _table(rows: Sequence[Row]) -> Markup:
    """Return a table of the columns that some row has a value in."""
    first = "Window" if all(row.family == "window" for row in rows) else "Scenario"
    partial = [row.bounds["partial"].value if "partial" in row.bounds else None for row in rows]
    verdicts = [row.verdict.status for row in rows]
    columns = {
        first: [_cut(row.scenario, NAME_CHARS) for row in rows],
        "Model": [_cut(row.model or "", NAME_CHARS) for row in rows],
        "Rows": [count(row.n) for row in rows],
        "In groups": [rows_told(row) for row in rows],
        "EMI": [_relevance(row, number(row.emi)) for row in rows],
        "EMID": [
            _relevance(row, f"{number(row.emid)} {interval(row.intervals.emid)}".strip()) for row in rows
        ],
        "Partial bound": [number(value) for value in partial],
        **{f"{words.MODALITY[name]}, p": [_p(row, name) for row in rows] for name in words.MODALITY},
        "Accuracy": [number(row.accuracy) for row in rows],
        "Verdict": [f"{words.STATUS_SIGN[status]} {words.STATUS[status]}" for status in verdicts],
    }
    filled = {name: cells for name, cells in columns.items() if any(cell not in ("", "–") for cell in cells)}
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in filled)
    lines = (
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in line))
        for line in zip(*filled.values(), strict=True)
    )
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(
        head, Markup("").join(lines)
    )


def _relevance(row: Row, shown: str) -> str:
    return f"{shown} (not reliable)" if row.reliable is False and row.emi is not None else shown


def _p(row: Row, modality: str) -> str:
    divergence = row.divergences.get(modality)
    return p_value(None if divergence is None else divergence.p_adjusted)


def _cut(text: str, most: int) -> str:
    """Return the text on one line, without what a terminal would obey, and no longer than `most`."""
    plain = "".join(c if c.isprintable() else "�" for c in text)
    return plain if len(plain) <= most else plain[: most - 1] + "…"
