"""What a run would do and cost: rows, prompts, calls, tokens, hours, money, without doing any of it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.table import Table

from auditor.generators.rates import BYTES_A_TOKEN, prompt_tokens
from auditor.graders import check_named
from auditor.profiles.rows import image_items, input_texts, prompt
from auditor.scenarios import gather, sources
from auditor.storage.run_dir import RunDir
from schemas.config import AuditConfig, EndpointConfig, ModelConfig


@dataclass(frozen=True)
class Scope:
    """What one scenario adds to the contents of those before it."""

    scenario: str
    family: str
    rows: int
    aside: int
    prompts: int
    images: int
    texts: int
    prompt_tokens: int
    """Estimated, of the texts of its new prompts."""
    prompt_images: int
    """Images in its new prompts."""


@dataclass(frozen=True)
class Cost:
    """What generating one model's answers takes. Nothing is taken off for answers that are kept already, and
    nothing put on for tries again."""

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
    """Reads and checks the records (into a temporary folder that goes again); nothing else is done."""
    found: list[Scope] = []
    prompts: set[str] = set()
    images: set[str] = set()
    texts: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir(Path(folder))
        run.open()
        for source in sources(config, run):
            scenario = gather(source, run, config.data)
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
            found.append(
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
                )
            )
    return found


def cost(model: ModelConfig, scopes: list[Scope]) -> Cost:
    """Of a model that generates."""
    asked = model.endpoint
    prompts = sum(scope.prompts for scope in scopes)
    each = (asked or _DEFAULTS).tokens_per_image
    into = sum(scope.prompt_tokens + scope.prompt_images * each for scope in scopes)
    out = prompts * model.samples * model.max_new_tokens
    hours = price = None
    if asked is not None:
        by_rate = [
            amount / rate / 60
            for amount, rate in ((prompts, asked.requests_per_minute), (into + out, asked.tokens_per_minute))
            if rate is not None
        ]
        hours = max(by_rate, default=None)
        prices = asked.price_per_million_tokens_in, asked.price_per_million_tokens_out
        if any(value is not None for value in prices):
            price = (into * (prices[0] or 0.0) + out * (prices[1] or 0.0)) / 1e6
    return Cost(model.name, model.generator or "", prompts, into, out, hours, price)


_DEFAULTS = EndpointConfig(url="http://localhost")


def audit_plan(config: AuditConfig) -> Group:
    """For the terminal: what there is to do, and what the answers cost."""
    check_named(config.grader)
    scopes = survey(config)
    generating = [model for model in config.models if model.generator is not None]
    tables = [_work(config, scopes, len(generating))]
    if generating:
        tables.append(_costs([cost(model, scopes) for model in generating]))
    return Group(*tables)


def _work(config: AuditConfig, scopes: list[Scope], generating: int) -> Table:
    table = _table(
        "what would be done",
        ("scenario", "family"),
        ("rows", "set aside", "prompts a model", "images", "queries and references"),
    )
    for s in scopes:
        counts = (s.rows, s.aside, s.prompts, s.images, s.texts)
        table.add_row(s.scenario, s.family, *(f"{count:,}" for count in counts))
    critics = config.critic.seeds * (config.critic.cross_fit or 1)
    prompts, images, texts = (
        sum(getattr(s, name) for s in scopes) for name in ("prompts", "images", "texts")
    )
    table.caption = (
        f"new contents a scenario. In all: {prompts:,} prompts to each of {generating} generating models "
        f"({len(config.models) - generating} recorded), {images:,} images and {texts:,} texts to embed, "
        f"besides the answers; {critics} critics of {config.critic.steps:,} steps"
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
