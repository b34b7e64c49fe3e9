"""This module compares models with the current one: from sketches to the rows of a report's table, and back
to differences.

A model's EMI less the current model's (nats) in every scenario, the in-distribution records among them, and
on the mean over scenarios: positive where the model is better. The critics are those of the audit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

from auditor.emi.comparison import Difference, EmiSums, compare_over, non_inferiority
from auditor.errors import BadInput
from auditor.profiles.profile import GroupKey, Profile
from auditor.significance import holm
from schemas.report import ComparedRow, Form, Report, Verdict

TABLE = "Models compared"
"""Name of the table in `Report.tables`; its rows are `ComparedRow`s."""
OTHER_FORMS = "Models compared by other forms of EMI"
"""Name of the table of the same comparisons by the forms `cross_fitted` and `style_free`."""
NOTHING = "no scenario has rows with a query, an answer and a reference of two models"
NOT_RELIABLE = "EMI is not reliable in any scenario that could be compared: see `reliable` of its results"


def compare_models(
    sets: Mapping[GroupKey, Profile] | Mapping[GroupKey, EmiSums],
    scenarios: Sequence[str],
    models: Sequence[str],
    current: str,
    *,
    margin: float | None,
    level: float,
    seed: int,
    unreliable: Mapping[tuple[str, str], str] | None = None,
    form: Form = "published",
) -> list[ComparedRow]:
    """Compare each other model with `current`: its mean over the scenarios first, then every scenario.

    `sets`: (scenario, model) -> sketches, or the sums of another `form` of EMI. A scenario where either model
    has no sums, or EMI is not reliable (`unreliable`: (scenario, model) -> why), is left out of the mean, its
    row says why.

    With a `margin` (nats) the mean has the verdict of non-inferiority at the one-sided level that the
    two-sided interval implies, so that the two agree. Of the means, p-values are adjusted (Holm) over the
    models. Empty where nothing is comparable.
    """
    rows: list[ComparedRow] = []
    for new in models:
        if new != current:
            rows += _compare(sets, scenarios, new, current, margin, level, seed, unreliable or {})
    rows = [row.model_copy(update={"form": form}) for row in rows]
    means = [i for i, row in enumerate(rows) if row.scenario is None and row.p_value is not None]
    for i, p in zip(means, holm([rows[i].p_value or 0.0 for i in means]), strict=True):
        rows[i] = rows[i].model_copy(update={"p_adjusted": p})
    return rows if any(row.value is not None for row in rows) or unreliable else []


def _compare(
    sets: Mapping[GroupKey, Profile] | Mapping[GroupKey, EmiSums],
    scenarios: Sequence[str],
    new: str,
    current: str,
    margin: float | None,
    level: float,
    seed: int,
    unreliable: Mapping[tuple[str, str], str],
) -> list[ComparedRow]:
    pairs: dict[str, tuple[EmiSums, EmiSums]] = {}
    reasons: dict[str, str] = {}
    for name in scenarios:
        sides = [_sums(sets.get(GroupKey(name, model))) for model in (new, current)]
        why = unreliable.get((name, new)) or unreliable.get((name, current))
        if why is not None:
            reasons[name] = f"EMI is not reliable: {why}"
        elif sides[0] is not None and sides[1] is not None:
            pairs[name] = sides[0], sides[1]
        else:
            lacking = " and ".join(m for m, side in zip((new, current), sides, strict=True) if side is None)
            reasons[name] = f"no row with a query, an answer and a reference of {lacking}"

    def left_out(name: str | None, reason: str) -> ComparedRow:
        return ComparedRow(new=new, current=current, scenario=name, level=level, blocks=0, reason=reason)

    if not pairs:
        return [
            left_out(None, NOT_RELIABLE if unreliable else NOTHING),
            *(left_out(name, reasons[name]) for name in scenarios),
        ]
    comparison = compare_over(pairs, level=level, seed=seed)
    mean = ComparedRow(new=new, current=current, scenario=None, **asdict(comparison.mean))
    if margin is not None:
        decision = non_inferiority(comparison.mean, margin, level=(1 + level) / 2)
        mean = mean.model_copy(
            update={"margin": margin, "status": decision.status, "because": decision.because}
        )
    return [
        mean,
        *(
            left_out(name, reasons[name])
            if name in reasons
            else ComparedRow(
                new=new,
                current=current,
                scenario=name,
                n_new=_n(pairs[name][0]),
                n_current=_n(pairs[name][1]),
                **asdict(comparison.scenarios[name]),
            )
            for name in scenarios
        ),
    ]


def _sums(rows: Profile | EmiSums | None) -> EmiSums | None:
    """Return the sums of a profile, None where no row has a query, an answer and a reference."""
    if rows is None or isinstance(rows, EmiSums):
        return rows
    sums = EmiSums(rows.critic_sums["emi_model"], rows.critic_sums["emi_reference"])
    return sums if sums.model and _n(sums) else None


def _n(sums: EmiSums) -> int:
    return int(sums.model[0].n.sum())


# From the table.


@dataclass(frozen=True)
class Pair:
    """A pair is a model and the current one, as the table has them."""

    mean: ComparedRow
    scenarios: list[ComparedRow]
    other_forms: Mapping[tuple[str, str | None], ComparedRow] = field(default_factory=dict)
    """(form, scenario) -> the same by another form of EMI."""

    def claims(self, row: ComparedRow) -> bool:
        """Return whether the row's difference is said: clear at its adjusted level, and as clear, in the same
        direction, by cross-fitted EMI."""
        other = self.other_forms.get(("cross_fitted", row.scenario))
        return _is_clear(row) and (
            other is None or (_is_clear(other) and (other.corrected or 0.0) * (row.corrected or 0.0) > 0)
        )

    @property
    def measured(self) -> list[ComparedRow]:
        """Return the scenarios that were not left out."""
        return [row for row in self.scenarios if row.value is not None]

    @property
    def better(self) -> int:
        """Count the scenarios where the model is better than the current one (see `claims`)."""
        return sum(self.claims(row) and (row.corrected or 0.0) > 0 for row in self.scenarios)

    @property
    def worse(self) -> int:
        return sum(self.claims(row) and (row.corrected or 0.0) < 0 for row in self.scenarios)


def _is_clear(row: ComparedRow) -> bool:
    return row.p_adjusted is not None and row.p_adjusted <= 1 - row.level


def pairs(report: Report) -> list[Pair]:
    """Return what the report's table says of each pair of models; empty where it has no such table."""
    by_model: dict[str, list[ComparedRow]] = {}
    for content in report.tables.get(TABLE, []):
        row = ComparedRow.model_validate(content)
        by_model.setdefault(row.new, []).append(row)
    others: dict[str, dict[tuple[str, str | None], ComparedRow]] = {}
    for content in report.tables.get(OTHER_FORMS, []):
        row = ComparedRow.model_validate(content)
        if row.value is not None:
            others.setdefault(row.new, {})[row.form, row.scenario] = row
    return [
        Pair(
            next(row for row in rows if row.scenario is None),
            [row for row in rows if row.scenario is not None],
            others.get(model, {}),
        )
        for model, rows in by_model.items()
    ]


