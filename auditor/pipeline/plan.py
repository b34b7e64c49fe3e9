"""A plan says what a run would do and cost (rows, prompts, calls, tokens, hours, money), and does none of it.

A plan refuses what the run would refuse, by the same checks (`auditor.pipeline.checks`).
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from auditor.generators.rates import BYTES_A_TOKEN, prompt_tokens
from auditor.graders import check_named
from auditor.pipeline.baseline import LEAST_PAIRS, no_critic
from auditor.pipeline.checks import (
    check_encoders,
    check_same_encoders,
    check_scenarios,
    known_identities,
    unanswered_scenarios,
)
from auditor.pipeline.gather import REFERENCE, gather_reference, gather_traffic
from auditor.profiles.baseline import load
from auditor.profiles.rows import answers, image_items, input_texts, prompt
from auditor.records import records_from_table
from auditor.scenarios import check_recorded, gather, sources
from auditor.scenarios.reading import NOT_READ, Reading, reading_notes
from auditor.scenarios.row_ranges import first_rows
from auditor.storage.run_dir import RunDir
from auditor.storage.work_units import text_item
from schemas.config import (
    AuditConfig,
    BaselineConfig,
    CriticConfig,
    DriftConfig,
    EndpointConfig,
    JobConfig,
    ModelConfig,
)
from schemas.record import Record

SHOWN_WINDOWS = 40
"""Windows that have a line of their own in a plan."""


@dataclass(frozen=True)
class Scope:
    """One scenario adds this to the contents of those before it."""

    scenario: str
    family: str
    rows: int
    quarantined: int
    prompts: int
    images: int
    texts: int
    prompt_tokens: int
    """Estimated, of the texts of its new prompts."""
    prompt_images: int
    """Images in its new prompts."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Reason -> quarantined rows."""
    reading: Reading = NOT_READ
    """What reading its rows found beside the records."""


@dataclass(frozen=True)
class Cost:
    """Generating one model's answers takes this. Nothing is subtracted for answers that are kept already, and
    nothing added for further tries."""

    model: str
    generator: str
    calls: int
    """Requests (an endpoint) or prompts; a server that knows no `n` is asked once a sample."""
    tokens_in: int
    """Estimated (see BYTES_A_TOKEN and endpoint.tokens_per_image)."""
    tokens_out: int
    """At most: every answer as long as max_new_tokens."""
    hours: float | None
    """At least, by the rates that are set; None where none is."""
    price: float | None
    """With `tokens_out`; None where no price is set."""


def survey(config: AuditConfig) -> list[Scope]:
    """Read and check the records (into a temporary folder); nothing else is done. Raises `BadInput` where the
    audit would not begin."""
    check_encoders(config.encoders, config.workers)
    scopes: list[Scope] = []
    prompts: set[str] = set()
    images: set[str] = set()
    texts: set[str] = set()
    with _temporary_run() as run:
        scenarios = [gather(source, run, config.data) for source in sources(config, run)]
        check_scenarios(scenarios)
        check_recorded([m.name for m in config.models if m.generator is None], scenarios)
        for scenario in scenarios:
            before = len(prompts), len(images), len(texts)
            tokens = pictures = 0
            for batch in scenario.batches():
                for item in map(prompt, batch):
                    if item.key not in prompts:
                        prompts.add(item.key)
                        tokens += prompt_tokens(item.text, item.history, 0, 0)
                        pictures += len(item.images)
                images.update(item.key for item in image_items(batch))
                texts.update(item.key for item in input_texts(batch))
            scopes.append(
                Scope(
                    scenario.name,
                    scenario.family,
                    scenario.n,
                    len(scenario.quarantine()),
                    len(prompts) - before[0],
                    len(images) - before[1],
                    len(texts) - before[2],
                    tokens,
                    pictures,
                    scenario.quarantine().counts(),
                    scenario.reading,
                )
            )
    return scopes


