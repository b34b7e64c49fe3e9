"""The typed config of every job: defaults live here, unknown keys are errors."""

from __future__ import annotations

import json
import re
from datetime import date
from hashlib import blake2b
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    not_here: ClassVar[str] = ""
    """Why a key that another job has in this section is an error in this one."""


class _Named(_Model):
    """Of something that is found by its name in a registry: options are its own, and it validates them."""

    options: dict[str, JsonValue] = Field(
        default_factory=dict, description="Settings that this one alone has (a package's own encoder, ...)."
    )

    left_out: ClassVar[tuple[str, ...]] = ("options",)
    """Keys that are not dumped where they have their default."""

    @model_serializer(mode="wrap")
    def _brief(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without empty options and other keys of `left_out` that are not set: what is dumped is hashed, and
        must not change where there are none."""
        dumped = cast(dict[str, Any], handler(self))
        for key in self.left_out:
            if getattr(self, key) == type(self).model_fields[key].get_default(call_default_factory=True):
                dumped.pop(key, None)
        return dumped


class Perturbation(_Named):
    """One synthetic perturbation and how strong it is."""

    shift: str = Field(description="Name of a shift: blur, frost, keyboard, or another package's.")
    severity: int = Field(3, ge=1, le=5)


Partitioning = Literal["mean", "nearest"]


class ScenarioSpec(_Model):
    """Where a scenario's records come from: a file, a perturbation of the ID records, or the lab."""

    path: str | None = Field(
        None, description="File, folder or glob of records (docs/records.md says of which kinds)."
    )
    shifts: tuple[Perturbation, ...] = Field(
        (), description="Perturbations applied to the ID records, in order."
    )
    partition: Partitioning | None = Field(
        None,
        description="Split into easy / normal / hard by distance from the ID records. mean (or true): mean "
        "cosine distance to all of them, as in the paper. nearest: to the nearest one (see `index`).",
    )
    language: str | None = Field(None, description="lab: language of the questions.")
    pool: str | None = Field(
        None, description="lab: natural (other-looking scenes) or new-mix (other proportions of known types)."
    )
    n: int | None = Field(None, ge=1, description="lab: number of records (default: data.n).")
    family: str | None = Field(
        None, description="visual, text, joint, natural or mix, for the report's grouping."
    )

    @field_validator("partition", mode="before")
    @classmethod
    def _yes_or_no(cls, value: object) -> object:
        return {True: "mean", False: None}[value] if isinstance(value, bool) else value


GroupSource = Literal["group", "conversation_id", "image", "base_id"]
"""What ties rows together: a field of the record, or the content of its images."""


class DataConfig(_Named):
    """How the records of every job are read, and what may be opened for them."""

    reader: str = Field(
        "records", description="Name of a reader: records, llavabench, lab, or another package's."
    )
    format: str = Field(
        "auto",
        description="What the rows of files are: records (our own), openai_chat, openai_responses, "
        "openai_batch, otel, langfuse, mlflow, llava, question_answer, webdataset, lmms_eval, inspect, or "
        "another package's. auto: told from the first rows of each file, and said.",
    )
    map: dict[str, str | tuple[str, ...] | dict[str, str]] | None = Field(
        None,
        description="For rows of any other format: field -> where it stands in a row, as a JSONPath such as "
        "$.request.messages[-1].content, or a list of them. Files in which no input is found so are told "
        "as by format: auto.",
    )
    root: str | None = Field(None, description="llavabench: folder with the questions, answers and images.")
    media_root: str | None = Field(None, description="Folder that every image path must stay under.")
    url_allow: tuple[str, ...] = Field((), description="URL prefixes that images may be fetched from.")
    url_private: bool = Field(
        False,
        description="Host names in url_allow may lead to private addresses (an image server of one's own "
        "network). An address that url_allow gives as a number needs no such leave.",
    )
    max_image_bytes: int = Field(
        32 * 2**20, ge=1, description="Largest image file; a larger one is quarantined."
    )
    max_image_pixels: int = Field(
        50_000_000,
        ge=1,
        description="Most pixels of an image (width times height, read from its header before anything is "
        "decoded); one with more is quarantined. A phone's photograph may have 64 or 108 million.",
    )
    max_images: int = Field(32, ge=1, description="Most images of a record; one with more is quarantined.")
    max_text_chars: int = Field(
        100_000, ge=1, description="Longest query, turn, reference or answer; a longer one is quarantined."
    )
    n: int = Field(400, ge=2, description="lab: records per scenario.")
    group_by: Literal["auto"] | tuple[GroupSource, ...] = Field(
        "auto",
        description="What ties rows together, so that they are kept together wherever something is inferred: "
        "group, conversation_id, image (the same picture), or several of these; base_id always does, and can "
        "stand alone. auto: group where any record has one, else conversation_id, else repeated base ids, "
        "else repeated images.",
    )

    @field_validator("group_by", mode="before")
    @classmethod
    def _one_source(cls, value: object) -> object:
        """`image` is short for `[image]`."""
        return (value,) if isinstance(value, str) and value != "auto" else value

    @model_validator(mode="after")
    def _one_format(self) -> DataConfig:
        if self.map is not None and self.format != "auto":
            raise ValueError(
                f"data.map: says what rows are, and so does data.format: {self.format}; remove one of them"
            )
        return self

    @model_validator(mode="after")
    def _root(self) -> DataConfig:
        if self.reader == "llavabench" and self.root is None:
            raise ValueError(
                "data.root is missing: the folder of the LLaVA-Bench files (--set data.root=PATH)"
            )
        return self


class BaselineData(DataConfig):
    """The reference records (P): a file, or what the reader has for them."""

    not_here: ClassVar[str] = "a baseline is learned from the reference records alone, data.id"

    id: str | None = Field(
        None,
        description="records: file or glob of the in-distribution records (P); other readers know theirs.",
    )

    @model_validator(mode="after")
    def _id(self) -> BaselineData:
        if self.reader == "records" and self.id is None:
            raise ValueError("data.id is missing: the file of the in-distribution records")
        if self.reader != "records" and self.id is not None:
            raise ValueError(
                f"data.id: the reader {self.reader} has in-distribution records of its own; remove the key, "
                "or set data.reader: records"
            )
        return self


class AuditData(BaselineData):
    """The reference records (P), and the scenarios (Q) that are compared with them."""

    not_here: ClassVar[str] = (
        "an audit compares the scenarios under data.scenarios with the records of data.id"
    )

    scenarios: dict[str, ScenarioSpec] = Field(
        default_factory=dict, description="Name -> where its records come from."
    )

    @field_validator("scenarios", mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        """`name: file.jsonl` is short for `name: {path: file.jsonl}`."""
        if isinstance(value, dict):
            return {k: {"path": v} if isinstance(v, str) else v for k, v in value.items()}
        return value


class DriftData(DataConfig):
    """The traffic that is compared with a baseline."""

    not_here: ClassVar[str] = "drift compares data.traffic with the folder `baseline`"

    traffic: str = Field(
        description="File or glob of the records to compare (--traffic). Other readers: the name of a "
        "published scenario (llavabench), a pool or a language (lab)."
    )


class EncoderConfig(_Named):
    name: str
    pooling: str | None = Field(None, description="Default: as published, or the encoder's own.")
    layer: int | None = Field(None, description="Hidden state that is pooled (0: the embedding layer).")
    batch: int = Field(32, ge=1)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Arithmetic. auto: bfloat16 where the device has it (GPUs of compute capability 8 and "
        "up, CPUs with AMX), else float32; one whose error on a probe is too large gives way to float32.",
    )
    runtime: Literal["torch", "onnx"] = Field(
        "torch",
        description="What computes. onnx: ONNX Runtime (extra onnx), for efficientnet-lite0 on the CPU only.",
    )
    gpus: float = Field(0.25, gt=0, le=1, description="Share of a GPU of one worker, where there are GPUs.")

    left_out: ClassVar[tuple[str, ...]] = ("options", "runtime")

    def own_settings(self) -> dict[str, Any]:
        """What is set of the keys that many encoders have and others refuse."""
        return self.model_dump(include={"pooling", "layer", "runtime"}, exclude_none=True)

    def settings(self) -> dict[str, Any]:
        """What `make_encoder` is given to choose by."""
        return {**self.options, "name": self.name, "precision": self.precision, **self.own_settings()}


def _named(value: object) -> object:
    if isinstance(value, int | float | date) and not isinstance(value, bool):
        raise ValueError(f"the name {value} is read as a number or a date; put it in quotes")
    return {"name": value} if isinstance(value, str) else value


class EncodersConfig(_Model):
    """What contents are embedded by. Both are to be named: whoever audits knows what the records are of."""

    image: EncoderConfig | None = Field(description="null: images are left out.")
    text: EncoderConfig

    @field_validator("image", "text", mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return _named(value)


class VllmConfig(_Model):
    """vLLM's engine."""

    tensor_parallel: int = Field(1, ge=1, description="GPUs that one replica is spread over.")
    gpu_memory_utilization: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Share of a GPU's memory that the engine takes, weights included; of its own part where "
        "replicas share a GPU (gpus).",
    )
    max_model_len: int | None = Field(
        None, ge=1, description="Longest prompt with its answer, in tokens (null: what the model has)."
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto", description="auto: bfloat16 on a GPU that has it (else float16), float32 without a GPU."
    )
    max_num_seqs: int | None = Field(
        None, ge=1, description="Most answers under way at a time (null: as vLLM chooses)."
    )

    @classmethod
    def running(cls) -> set[str]:
        """The settings that say how it runs: they change no answer but in its last bits."""
        return {"gpu_memory_utilization", "max_num_seqs"}


class EndpointConfig(_Model):
    """An OpenAI-compatible server of chat completions. How it is asked (rates, tries, prices) changes no
    answer; what it is asked for (url, model, version, extra) is part of the key that answers are kept by."""

    url: str = Field(description="Up to its version: https://api.openai.com/v1")
    model: str | None = Field(
        None, description="Name that the server knows (default: the model's path or name)."
    )
    version: str | None = Field(
        None,
        description="What is behind the endpoint, in your words. Without it the server is asked (/models, "
        "and /version of a vLLM). With it stored answers are found when the server is gone.",
    )
    api_key_env: str | None = Field(
        "OPENAI_API_KEY",
        pattern=r"^[A-Z_][A-Z0-9_]{0,63}$",
        description="Environment variable of the key, on the machines that ask (null: no key is sent).",
    )
    concurrency: int = Field(8, ge=1, le=1024, description="Requests under way, by the one worker that asks.")
    requests_per_minute: float | None = Field(None, gt=0, allow_inf_nan=False, description="null: no limit.")
    tokens_per_minute: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Of prompts and the longest answers (null: no limit)."
    )
    tokens_per_image: int = Field(600, ge=0, description="What an image is counted as.")
    timeout_seconds: float = Field(60.0, gt=0, le=3600, description="For one request.")
    tries: int = Field(5, ge=1, le=20, description="Of one request, the first among them.")
    total_seconds: float = Field(
        300.0, gt=0, le=86400, description="For all tries of a request and the waits between them."
    )
    backoff_seconds: float = Field(1.0, ge=0, le=60, description="First wait between tries; it doubles.")
    failures: int = Field(
        10,
        ge=1,
        description="Prompts in a row without an answer after which a plain question is put: unanswered too, "
        "the job ends.",
    )
    price_per_million_tokens_in: float | None = Field(None, ge=0, allow_inf_nan=False)
    price_per_million_tokens_out: float | None = Field(None, ge=0, allow_inf_nan=False)
    extra: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Further fields of the request; null leaves a field out, e.g. "
        "{max_tokens: null, max_completion_tokens: 64}.",
    )

    @classmethod
    def asking(cls) -> set[str]:
        """The settings that say how it is asked: they change no answer."""
        return set(cls.model_fields) - {"url", "model", "version", "extra"}

    @field_validator("url")
    @classmethod
    def _base(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            known = False
        if not known:
            raise ValueError("is no http(s) address; write it like https://api.openai.com/v1")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                "holds credentials or a query, which would end in reports; name the variable of the key in "
                "api_key_env"
            )
        return url.rstrip("/").removesuffix("/chat/completions").rstrip("/")

    @field_validator("extra")
    @classmethod
    def _ours(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        taken = sorted({"model", "messages", "n", "stream", "seed", "logprobs"}.intersection(extra))
        if taken:
            raise ValueError(f"{', '.join(taken)} cannot be set here: the auditor sets it")
        return extra

    @model_validator(mode="after")
    def _consistent(self) -> EndpointConfig:
        if self.timeout_seconds > self.total_seconds:
            raise ValueError(
                f"timeout_seconds ({self.timeout_seconds:g}) is for one try, total_seconds "
                f"({self.total_seconds:g}) for all of them: lower the first or raise the second"
            )
        open_line = urlsplit(self.url).scheme == "http" and not _is_here(urlsplit(self.url).hostname or "")
        if open_line and self.api_key_env and "api_key_env" not in self.model_fields_set:
            raise ValueError(
                "url is plain http: set api_key_env to null (no key), or to the variable whose key may "
                "travel in clear, or use https"
            )
        return self


def _is_here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class ModelConfig(_Named):
    """A model under audit. Without a generator its recorded responses are used."""

    name: str
    generator: str | None = Field(
        None,
        description="transformers, vllm, endpoint, or another package's; none for recorded responses.",
    )
    path: str | None = Field(
        None, description="Weights: a local directory or a hub name (default: the name)."
    )
    samples: int = Field(1, ge=1, description="Answers sampled a query.")
    temperature: float = Field(0.0, ge=0.0, description="0: greedy.")
    max_new_tokens: int = Field(64, ge=1)
    batch: int = Field(64, ge=1)
    vllm: VllmConfig | None = Field(None, description="Of generator vllm: its engine.")
    endpoint: EndpointConfig | None = Field(None, description="Of generator endpoint: where and how to ask.")
    replicas: int | Literal["auto"] = Field(
        "auto", description="Workers that hold the model (auto: as many as fit)."
    )
    gpus: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of a GPU of one replica, where there are GPUs: below 1, replicas share GPUs.",
    )

    @model_validator(mode="after")
    def _reached(self) -> ModelConfig:
        if (self.generator == "endpoint") != (self.endpoint is not None):
            raise ValueError(
                f"model {self.name}: `generator: endpoint` and a section `endpoint: {{url: ...}}` go together"
            )
        return self

    @field_validator("replicas")
    @classmethod
    def _some(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("at least 1, or auto")
        return value

    @model_validator(mode="after")
    def _engine(self) -> ModelConfig:
        if self.vllm is not None and self.generator != "vllm":
            raise ValueError(f"model {self.name}: a section `vllm` needs `generator: vllm`")
        if self.generator == "vllm" and "batch" in self.model_fields_set:
            raise ValueError(f"model {self.name}: vllm makes its own batches; set vllm.max_num_seqs")
        if self.vllm is not None and self.vllm.tensor_parallel > 1 and self.gpus < 1:
            raise ValueError(
                f"model {self.name}: a replica of {self.vllm.tensor_parallel} GPUs has them whole"
            )
        return self

    @property
    def gpus_each(self) -> float:
        """GPUs of one replica, where there are GPUs."""
        return float(self.vllm.tensor_parallel) if self.vllm and self.vllm.tensor_parallel > 1 else self.gpus

    @model_validator(mode="after")
    def _samples(self) -> ModelConfig:
        if self.samples > 1 and self.temperature == 0.0:
            raise ValueError(f"model {self.name}: samples > 1 needs a temperature above 0")
        return self


class CriticConfig(_Named):
    estimator: str = Field(
        "club", description="club, infonce, nwj, mine, gaussian, or one that another package adds."
    )
    hidden: int = Field(250, ge=1)
    activation: Literal["tanh", "relu"] = "tanh"
    steps: int = Field(1500, ge=1)
    batch: int = Field(1024, ge=2)
    lr: float = Field(1e-3, gt=0)
    early_stopping: bool = Field(
        False,
        description="Hold out a tenth of the base ids and stop by their likelihood. Off: as in the paper the "
        "critic is trained on the rows it is evaluated on (fair between scenarios that are all in the pool).",
    )
    cross_fit: int = Field(
        0,
        ge=0,
        le=30,
        description="Folds of base ids, 2 or more (0: none): a critic a fold is trained on all the others, "
        "and no row is evaluated by a critic that saw it. Costs as many trainings.",
    )
    seeds: int = Field(3, ge=1, description="Critics trained; EMI is the mean, its spread is reported.")
    max_rows: int = Field(
        200_000, ge=2, description="Pairs in the training pool: a seeded sample beyond that."
    )
    pairs: Literal["both", "references"] = Field(
        "both",
        description="both: the pairs of every answer and every correct answer, as in the paper. references: "
        "of the correct answers alone, so that no model's style is learned. Reports hold EMI by critics in "
        "closed form of correct answers (`emi_forms`) beside either.",
    )
    train_on: Literal["pool", "sample"] = Field(
        "pool",
        description="pool: the pairs of all records; every content is embedded and kept for a second pass. "
        "sample: of a seeded sample of records, embedded first; then all records stream by and no embedding "
        "is kept. A content that several scenarios share is then embedded in each of them.",
    )
    sample_rows: int = Field(
        20_000, ge=20, description="train_on: sample: records in it, of all scenarios together."
    )

    @model_validator(mode="after")
    def _folds(self) -> CriticConfig:
        if self.cross_fit == 1:
            raise ValueError("critic.cross_fit: one fold leaves nothing to train on; 0 (none) or at least 2")
        return self


class BaselineCritic(CriticConfig):
    """A baseline's critic. Windows are never in its pool: a critic that knows the baseline's rows by heart
    would favour them, so that it is cross-fitted and stopped early."""

    early_stopping: bool = Field(
        True, description="Hold out a tenth of the base ids and stop by their likelihood."
    )
    cross_fit: int = Field(
        5,
        ge=0,
        le=30,
        description="Folds of base ids, 2 or more (0: none): a critic a fold is trained on all the others.",
    )


class ThresholdsConfig(_Model):
    """When a window fails."""

    not_here: ClassVar[str] = "a window is judged by its p-values (thresholds.p_value)"

    p_value: float = Field(0.01, gt=0, lt=1, description="Adjusted p-value at which a modality has moved.")
    min_rows: int = Field(50, ge=2, description="Below this a verdict is undecided.")
    max_left_out: float = Field(
        0.2,
        ge=0,
        le=1,
        description="A window or scenario fails where more than this share of its rows could not be used.",
    )


class DriftThresholds(ThresholdsConfig):
    """When a window of traffic fails."""

    not_here: ClassVar[str] = "a window is judged by its p-values (thresholds.p_value)"

    emid: float | None = Field(
        None,
        description="A window fails where all of its interval of EMID (nats) lies above this. Further above "
        "zero than in one quiet window of windows_between_alarms is a warning, where the critic is "
        "cross-fitted.",
    )
    windows_between_alarms: float | None = Field(
        None,
        ge=2,
        allow_inf_nan=False,
        description="Where the baseline keeps ten windows or more: least mean number of windows between "
        "false alarms (null: the windows of 365 days; 365 where they are counted in rows).",
    )


class AuditThresholds(ThresholdsConfig):
    """When a scenario fails. `p_value` fails none: it says which scenarios are looked into for where the
    difference lies."""

    emid: float | None = Field(None, description="EMID (nats) above which a scenario fails.")
    partial_bound: float | None = Field(
        None, description="Label-free partial bound above which a scenario fails."
    )


class ComparisonConfig(_Model):
    """With two or more models: each of them against the current one."""

    current: str | None = Field(
        None, description="Name of the model that the others are compared with (default: the first)."
    )
    margin: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Mean EMI (nats) that a model may lose and still be no worse (null: no such verdict).",
    )


