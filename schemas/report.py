"""What `report.json` says. The store keeps the same values; both reports are made from it."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1

Interval = tuple[float, float]
Status = Literal["pass", "warn", "fail", "undecided"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _plain(value: Any) -> Any:
    """What JSON can say, all the way down: a tuple becomes a list, a number that is not finite is refused."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number: write None and say why in `missing`")
    if value is not None and not isinstance(value, str | bool | int | float):
        raise ValueError(f"{type(value).__name__} cannot be written as JSON")
    return value


PlainObject = Annotated[dict[str, Any], AfterValidator(_plain)]


class Bound(_Model):
    """An upper bound on EMID, or a part of one (nats; `scaled` and `partial` carry no entropy)."""

    value: float | None = Field(description="The bound over the terms that could be computed.")
    terms: list[str] = Field(description="Names of the terms that went in.")
    complete: bool = Field(description="False where a term of the form is missing from `terms`.")
    entropy: float | None = Field(None, description="The entropy that scales the divergences (nats).")
    entropy_source: str | None = Field(None, description="Where that entropy comes from.")
    interval: Interval | None = Field(
        None,
        description="Profile interval, at the run's level, of the bound with its bias taken off: small "
        "samples push `value` up, so it may lie above. Ĥ and (B) are held fixed.",
    )


class Divergence(_Model):
    """Distance between the ID rows and the scenario's in one modality (RJSD, nats; at most log 2)."""

    value: float | None = Field(None, description="Raw RJSD (Eq. 12): biased upward in small samples.")
    excess: float | None = Field(
        None, description="`value` minus its mean under permutation: 0 without a shift."
    )
    null_mean: float | None = Field(None, description="Mean RJSD under permutation.")
    null_std: float | None = Field(None, description="Standard deviation of RJSD under permutation.")
    corrected: float | None = Field(
        None, description="Jackknife-corrected RJSD; null where rows are too few."
    )
    interval: Interval | None = Field(None, description="Interval of `corrected`, at the run's level.")
    mmd2: float | None = Field(None, description="Unbiased quadratic MMD²: comparable across sizes.")
    score: float | None = Field(
        None,
        description="Of `..._given_...`: mean score of how the rows' pairs go together, less that of the ID "
        "rows, in their standard deviations; below 0 where they go together less.",
    )
    p_value: float | None = Field(
        None,
        description="Permutation p-value of the MMDs of six kernels together. Below one in "
        "the number of permutations it follows from the fall-off of the largest; never below 5e-7.",
    )
    p_adjusted: float | None = Field(
        None, description="Holm-adjusted: over the modalities of a window, or scenarios."
    )
    n_id: int | None = None
    n: int | None = None
    paired: bool = Field(False, description="Whether every row was compared with its copy.")
    n_copies: int = Field(
        0,
        description="Rows that were compared with their copy; others were permuted.",
    )


class Intervals(_Model):
    emi: Interval | None = None
    emid: Interval | None = None
    accuracy: Interval | None = None


class LabelFree(_Model):
    """What can be said of the risk without references on the scenario."""

    voice: str | None = Field(None, description="Which estimate is reported; null where none is.")
    estimate: float | None = None
    low: float | None = Field(None, description="Null where `voice` is sound: an upper bound alone.")
    high: float | None = None
    outside: float | None = Field(None, description="Share of rows outside the ID rows' support.")
    overlap: float | None = Field(
        None, description="(1 - outside) x effective reference rows / reference rows, 0 to 1."
    )
    moved: float | None = Field(
        None, description="Mean rank of the rows' distances among the reference's own: 0.5 where unmoved."
    )
    effective: float | None = Field(None, description="Effective number of reference rows under the new mix.")
    auc: float | None = Field(None, description="Of a held-out classifier of new against reference rows.")
    reason: str | None = None


class Credibility(_Model):
    """What the inputs' vectors say of the correct answers: where nothing, EMI is not reliable."""

    value: float = Field(
        description="Share of the variance of the correct answers that inputs predict, by a critic that saw "
        "other groups of rows: 1 is all of it, 0 or less none."
    )
    null_mean: float = Field(description="Its mean where inputs and answers are paired at random.")
    null_std: float = Field(description="Its standard deviation there.")
    p_value: float = Field(description="Of a permutation of whole groups of rows.")
    n: int = Field(description="Rows that took part.")
    groups: int = Field(description="Groups of rows that were exchanged.")