def find(report: Report, new: str, current: str | None, scenario: str | None) -> ComparedRow:
    """Find EMI of `new` less EMI of `current` (None: the report's) in one scenario (None: their mean).

    One of the two must be the report's current model; which one, is all the same: the other way round is the
    mirror image. Raises `BadInput` that says what there is and the way out.
    """
    comparisons = pairs(report)
    if not comparisons:
        raise BadInput(
            f"run {report.run.run_id} compares no models: "
            + report.missing.get("comparison", "that needs an audit of two or more models, with references")
        )
    base = comparisons[0].mean.current
    pair_by_model = {pair.mean.new: pair for pair in comparisons}
    current = base if current is None else current
    for option, name in (("new", new), ("current", current)):
        if name != base and name not in pair_by_model:
            raise BadInput(
                f"{option}: no model {name} in the report; it has {', '.join((base, *pair_by_model))}"
            )
    if new == current:
        way = f"; current can be another: {', '.join(pair_by_model)}" if new == base else ""
        raise BadInput(f"new and current are the same model, {new}{way}")
    if base not in (new, current):
        raise BadInput(
            f"the report compares every model with {base}, not {new} with {current}: audit again with "
            f"--set comparison.current={current} (what is done is kept)"
        )
    pair = pair_by_model[new if current == base else current]
    rows = {row.scenario: row for row in (pair.mean, *pair.scenarios)}
    if scenario not in rows:
        names = [row.scenario or "" for row in pair.scenarios]
        rest = f" and {len(names) - 8} more" if len(names) > 8 else ""
        raise BadInput(f"scenario: {scenario} is not in the report, which has {', '.join(names[:8])}{rest}")
    return rows[scenario] if current == base else _mirror(rows[scenario])


def _mirror(row: ComparedRow) -> ComparedRow:
    def less(value: float | None) -> float | None:
        return None if value is None else 0.0 - value

    return row.model_copy(
        update={
            "new": row.current,
            "current": row.new,
            "value": less(row.value),
            "corrected": less(row.corrected),
            "low": less(row.high),
            "high": less(row.low),
            "n_new": row.n_current,
            "n_current": row.n_new,
            "margin": None,  # a verdict is of one direction
            "status": None,
            "because": None,
        }
    )


def compare(
    report: Report, new: str, current: str | None, *, margin: float, scenario: str | None, level: float
) -> Verdict:
    """Decide whether `new` is no worse than `current` (None: the report's) by more than `margin` (nats), with
    one-sided confidence `level`, in one scenario (None: in their mean). Raises `BadInput` where the report
    lacks it, or margin or level makes no sense."""
    row = find(report, new, current, scenario)
    try:
        verdict = judge(row, margin, level)
    except ValueError as error:
        raise BadInput(f"margin {margin:g}, level {level:g}: {error}") from error
    over = "mean over the scenarios" if row.scenario is None else row.scenario
    because = f"{row.new} against {row.current}, {over}: {verdict.because}"
    return Verdict(status=verdict.status, because=because)


def judge(row: ComparedRow, margin: float, level: float) -> Verdict:
    """Decide whether the new model of this row is no worse than the current one by more than `margin` (nats).

    `level` is one-sided and need not be the run's. Undecided where the row was left out. ValueError where
    margin or level makes no sense.
    """
    if row.value is None:
        return Verdict(status="undecided", because=f"the difference could not be computed: {row.reason}")
    difference = Difference(**{f.name: getattr(row, f.name) for f in fields(Difference)})
    decision = non_inferiority(difference, margin, level=level)
    return Verdict(status=decision.status, because=decision.because)