class BoundsConfig(_Model):
    """What the bounds with an entropy are made with."""

    not_here: ClassVar[str] = (
        "the conditional divergences of Theorem 4.6 are measured between the scenarios of an audit"
    )

    symbols: int = Field(
        8, ge=2, le=4096, description="Cells of the response codebook: answers' entropy is at most its log."
    )
    entropy_reference: float | None = Field(
        None, ge=0, description="H of a reference given its query (nats), where it is known."
    )
    entropy_model: float | None = Field(
        None, ge=0, description="H of an answer given its query (nats), where it is known."
    )


class AuditBounds(BoundsConfig):
    """Those of an audit."""

    conditional: bool = Field(
        False,
        description="Also Theorem 4.6, with conditional divergences by neighbourhoods (some seconds a "
        "scenario). It is looser than Theorem 4.5 wherever answers given their input stay the same.",
    )


class WorkersConfig(_Model):
    cpu: int | Literal["auto"] = Field(
        "auto", description="Worker processes (auto: what the cluster has free)."
    )
    gpu: int | Literal["auto"] = Field("auto", description="GPUs to use (auto: what the cluster has free).")
    executor: Literal["auto", "serial", "ray"] = Field(
        "auto",
        description="serial: in this process. ray: on the cluster at `address`, else a local Ray, where a "
        "row that ends its worker is found and set aside. auto: ray where there is an address, a GPU, a "
        "model that answers here, or a lot to do; what was taken is said.",
    )
    address: str | None = Field(
        None, description="Ray cluster to join (default: RAY_ADDRESS, else a local one)."
    )
    stall_seconds: float = Field(
        600.0,
        gt=0,
        description="No shard done for this long: the run stops with an error. A stage that asks an endpoint "
        "is given what its own tries and rates may take, where that is longer.",
    )
    hang_seconds: float | None = Field(
        None,
        gt=0,
        description="A shard that takes this long hangs: its worker is replaced and its rows are tried apart "
        "(default: stall_seconds). Ten times what your slowest shard takes is safe.",
    )
    retries: int = Field(3, ge=0, description="Tries again of a shard whose worker died.")
    poison_rows: int = Field(
        20,
        ge=0,
        description="Rows of a stage that may be set apart because they ended or hung their worker; with "
        "more the run stops: the model is at fault.",
    )