class EmiForms(_Model):
    """EMI in other forms, by critics in closed form that are trained on correct answers alone."""

    reference_trained: float | None = Field(
        None, description="In sample, nats: the critic knows these correct answers by heart."
    )
    cross_fitted: float | None = Field(
        None, description="By critics that saw no row of the same group, nats."
    )
    style_free: float | None = Field(
        None, description="Cross-fitted, of what question and length do not explain of an answer, nats."
    )
    cosine: float | None = Field(
        None, description="No EMI: the mean cosine of answer and correct answer, the simple rival."
    )


class Style(_Model):
    """How a model's answers differ from the correct ones in what is no content."""

    length: float | None = Field(
        None, description="Mean length of the answers over that of the correct ones, as a logarithm (base 2)."
    )
    echo: float | None = Field(
        None, description="Mean cosine of answer and question less that of correct answer and question."
    )
    refusal: float | None = Field(
        None, description="Share of answers that refuse, less that of the correct ones."
    )
    marginal: float | None = Field(
        None, description="Distance between the mean vectors of the answers and of the correct ones, 0 to 2."
    )


class Finding(_Model):
    """Something that is missing or spoilt: rows, contents, a file, a day."""

    where: str = Field(description="Window, scenario or file that it is about.")
    kind: Literal[
        "left_out", "repeats", "nothing", "share", "constant", "again", "rows", "gap", "clock", "file"
    ] = Field(
        description="left_out: rows could not be used; repeats: rows came twice; nothing: a content that the "
        "reference data has is gone; share: another share of the rows has it; constant: one and the same "
        "stands in most rows; again: rows of an earlier window, or of the reference data; rows: few or many; "
        "gap: no rows came; clock: far from all other windows; file: nothing usable, no rows, cut off, or "
        "of another format than the others."
    )
    status: Literal["warn", "fail"]
    because: str = Field(description="In one sentence.")


class Census(_Model):
    """What came in, what of it was used, and what it holds."""

    rows_in: int = Field(description="Rows that came: used, left out, and repeats.")
    used: int = Field(description="Usable rows.")
    left_out: dict[str, int] = Field(
        default_factory=dict, description="Reason -> rows that could not be used, but for repeats."
    )
    repeats: int = Field(0, description="Rows that a row before them says, too, with the same id.")
    lost_answers: dict[str, int] = Field(
        default_factory=dict, description="Reason -> answers (or references) that could not be used."
    )
    answered: int | None = Field(None, description="Rows with an answer; null: not counted.")
    with_image: int | None = None
    with_query: int | None = None
    with_reference: int | None = None
    refused: int | None = Field(None, description="Answers that begin as refusals do (in English).")
    scripts: dict[str, int] = Field(
        default_factory=dict, description="Script, as Unicode names it -> queries that are written in it."
    )
    distinct: dict[str, int] = Field(
        default_factory=dict, description="image, query, answer -> different ones among the sampled rows."
    )


class Verdict(_Model):
    status: Status
    because: str = Field(description="In one sentence: measure, value, interval, threshold and its source.")


class RowCounts(_Model):
    """How many rows the numbers are of, and how much they tell."""

    used: int = Field(description="Usable rows.")
    groups: int = Field(
        description="Groups that these rows are in: rows of one are not independent of each other. Estimated "
        "from the row sample where there are more rows than it holds."
    )
    effective_n: float = Field(
        description="Independent rows that would tell as much of the mean input: used / Kish's design effect."
    )


