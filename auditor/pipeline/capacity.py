"""This module computes what a load needs (GPUs, cores, network, storage, driver memory) from costs a record.

Every formula is a rate times a cost: nothing here queues or waits, so needs are what must be *busy*, and a
plant wants the usual reserve on top. `docs/design/scale.md` has the costs, measured and assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY = 86_400.0
FLOAT32, FLOAT64 = 4, 8
MODALITIES = 5
"""Sketched: image, text, x, response, reference."""
CONTENTS = 4
"""Embedded: image, query, response, reference."""
PAIRS = 3
"""CLUB sums a critic."""
BLOCKS = 60


@dataclass(frozen=True)
class Load:
    """A load is what comes in a day, for one model."""

    records: float
    """a day"""
    image_bytes: float
    """a record, encoded"""
    text_bytes: float
    """a record: query, answer, reference and ids, as stored"""
    prompt_tokens: float
    """a record, image tokens included"""
    answer_tokens: float
    """a record"""


@dataclass(frozen=True)
class Costs:
    """Each cost is what one item takes: seconds of a busy device, or bytes."""

    generate_prompt: float
    """GPU seconds a prompt token"""
    generate_answer: float
    """GPU seconds an answer token"""
    embed_image: float
    """GPU seconds an image"""
    embed_text: float
    """core seconds a text (layer 0 of the published encoder is a table: no GPU)"""
    decode_image: float
    """core seconds an image"""
    read: float
    """core seconds a record: parsing, writing and reading again; in the driver"""
    admit: float
    """core seconds an image: path, header and digest; in the driver, where threads do not add to it"""
    sketch: float
    """core seconds a record: second moments and row sample, and adding up inside a worker"""
    club: float
    """core seconds a record and critic: CLUB sums of the three pairs"""
    merge: float
    """driver seconds a shard's sketch: reading and adding"""
    plan_bytes: float
    """of driver memory a record that is planned"""


@dataclass(frozen=True)
class Setup:
    """A setup says how the work is cut and how much is kept."""

    dim: int = 768
    critics: int = 3
    sample: int = 2_000
    """rows"""
    shard: int = 4_096
    """rows a sketch shard"""
    window: float = 1 / 24
    """days a job holds in its plan at a time"""
    driver_memory: float = 64e9
    """B"""
    driver_link: float = 10e9 / 8
    """B/s"""


@dataclass(frozen=True)
class Needs:
    """Needs are counted in busy devices, bytes a second, bytes a day, or bytes."""

    generate_gpus: float
    embed_gpus: float
    text_cores: float
    decode_cores: float
    admit_cores: float
    read_cores: float
    sketch_cores: float
    merge_share: float
    """of the one driver's time"""
    network_in: float
    """B/s: records and images into the workers"""
    network_sketches: float
    """B/s: shards' sketches to the driver"""
    stored_records: float
    """B a day: texts and ids"""
    stored_embeddings: float
    """B a day, where they are kept"""
    stored_sketches: float
    """B a day while shards' sketches are kept for resuming"""
    driver_memory: float
    """B: the plan of one window, and a few sketches"""


def sketch_bytes(setup: Setup) -> float:
    """Return the bytes of one shard's sketch: row sample, CLUB sums by block, and the halves of second
    moments where there are more rows than the sample holds. They are the same for any number of rows above
    `sample`.

    Arrays that are equal are written once: the sums of the answers (a pair: the same for every critic) and
    those of a critic's answers to the queries (the same for both pairs over the labelled rows). Queries are
    made of images and texts. Compression, which files without moments have, is left out.
    """
    d, m = setup.dim, min(setup.sample, setup.shard)
    moments = MODALITIES * (d * (d + 1) / 2 + d) * FLOAT64 if setup.shard > setup.sample else 0.0
    answers = PAIRS * 2 * d if setup.critics else 0
    club = BLOCKS * (answers + setup.critics * ((PAIRS - 1) * 2 * d + PAIRS * 2)) * FLOAT64
    rows = m * (CONTENTS * d + 2 * CONTENTS) * FLOAT32
    return float(moments + club + rows)


def embedding_bytes(setup: Setup) -> float:
    """Return the bytes of one record's embeddings: a vector, its norm and its key (64 hexadecimal digits) a
    content."""
    return float(CONTENTS * (setup.dim * FLOAT32 + FLOAT32 + 64))


def needs(load: Load, costs: Costs, setup: Setup) -> Needs:
    """Return what the load needs, busy all day."""
    rate = load.records / DAY
    shards = rate / setup.shard
    generate = load.prompt_tokens * costs.generate_prompt + load.answer_tokens * costs.generate_answer
    return Needs(
        generate_gpus=rate * generate,
        embed_gpus=rate * costs.embed_image,
        text_cores=rate * (CONTENTS - 1) * costs.embed_text,
        decode_cores=rate * costs.decode_image,
        admit_cores=rate * costs.admit,
        read_cores=rate * costs.read,
        sketch_cores=rate * (costs.sketch + setup.critics * costs.club),
        merge_share=shards * costs.merge,
        network_in=rate * (load.image_bytes + load.text_bytes),
        network_sketches=shards * sketch_bytes(setup),
        stored_records=load.records * load.text_bytes,
        stored_embeddings=load.records * embedding_bytes(setup),
        stored_sketches=load.records / setup.shard * sketch_bytes(setup),
        driver_memory=load.records * setup.window * costs.plan_bytes + 3 * sketch_bytes(setup),
    )


def ceilings(load: Load, costs: Costs, setup: Setup) -> dict[str, float]:
    """Return the records a day at which each thing that there is only one of is busy all day (or full). More
    workers do not help there. The least of them is the first bottleneck."""
    per_record = sketch_bytes(setup) / setup.shard
    return {
        "admitting images in the driver": DAY / (costs.read + costs.admit),
        "reading records in the driver": DAY / costs.read,
        "the driver's link, images as bytes": DAY * setup.driver_link / (load.image_bytes + load.text_bytes),
        "the driver's link, sketches": DAY * setup.driver_link / per_record,
        "merging sketches in the driver": DAY * setup.shard / costs.merge,
        "the plan in the driver's memory": setup.driver_memory / (costs.plan_bytes * setup.window),
    }