class ShardConfig(_Model):
    """Units of work. They belong to the config hash: results are equal to the bit for equal shards."""

    not_here: ClassVar[str] = "a baseline takes the answers that stand in the records and generates none"

    embed: int = Field(512, ge=1, description="Contents a shard.")
    stream: int = Field(
        1024,
        ge=1,
        description="Records a shard that is embedded and sketched in one go; workers.stall_seconds counts "
        "for every `embed` contents of it.",
    )
    threads: int = Field(1, ge=1, description="Threads of one worker.")


class AuditShards(ShardConfig):
    """Those of an audit."""

    generate: int = Field(256, ge=1, description="Prompts a shard.")


class IndexConfig(_Model):
    """Neighbours among all ID records, for scenarios with `partition: nearest`."""

    kind: Literal["auto", "flat", "ivf"] = Field(
        "auto",
        description="flat: exact. ivf: approximate, its recall in the report. auto: exact up to 2e10 pairs "
        "of a pool's and an ID record.",
    )
    neighbour: int = Field(1, ge=1, le=100, description="Distance to the how manieth nearest ID record.")
    probe: float = Field(
        1 / 32, gt=0, le=1, description="ivf: share of the cells looked into. Raise it where recall is low."
    )
    shard_rows: int = Field(
        262_144, ge=1, description="ID records an index: a worker holds one at a time (0.8 GB at 768-d)."
    )
    gpus: float = Field(0.25, gt=0, le=1, description="Share of a GPU of one worker, where there are GPUs.")