class Measures(_Model):
    """What is measured of some rows under one model, held against the reference data."""

    n: int = Field(description="Usable rows.")
    rows: RowCounts | None = Field(None, description="Null where no row is usable.")
    n_labelled: int = Field(0, description="Rows with a reference.")
    n_emi: int | None = Field(None, description="Rows that have a query, an answer and a reference.")
    mi_model: float | None = Field(None, description="I(X; model's response), nats.")
    mi_reference: float | None = Field(None, description="I(X; reference), nats.")
    emi: float | None = Field(
        None, description="Effective mutual information (Eq. 7), nats, mean over critics."
    )
    emi_spread: float | None = Field(None, description="Standard deviation of EMI over the critics' seeds.")
    emid: float | None = Field(None, description="EMI on the ID rows minus EMI here (Eq. 9), nats.")
    emid_spread: float | None = None
    intervals: Intervals = Field(default_factory=Intervals)
    reliable: bool | None = Field(
        None,
        description="Whether the encoders hold the correct answers, here and in the reference data, so that "
        "EMI and EMID mean something; where false, `missing` says why. Null: there is no EMI.",
    )
    credibility: Credibility | None = Field(
        None, description="The check behind `reliable`, of the rows here."
    )
    emi_forms: EmiForms | None = Field(None, description="EMI in other forms (audits only).")
    style: Style | None = Field(
        None, description="What tells answers from correct ones but for content (audits only)."
    )
    bounds: dict[str, Bound] = Field(default_factory=dict)
    delta: float | None = Field(None, description="RJSD of the model's responses to the references, here.")
    label_free: LabelFree | None = None
    accuracy: float | None = Field(None, description="Mean score of the graded answers, 0 to 1.")
    win_rate: float | None = None
    descriptors: dict[str, float | None] = Field(default_factory=dict)
    missing: dict[str, str] = Field(default_factory=dict, description="Path of each null term, and why.")


class Distance(_Model):
    """How far a window lies from all others, beside how far the baseline's own windows lie."""

    value: float = Field(
        description="0: as far as the middle window; then in (robust) standard deviations of the windows."
    )
    band: Interval | None = Field(description="Between which nine tenths of the baseline's own windows lie.")
    rank: int = Field(description="1: the farthest of all, itself among them.")
    of: int = Field(
        description="Windows that it is ranked among: the baseline's, those before it, and itself."
    )
    p_value: float = Field(description="rank / of: how often a window of the same kind ranks so far off.")


class Variation(_Model):
    """A window beside the variation of the service from window to window."""

    distance: Distance = Field(description="In the modality in which it lies farthest off.")
    modalities: dict[str, Distance] = Field(description="The same in each modality.")
    baseline_windows: int = Field(description="Windows of the baseline among which it is ranked.")
    evidence: float = Field(
        description="Evidence of a change so far, in windows: without one it grows by 1 a window on average."
    )
    budget: float = Field(description="Evidence at which an alarm begins: windows between false alarms.")
    alarm: bool = Field(
        description="Whether the evidence has reached the budget, and no near window came since."
    )
    since: str | None = Field(description="Under alarm: the window that the change most likely began with.")


class Row(Measures):
    """A row of the report: a scenario, or a window, under one model."""

    scenario: str
    model: str | None
    family: str | None = Field(None, description="visual, text, joint, natural, mix, id or window.")
    divergences: dict[str, Divergence] = Field(default_factory=dict)
    variation: Variation | None = Field(
        None, description="Of a window, where the baseline keeps windows to compare it with."
    )
    quarantined: int = Field(0, description="Rows and single answers that were set aside.")
    census: Census | None = Field(None, description="What came in, what of it was used, what it holds.")
    findings: list[Finding] = Field(
        default_factory=list, description="What is missing or spoilt here; the verdict heeds it."
    )
    verdict: Verdict
    notes: list[str] = Field(default_factory=list)
    start: str | None = Field(None, description="Start of a window (ISO 8601).")
    end: str | None = None


class Graded(_Model):
    """What answers were graded by."""

    name: str
    identity: str = Field(description="Canonical JSON of all that changes a score.")
    meaning: str = Field(description="What a score says, in words.")