def cost(model: ModelConfig, scopes: list[Scope]) -> Cost:
    """Return the cost of a model that generates."""
    endpoint = model.endpoint
    prompts = sum(scope.prompts for scope in scopes)
    image_tokens = (endpoint or _DEFAULTS).tokens_per_image
    into = sum(scope.prompt_tokens + scope.prompt_images * image_tokens for scope in scopes)
    out = prompts * model.samples * model.max_new_tokens
    hours = price = None
    if endpoint is not None:
        by_rate = [
            amount / rate / 60
            for amount, rate in (
                (prompts, endpoint.requests_per_minute),
                (into + out, endpoint.tokens_per_minute),
            )
            if rate is not None
        ]
        hours = max(by_rate, default=None)
        prices = endpoint.price_per_million_tokens_in, endpoint.price_per_million_tokens_out
        if any(value is not None for value in prices):
            price = (into * (prices[0] or 0.0) + out * (prices[1] or 0.0)) / 1e6
    return Cost(model.name, model.generator or "", prompts, into, out, hours, price)


_DEFAULTS = EndpointConfig(url="http://localhost")


@contextmanager
def _temporary_run() -> Iterator[RunDir]:
    """Open a temporary run directory."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder))
        run.open()
        yield run


def plan(config: JobConfig) -> Group:
    """Return for the terminal what the job of this config would do. Raises `BadInput` where the job would."""
    if isinstance(config, AuditConfig):
        return audit_plan(config)
    if isinstance(config, BaselineConfig):
        return baseline_plan(config)
    assert isinstance(config, DriftConfig)
    return drift_plan(config)


@dataclass
class Contents:
    """These contents of some records are to be embedded, as keys, each once."""

    images: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    pairs: int = 0
    """Pairs of an input with the model's response, and of an input with a reference."""

    def add(self, records: Sequence[Record], model: str | None) -> None:
        self.images.update(item.key for item in image_items(records))
        self.texts.update(item.key for item in input_texts(records))
        for record, responses in zip(records, answers(records, model or "", None), strict=True):
            answered = bool(responses and responses[0].strip())
            if answered:
                self.texts.add(text_item(responses[0]).key)
            self.pairs += answered + (record.reference is not None)


def baseline_plan(config: BaselineConfig) -> Group:
    """Return what `auditor baseline build` would do."""
    check_encoders(config.encoders, config.workers)
    with _temporary_run() as run:
        reference = gather_reference(config, run)
        scenario, contents = reference.scenario, Contents()
        for batch in scenario.batches():
            contents.add(batch, reference.model)
        reasons = scenario.quarantine().counts()
        notes = _notes([scenario.reading])
    table = _table(
        "what would be done", ("records",), ("rows", "set aside", "images", "texts, answers among them")
    )
    images = len(contents.images) if config.encoders.image is not None else 0
    counts = (scenario.n, sum(reasons.values()), images, len(contents.texts))
    table.add_row(REFERENCE, *(f"{count:,}" for count in counts))
    learned = (
        _critics(config.critic)
        if contents.pairs >= LEAST_PAIRS
        else f"no critic: {no_critic(contents.pairs)}"
    )
    responses = f"responses of {reference.model}" if reference.model else "no responses"
    table.caption = (
        f"{responses}; {contents.pairs:,} pairs of a query and an answer; {learned}{_reasons(reasons)}"
    )
    return Group(table, *notes)