class GraderConfig(_Model):
    """How answers are graded, which is what accuracy is the mean of. Beside its name, a grader's own
    settings."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(
        "auto",
        description="auto: the records' own scores where there are any, else the lab's truth, else a match "
        "with references where these are short; recorded, exact, normalised, contains, number, token_f1, "
        "lab, none, or a package's.",
    )

    def settings(self) -> dict[str, Any]:
        """What the grader itself is given."""
        return dict(self.model_extra or {})


class ReportConfig(_Model):
    examples: int = Field(4, ge=0, description="Example records shown a scenario (0: none).")


class JobConfig(_Model):
    """What every job has."""

    data: DataConfig
    row_sample: int = Field(
        2_000, ge=50, description="Rows a scenario (or window) that travel with its sketch."
    )
    workers: WorkersConfig = WorkersConfig()
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _sections(cls, tree: object) -> object:
        """A section that is not given lacks its own keys: they say what they are."""
        return {"data": {}, **tree} if isinstance(tree, dict) else tree


class LearningConfig(JobConfig):
    """What a job has that embeds records and trains critics on them."""

    encoders: EncodersConfig
    critic: CriticConfig = CriticConfig()
    shards: ShardConfig = ShardConfig()

    @model_validator(mode="before")
    @classmethod
    def _lab(cls, tree: object) -> object:
        """The lab's records have the lab's encoders unless others are named; a user's have none."""
        if not isinstance(tree, dict) or not isinstance(tree.get("encoders", {}), dict):
            return tree
        data = tree.get("data")
        reader = data.get("reader") if isinstance(data, dict) else getattr(data, "reader", None)
        own = {"image": "lab", "text": "lab"} if reader == "lab" else {}
        return {**tree, "encoders": own | tree.get("encoders", {})}