class Run(_Model):
    run_id: str
    job: Literal["audit", "drift"]
    created: str
    seed: int
    config_hash: str
    interval_level: float
    config: PlainObject = Field(description="The whole config that made the numbers.")
    versions: dict[str, str]
    encoders: dict[str, str] = Field(default_factory=dict, description="Identity of each encoder.")
    models: dict[str, str] = Field(default_factory=dict, description="Identity of each model.")
    critic: str | None = Field(None, description="Identity of the MI critic and how it was trained.")
    grader: Graded | None = Field(None, description="What accuracy is the mean score of; null: nothing.")
    id_scenario: str | None = None
    groups: str | None = Field(
        None, description="What ties rows together, so that they are not independent, and where it is from."
    )
    thresholds: dict[str, float] = Field(default_factory=dict)
    complete: bool = Field(True, description="False where not every scenario was done.")
    executor: str | None = Field(None, description="Where the work was done: serial or ray, and why.")
    seconds: dict[str, float] = Field(
        default_factory=dict, description="Wall seconds of each stage of the work, in their order."
    )


class Correlation(_Model):
    """How two columns go together over the scenarios of a model (or all)."""

    x: str
    y: str
    model: str | None
    kind: Literal["pearson", "spearman"]
    value: float | None
    n: int
    ceiling: float | None = Field(None, description="Split-half ceiling of the truth it is held against.")


Form = Literal["published", "cross_fitted", "style_free"]


class ComparedRow(_Model):
    """A row of the table `Models compared`: EMI of a model less EMI of the current one, in nats."""

    new: str
    current: str
    scenario: str | None = Field(description="Null: the mean over the scenarios that have a value.")
    value: float | None = Field(None, description="As estimated; null where `reason` says why.")
    corrected: float | None = Field(
        None, description="Less the bootstrap's bias: what the interval is centred on."
    )
    std: float | None = None
    low: float | None = None
    high: float | None = None
    level: float
    p_value: float | None = Field(None, description="Two-sided, of no difference.")
    p_adjusted: float | None = Field(
        None,
        description="Holm-adjusted over the scenarios of the pair; of a mean over the models that are "
        "compared with the current one.",
    )
    blocks: int = Field(description="Hash blocks, as many equal ones as tell as much.")
    n_new: int | None = Field(None, description="Rows with a query, an answer of `new` and a reference.")
    n_current: int | None = None
    margin: float | None = Field(None, description="What the mean may lose (comparison.margin), nats.")
    status: Status | None = Field(None, description="Of the mean: no worse than the margin allows?")
    because: str | None = None
    reason: str | None = None
    form: Form = Field("published", description="The form of EMI that is compared (see `EmiForms`).")
    style: str | None = Field(
        None, description="Where the two models' styles differ too much to compare them by EMI alone."
    )

    @property
    def interval(self) -> Interval | None:
        """Where it has one."""
        return None if self.low is None or self.high is None else (self.low, self.high)


WHERE = "Where the drift is"
"""The table of the slices that have most of the drift, a row a slice (`auditor.attribution.slices`)."""
SOURCES = "sources"
"""The table of the files that were read, a row a file: rows = used + those of `left_out`
(`auditor.scenarios.reading`)."""


class Report(_Model):
    schema_version: int = SCHEMA_VERSION
    run: Run
    scenarios: list[Row] = Field(default_factory=list)
    windows: list[Row] = Field(default_factory=list)
    tables: dict[str, list[PlainObject]] = Field(default_factory=dict)
    correlations: list[Correlation] = Field(default_factory=list)
    quarantine: dict[str, int] = Field(default_factory=dict)
    feed: list[Finding] = Field(
        default_factory=list,
        description="What is missing of the whole: files and days of which nothing came or was usable. The "
        "verdict heeds it.",
    )
    missing: dict[str, str] = Field(default_factory=dict)
    verdict: Verdict
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for rows in (self.scenarios, self.windows):
            seen: set[tuple[str, str | None]] = set()
            for row in rows:
                if (row.scenario, row.model) in seen:
                    raise ValueError(f"two rows for scenario {row.scenario} and model {row.model}")
                seen.add((row.scenario, row.model))
        return self


class Example(_Model):
    """One record shown in the HTML report (kept in the store, not in `report.json`)."""

    scenario: str
    record_id: str
    query: str | None
    reference: str | None
    responses: dict[str, str] = Field(default_factory=dict)
    thumbnail: bytes | None = Field(None, description="PNG, at most 128 px a side.")