def drift_plan(config: DriftConfig) -> Group:
    """Return what `auditor drift` would do."""
    baseline = load(Path(config.baseline))
    manifest = baseline.manifest
    check_encoders(manifest.config.encoders, config.workers)
    with _temporary_run() as run:
        traffic = gather_traffic(config, run, manifest.config.shards.stream)
        pictures = traffic.survey.images and "image" in manifest.encoders
        used = ["text", *(["image"] if pictures else [])]
        known = known_identities(manifest.config.encoders, used)
        check_same_encoders(baseline.folder, manifest.encoders, known, whole=False)
        table = _table("what would be done", ("window",), ("rows", "images", "texts, answers among them"))
        totals = Counter[str]()
        for number, part in enumerate(traffic.parts):
            contents = Contents()
            for rows in first_rows(part):
                contents.add(list(records_from_table(rows)), traffic.model)
            images = len(contents.images) if pictures else 0
            totals.update(rows=part.n, images=images, texts=len(contents.texts))
            if number < SHOWN_WINDOWS:
                counts = (part.n, images, len(contents.texts))
                table.add_row(part.window.name, *(f"{count:,}" for count in counts))
        reasons = traffic.scenario.quarantine().counts()
        notes = _notes([traffic.scenario.reading])
    remaining = len(traffic.parts) - SHOWN_WINDOWS
    if remaining > 0:
        table.add_row(f"and {remaining:,} more", "", "", "")
    learned = f"{len(manifest.critics)} critics" if manifest.critics else f"no critic: {manifest.no_critic}"
    responses = f"responses of {traffic.model}" if traffic.model else "no responses"
    table.caption = (
        f"contents of each window. In all: {len(traffic.parts):,} windows, {totals['rows']:,} rows, "
        f"{totals['images']:,} images and {totals['texts']:,} texts to embed; {responses}. Of the baseline "
        f"of {manifest.n:,} rows: {learned}, none to be trained{_reasons(reasons)}"
    )
    return Group(table, *notes)


def _notes(readings: list[Reading]) -> list[Text]:
    """Return what is said of how the rows were read, a line each; none of it is markup."""
    return [Text(f"  {note}") for note in reading_notes(readings)]


def _critics(config: CriticConfig) -> str:
    return f"{config.seeds * (config.cross_fit or 1)} critics of {config.steps:,} steps to train"


def _reasons(reasons: Mapping[str, int]) -> str:
    """Return the quarantined rows by their reason, as the end of a sentence."""
    if not reasons:
        return ""
    return f"; set aside: {', '.join(f'{reason} {count:,}' for reason, count in reasons.items())}"


def _summed(reasons: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for counts in reasons:
        total.update(counts)
    return dict(total)


def audit_plan(config: AuditConfig) -> Group:
    """Return what `auditor audit` would do, and what the answers cost."""
    check_named(config.grader)
    scopes = survey(config)
    generating = [model for model in config.models if model.generator is not None]
    parts: list[Table | str] = [_work(config, scopes, len(generating))]
    if generating:
        parts.append(_costs([cost(model, scopes) for model in generating]))
    return Group(*parts, *unanswered_scenarios(config), *_notes([scope.reading for scope in scopes]))


def _work(config: AuditConfig, scopes: list[Scope], generating: int) -> Table:
    table = _table(
        "what would be done",
        ("scenario", "family"),
        ("rows", "set aside", "prompts a model", "images", "queries and references"),
    )
    for s in scopes:
        counts = (s.rows, s.quarantined, s.prompts, s.images, s.texts)
        table.add_row(s.scenario, s.family, *(f"{count:,}" for count in counts))
    prompts, images, texts = (
        sum(getattr(s, name) for s in scopes) for name in ("prompts", "images", "texts")
    )
    table.caption = (
        f"new contents a scenario. In all: {prompts:,} prompts to each of {generating} generating models "
        f"({len(config.models) - generating} recorded), {images:,} images and {texts:,} texts to embed, "
        f"besides the answers; {_critics(config.critic)}{_reasons(_summed(s.reasons for s in scopes))}"
    )
    return table


def _costs(costs: list[Cost]) -> Table:
    table = _table(
        "what the answers cost",
        ("model", "generator"),
        ("calls", "tokens in, about", "tokens out, at most", "hours, at least", "price, at most"),
    )
    for c in costs:
        table.add_row(
            c.model,
            c.generator,
            f"{c.calls:,}",
            f"{c.tokens_in:,}",
            f"{c.tokens_out:,}",
            "no rate set" if c.hours is None else f"{c.hours:,.2f}",
            "no price set" if c.price is None else f"{c.price:,.2f}",
        )
    table.caption = (
        f"a token for {BYTES_A_TOKEN} bytes of text, and endpoint.tokens_per_image (else "
        f"{_DEFAULTS.tokens_per_image}) an image; hours by the rates that are set; the price in the currency "
        "of the config's prices. Tries again are not in it, and answers that are kept already not taken off"
    )
    return table


def _table(title: str, names: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    for name in names:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table