class JudgingConfig(JobConfig):
    """What a job has that measures and judges."""

    bounds: BoundsConfig = BoundsConfig()
    grader: GraderConfig = GraderConfig()
    thresholds: ThresholdsConfig = ThresholdsConfig()
    interval_level: float = Field(0.9, gt=0, lt=1)
    report: ReportConfig = ReportConfig()


class AuditConfig(LearningConfig, JudgingConfig):
    """Config of `auditor audit`."""

    not_here: ClassVar[str] = (
        "an audit names its models in a list (models: [NAME]) and compares the scenarios under data.scenarios"
    )

    data: AuditData
    models: Annotated[tuple[ModelConfig, ...], Field(min_length=1)]
    comparison: ComparisonConfig = ComparisonConfig()
    bounds: AuditBounds = AuditBounds()
    thresholds: AuditThresholds = AuditThresholds()
    shards: AuditShards = AuditShards()
    index: IndexConfig = IndexConfig()

    @field_validator("models", mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return [_named(v) for v in value] if isinstance(value, list | tuple) else value

    @field_validator("grader", mode="before")
    @classmethod
    def _grader_by_name(cls, value: object) -> object:
        return _named(value)

    @model_validator(mode="after")
    def _unique(self) -> AuditConfig:
        names = [m.name for m in self.models]
        if len(set(names)) < len(names):
            raise ValueError("models: two models have the same name")
        return self

    @model_validator(mode="after")
    def _comparable(self) -> AuditConfig:
        names, wanted = [m.name for m in self.models], self.comparison
        if wanted.current is not None and wanted.current not in names:
            raise ValueError(f"comparison.current: no model {wanted.current!r}; there is {', '.join(names)}")
        if wanted.margin is not None and len(names) < 2:
            raise ValueError("comparison.margin: a comparison needs two or more models")
        return self

    @property
    def current(self) -> str:
        """The model that the others are compared with."""
        return self.comparison.current or self.models[0].name


WINDOW_LENGTH = re.compile(r"([1-9]\d{0,4})([mhdw])")
"""How the length of a window is written."""


class WindowedConfig(JobConfig):
    """What a job has that can cut its records into windows."""

    window: str | None = Field(
        None, description="Length of a window, e.g. 1d, 6h, 30m. Days begin at midnight, weeks on Mondays."
    )
    window_offset: str | None = Field(
        None, description="How much later windows begin, e.g. 6h: days from six to six."
    )
    timezone: str = Field(
        "UTC", description="The zone whose clock cuts windows, e.g. Europe/Berlin. Summer time is kept to."
    )
    window_rows: int | None = Field(None, ge=2, description="Rows of a window.")

    @field_validator("window", "window_offset")
    @classmethod
    def _length(cls, value: str | None) -> str | None:
        if value is not None and not WINDOW_LENGTH.fullmatch(value.strip()):
            raise ValueError(f"{value!r} is no length of time; write a number and m, h, d or w, e.g. 1d")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"there is no zone {value!r}; write a name such as Europe/Berlin, or UTC"
            ) from None
        return value

    @model_validator(mode="after")
    def _one_window(self) -> Self:
        if self.window and self.window_rows:
            raise ValueError("give --window or --window-rows, not both")
        if self.window_offset and not self.window:
            raise ValueError("window_offset: says when windows of time begin; give window, too")
        if self.window and self.data.reader != "records":
            raise ValueError(
                f"window: the records of the reader {self.data.reader} have no timestamps; give window_rows"
            )
        return self


