"""This module has plain sentences for the names that the report uses."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.bounds import NULL_CENTRED
from auditor.measures.models import Pair
from auditor.report.numbers import interval, number, plural, signed
from schemas.record import Reason
from schemas.report import ComparedRow, Graded

STATUS = {"pass": "Pass", "warn": "Warning", "fail": "Fail", "undecided": "Undecided"}
STATUS_SIGN = {"pass": "✓", "warn": "!", "fail": "✕", "undecided": "?"}
STATUS_ORDER = {"fail": 0, "undecided": 1, "warn": 2, "pass": 3}

MODALITY = {"image": "Images", "text": "Text", "joint": "Image and text together", "response": "Responses"}

DEPENDENCE = {
    "text_given_image": "Questions given the image",
    "response_given_input": "Responses given the input",
    "reference_given_input": "Correct answers given the input",
}

FAMILY = {
    "id": "In-distribution",
    "visual": "Visual shift",
    "text": "Text shift",
    "joint": "Visual and text shift",
    "natural": "Natural shift",
    "mix": "New mix of known inputs",
    "window": "Window",
}

BOUND = {
    "scaled": "Scaled bound (as published, no entropy)",
    "partial": "Partial bound (inputs only, no references needed)",
    "theorem_4_5": "Theorem 4.5",
    "theorem_4_5_split": "Theorem 4.5, split",
    "theorem_4_6": "Theorem 4.6",
    "corollary_d12": "Corollary D.12",
    "joint": "Joint bound",
    "measured": "Bound with the measured entropy shift",
    "sound": "Sound bound (quantised responses)",
    "sound_label_free": "Sound bound, no references",
}

BOUND |= {f"{form}{NULL_CENTRED}": f"{title.split(' (')[0]}, null-centred" for form, title in BOUND.items()}

MEASURE = {
    "emi": "EMI",
    "emid": "EMID",
    "accuracy": "Accuracy",
    "win_rate": "Win rate",
    "delta": "Response-to-reference divergence",
    "mi_model": "I(X; response)",
    "mi_reference": "I(X; reference)",
    "scaled": "Scaled bound",
    "partial": "Partial bound",
    "scaled_null_centred": "Scaled bound, null-centred",
    "reliable": "EMI is not reliable",
    "comparison": "Models compared",
}

QUARANTINE = {
    Reason.UNREADABLE_LINE: "The line or row cannot be read: broken JSON, no UTF-8, or a damaged file.",
    Reason.NOT_AN_OBJECT: "The line is JSON, but not an object with fields.",
    Reason.MISSING_ID: "The row has no record_id, or one that is no text and no number.",
    Reason.DUPLICATE_ID: "Another row before it has the same record_id.",
    Reason.MISSING_INPUT: "The row has neither an image nor a query.",
    Reason.CONTENT_WITHHELD: "The log has the call, but not what was asked: that was left out or lost.",
    Reason.IMAGE_MISSING: "The image file that the row names does not exist.",
    Reason.IMAGE_OUTSIDE_ROOT: "The image path leads outside the media folder, so it was not opened.",
    Reason.IMAGE_CORRUPT: "The image cannot be decoded.",
    Reason.IMAGE_TOO_LARGE: "The image has more bytes or pixels than the limits allow.",
    Reason.URL_NOT_ALLOWED: "The image is a URL that is not on the allow-list, so it was not fetched.",
    Reason.TEXT_TOO_LONG: "A text is longer than the limit.",
    Reason.EMPTY_RESPONSE: "The model's response is empty.",
    Reason.BAD_TIMESTAMP: "The row has no timestamp that can be read, and the windows are by time.",
    Reason.NON_FINITE_EMBEDDING: "The encoder gave a vector with a number that is not finite.",
    Reason.MODEL_FAILED: "The model gave no answer: it failed here twice, or the log says so.",
}

GLOSSARY = (
    (
        "Nats",
        "Units of information in natural logarithms: 1 nat is 1.44 bits.",
    ),
    (
        "EMI",
        "Effective mutual information: how much the model's responses have to do with what was asked, "
        "less what the references have to do with it. Higher is better; near zero means as relevant "
        "as the references. Only differences between scenarios under one critic mean something, not "
        "the value itself.",
    ),
    (
        "EMID",
        "EMI on the in-distribution records minus EMI here: the relevance lost under the shift. Zero: "
        "nothing lost. Positive: the model became less relevant. Negative: it became more so.",
    ),
    (
        "Interval",
        "The range that the paired bootstrap gives the measure at the stated level. Where an interval "
        "of EMID holds zero, no loss has been shown.",
    ),
    (
        "Bound",
        "The most EMID could be, given how far the inputs and responses are from the in-distribution "
        "ones. It is computed from estimates (plug-in), so it is an estimate as well and not a "
        "guarantee. “Incomplete” means that a term could not be computed; the value is then over the "
        "terms listed, and the whole one would be larger.",
    ),
    (
        "Scaled and partial bound",
        "Scaled: the form that the paper's figures show, without the entropy factor; compare "
        "scenarios by it, do not read it in nats. Partial: its input terms alone, √D(images) + "
        "√D(text): needs no references.",
    ),
    (
        "RJSD value, excess, corrected",
        "A distance between two sets of embeddings, from 0 to log 2 = 0.693. The raw value is far too "
        "large when rows are few. Excess takes off what the same rows give without any shift, so it "
        "is 0 without a shift at every size. Corrected is the jackknife's estimate of the "
        "large-sample value; blank where rows are too few for it.",
    ),
    (
        "p-value",
        "How often a difference this large would come up if nothing had shifted, found by permuting "
        "rows. Adjusted p-values (Holm) account for the number of tests. Small p says that there is a "
        "shift, not that it is large.",
    ),
    (
        "Distance, rank, evidence",
        "How far a window lies from all others, beside the baseline's own windows: 0 is as far as the middle "
        "one. Each window is ranked among the baseline's and those before it, and ranks far in front are "
        "evidence of a change. The evidence grows by 1 a window on average while nothing changes, and an "
        "alarm begins where it reaches the number of windows that false alarms may be apart.",
    ),
    (
        "Models compared",
        "EMI of a model minus EMI of the current one on the same records, so that what makes a question "
        "hard for both cancels. The interval is centred on the corrected difference (the estimate less the "
        "bootstrap's bias) and speaks of other records like these, not of another training of the critic. "
        "Clearly better or worse: the p-value, adjusted over the scenarios of the pair, is at most 1 minus "
        "the interval's level. Not worse by more than a margin: the mean's lower end lies above minus the "
        "margin (Pass), its upper end below that (Fail), or neither (Undecided).",
    ),
    (
        "Verdict",
        "Pass, warning, fail, or undecided where the rows are too few to say. The sentence beside it "
        "says why.",
    ),
)


def accuracy(graded: Graded | None) -> str:
    """Say what accuracy is, by the grader of the run."""
    return "Mean score of the graded answers, 0 to 1" + (f": {graded.meaning}." if graded else ".")


def glossary(graded: Graded | None) -> tuple[tuple[str, str], ...]:
    """Return words and what they mean, in the order of the page."""
    return (*GLOSSARY[:3], ("Accuracy", accuracy(graded)), *GLOSSARY[3:])


def compared(pair: Pair) -> str:
    """Say which of two models is better, by how much, and in how many scenarios that is clear."""
    mean, n = pair.mean, len(pair.measured)
    new, current = mean.new, mean.current
    if mean.value is None:
        return f"{new} cannot be compared with {current}: {mean.reason}."
    over = f"the mean over {plural(n, 'scenario')}"
    if mean.corrected is None or mean.low is None or mean.high is None:
        claim = (
            f"Whether {new} or {current} is better cannot be told: EMI differs by {signed(mean.value)} nats"
        )
        return f"{claim} on {over}; {mean.reason}."
    between = interval((mean.low, mean.high))
    clear = not mean.low <= 0 <= mean.high if mean.p_adjusted is None else mean.p_adjusted <= 1 - mean.level
    if clear and not pair.claims(mean) and pair.other_forms:
        claim = (
            f"Whether {new} or {current} is better cannot be told: EMI as published differs by "
            f"{signed(mean.corrected)} nats, and cross-fitted EMI does not show it"
        )
    elif not clear:
        claim = f"No difference between {new} and {current} is shown: {signed(mean.corrected)} nats of EMI"
    else:
        better, direction = ("better", "higher") if mean.low > 0 else ("worse", "lower")
        claim = f"{new} is {better} than {current}: its EMI is {number(abs(mean.corrected))} nats {direction}"
    sentence = f"{claim} {between} on {over}. Clearly better in {pair.better}, clearly worse in {pair.worse}."
    if mean.style is not None:
        free = pair.other_forms.get(("style_free", None))
        beside = "" if free is None else f" {_free_of_style(new, free)}"
        sentence += f" The two differ in style, {mean.style}: EMI may show that instead of content.{beside}"
    excluded = len(pair.scenarios) - n
    return sentence + (f" {plural(excluded, 'scenario')} could not be compared." if excluded else "")


def _free_of_style(new: str, free: ComparedRow) -> str:
    """Say which way EMI free of style differs. No number is given: its nats are those of another critic."""
    if free.low is None or free.high is None or free.low <= 0 <= free.high:
        return "Free of style, EMI shows no difference."
    return f"Free of style, the EMI of {new} is {'higher' if free.low > 0 else 'lower'}."


def quarantine_sentence(reason: str) -> str:
    try:
        return QUARANTINE[Reason(reason)]
    except ValueError:
        return "No description."


def measure(path: str) -> str:
    """Return the name of a measure in words: `bounds.scaled.value` -> Scaled bound."""
    parts = [part for part in path.split(".") if part not in {"bounds", "divergences", "value"}]
    for part in reversed(parts):
        if part in MEASURE:
            return MEASURE[part]
    if len(parts) == 2 and parts[0] in MODALITY:
        return f"{MODALITY[parts[0]]}: {parts[1]}"
    return MODALITY.get(path, path)


def family(name: str | None) -> str:
    return FAMILY.get(name or "", name or "Other")


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return each name without the beginning that all share, up to a separator: published names share a long
    beginning."""
    unique = list(dict.fromkeys(names))
    if len(unique) < 3:
        return {name: name for name in unique}
    low, high = min(unique), max(unique)
    same = next(
        (i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high))
    )
    cut = max(low[:same].rfind(separator) for separator in "_-./ ") + 1
    if cut < 10 or any(len(name) == cut for name in unique):
        cut = 0
    return {name: name[cut:] for name in unique}
