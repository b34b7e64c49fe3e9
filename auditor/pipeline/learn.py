"""Audit and baseline share these steps: vectors, critics, and profiles of reference records and others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from auditor.errors import BadInput
from auditor.graders import Choice
from auditor.pipeline.critics import Trained, train
from auditor.pipeline.embed import embed, embed_images
from auditor.pipeline.partition import partitioned
from auditor.pipeline.profile import KeptVectors, content, pool_of, profile, surveyed, used_encoders
from auditor.pipeline.workers.measures import Files
from auditor.pipeline.workers.profiles import ModelAnswers
from auditor.pipeline.workplace import Workplace
from auditor.profiles.profile import GroupKey, Profile, folded
from auditor.profiles.rows import answer_items, answers, input_texts
from auditor.profiles.training_pairs import choose_pairs
from auditor.profiles.usable_rows import add_set_aside, usable_rows
from auditor.records import Quarantine
from auditor.scenarios import Scenario, records_of
from auditor.scenarios.row_ranges import in_order
from auditor.scenarios.windows import Splitter
from auditor.sketch.merge_tree import tree_merge
from auditor.storage.response_store import ResponseStore
from auditor.storage.work_units import ContentItem
from schemas.config import CriticConfig, EncodersConfig, IndexConfig


@dataclass(frozen=True)
class Learned:
    """This is known of records once they have been profiled."""

    scenarios: list[Scenario]
    """The scenarios, with the parts of natural pools in their place."""
    files: Mapping[GroupKey, Files]
    profiles: Mapping[GroupKey, Profile]
    """Merged from `files`, and the first scenario's from `windows` where it is cut."""
    quarantine: Quarantine
    """Every row that was quarantined since the records were read."""
    content: str
    """Digest of every record."""
    encoders: dict[str, str]
    """Modality -> identity; no image where no record has one."""
    trained: Trained
    sampled: int | None
    """Records that the critic was trained on; None: all of them."""
    windows: Mapping[GroupKey, Files]
    """The files of each window of the first scenario, in their order, where it is cut into windows."""


def learn(
    workplace: Workplace,
    scenarios: Sequence[Scenario],
    models: Sequence[ModelAnswers],
    stores: Mapping[str, ResponseStore | None],
    encoders: EncodersConfig,
    critic: CriticConfig,
    *,
    grader: Choice,
    row_sample: int,
    seed: int,
    index: IndexConfig | None = None,
    least_pairs: int = 0,
    split: Splitter | None = None,
) -> Learned:
    """Embed, train and profile. The first scenario is the reference; `stores` hold each model's answers, None
    where the records have them. Fewer than `least_pairs` pairs train no critic.

    Where the critic is trained on the pairs of all rows, embeddings are kept and read again; where it is
    trained on a sample of records, all of them stream by after that, and no embedding is kept.
    `split` cuts the first scenario into windows, which are profiled apart; its profile is merged from theirs.
    """
    whole = critic.train_on == "pool"
    pool = list(scenarios) if whole else _sample(workplace, scenarios, critic, seed)
    images = embed_images(workplace, encoders.image, pool)
    texts = embed(workplace, encoders.text, "text", lambda: _texts(pool, stores))
    if whole and index is not None:
        scenarios = pool = partitioned(workplace, scenarios, images, texts, index, seed)
    plans, unusable = usable_rows(pool, stores, images.open() if images else None, texts.open())
    _check_reference(pool[0].name, any(plans[GroupKey(pool[0].name, m)] for m in stores), unusable)
    pairs = choose_pairs(plans, critic.max_rows, seed, critic.pairs)
    trained = Trained((), len(pairs))
    if len(pairs) >= least_pairs:
        trained = train(workplace, critic, pairs, images, texts, seed)
    del plans, pairs  # the only things here that grow with the rows
    surveys = surveyed(workplace, scenarios, split)
    parts = [part for survey in surveys for part in in_order(survey.parts)]
    files = profile(
        workplace,
        parts,
        KeptVectors(texts, images) if whole else used_encoders(workplace, encoders, surveys, images),
        trained.paths,
        models,
        sample=row_sample,
        grader=grader,
        answers=row_sample,
        with_texts=any(s.texts for s in surveys) or any(store is not None for store in stores.values()),
    )
    windows: dict[GroupKey, Files] = {}
    if split is not None:
        names = {part.window.name for part in surveys[0].parts}
        windows = {key: paths for key, paths in files.items() if key.scenario in names}
        files = {key: paths for key, paths in files.items() if key not in windows}
    profiles = {key: folded(paths) for key, paths in files.items()}
    for model in stores if windows else ():
        of_model = (paths for key, paths in windows.items() if key.model == model)
        merged = tree_merge((1, folded(paths)) for paths in of_model)
        profiles[GroupKey(scenarios[0].name, model)] = Profile.empty() if merged is None else merged
    quarantine = _all_quarantined(scenarios, profiles)
    first = scenarios[0].name
    _check_reference(first, any(p.n for key, p in profiles.items() if key.scenario == first), quarantine)
    return Learned(
        list(scenarios),
        files,
        profiles,
        quarantine,
        content(parts),
        {"text": texts.identity} | ({"image": images.identity} if images else {}),
        trained,
        None if whole else sum(s.n for s in pool),
        windows,
    )


def _sample(
    workplace: Workplace, scenarios: Sequence[Scenario], critic: CriticConfig, seed: int
) -> list[Scenario]:
    """Return the records that the critic is trained on, where these are a sample."""
    if cut := [s.name for s in scenarios if s.partition]:
        raise BadInput(
            f"data.scenarios.{cut[0]}.partition needs every image embedded before it is known which rows are "
            "in it; set critic.train_on: pool"
        )
    return pool_of(workplace.run, scenarios, critic, seed)


def _texts(
    scenarios: Sequence[Scenario], stores: Mapping[str, ResponseStore | None]
) -> Iterator[ContentItem]:
    """Yield queries and references, then each model's answers (see `answer_items`)."""
    yield from input_texts(records_of(scenarios))
    for model, store in stores.items():
        for scenario in scenarios:
            for batch in scenario.batches():
                for responses in answers(batch, model, store):
                    yield from answer_items(responses)


def _all_quarantined(scenarios: Sequence[Scenario], profiles: Mapping[GroupKey, Profile]) -> Quarantine:
    """Return every quarantined row. A row whose inputs are not usable counts once, whatever the number of
    models."""
    quarantine = Quarantine(row for s in scenarios for row in s.quarantine())
    counted: set[str] = set()
    for key, group in profiles.items():
        add_set_aside(quarantine, group.set_aside, key.model if key.scenario in counted else None)
        counted.add(key.scenario)
    return quarantine


def _check_reference(name: str, usable: bool, quarantine: Quarantine) -> None:
    if not usable:
        raise BadInput(f"nothing to audit: no usable row in {name}; {quarantine.why_empty()}")