class BaselineConfig(LearningConfig, WindowedConfig):
    """Config of `auditor baseline build`. With windows the baseline keeps how each of them looks: the
    yardstick of how much this service varies without a drift."""

    not_here: ClassVar[str] = (
        "a baseline is learned from recorded answers (model: NAME) and judges nothing; what drift judges by "
        "is set there"
    )

    data: BaselineData
    model: str | None = Field(None, description="Whose recorded responses are used (default: the only one).")
    critic: BaselineCritic = BaselineCritic()
    row_sample: int = Field(10_000, ge=50, description="Rows that travel with the sketch.")
    grader: GraderConfig = GraderConfig()

    @field_validator("grader", mode="before")
    @classmethod
    def _grader_by_name(cls, value: object) -> object:
        return _named(value)


class DriftConfig(JudgingConfig, WindowedConfig):
    """Config of `auditor drift`."""

    not_here: ClassVar[str] = (
        "encoders, critics and shards are those of the baseline, and the answers those of the records "
        "(model: NAME)"
    )

    data: DriftData
    baseline: str = Field(description="Folder made by `auditor baseline build` (--baseline).")
    model: str | None = Field(None, description="Whose responses are used (default: the only one).")
    thresholds: DriftThresholds = DriftThresholds()
    embeddings: Literal["drop", "keep"] = Field(
        "drop",
        description="keep: embeddings stay in the run directory, not only the sums and the row sample.",
    )

    @field_validator("grader", mode="before")
    @classmethod
    def _grader_by_name(cls, value: object) -> object:
        return _named(value)


JOBS: dict[str, type[JobConfig]] = {
    "audit": AuditConfig,
    "baseline build": BaselineConfig,
    "drift": DriftConfig,
}
"""Command -> its config."""

MOVED = {"records": "data.id", "traffic": "data.traffic", "media_root": "data.media_root"}
"""Top-level keys of earlier versions -> where they are now."""


def resolve(path: str, base: Path) -> str:
    """A relative path in a config file is relative to that file's folder."""
    return path if "://" in path or Path(path).is_absolute() else str(base / path)


_NO_NUMBER: Any = {
    "workers": True,
    "report": True,
    "thresholds": True,
    "comparison": {"margin"},
    "models": {
        "__all__": {
            "replicas": True,
            "gpus": True,
            "endpoint": EndpointConfig.asking(),
            "vllm": VllmConfig.running(),
        }
    },
    "encoders": {"image": {"gpus"}, "text": {"gpus"}},
    "index": {"gpus"},
}
"""What changes no number: where, how fast and how loudly the work runs, and what is made of the numbers."""


def config_hash(config: BaseModel) -> str:
    """Digest (16 hex digits) of all that changes a number, whatever order the keys are declared in."""
    tree = config.model_dump(mode="json", exclude=_NO_NUMBER)
    return blake2b(json.dumps(tree, sort_keys=True).encode(), digest_size=8).hexdigest()
