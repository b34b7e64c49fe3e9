"""The same conversations, as each vendor writes them. Names and nesting of fields are those of the vendors
own documents; every writer returns what `auditor.read` is given."""

from __future__ import annotations

import base64
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.lab.world import lab_items

MODEL = "vision-model"
START = datetime(2025, 6, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Said:
    """One turn: what was said, and the pictures that were shown with it."""

    role: str
    text: str
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Talk:
    """One conversation: its turns up to the last question, and the answer to that."""

    trace: str
    span: str
    turns: tuple[Said, ...]
    answer: str
    when: datetime
    session: str

    @property
    def id(self) -> str:
        """An id that all formats can hold: OpenTelemetry makes its own of trace and span."""
        return f"{self.trace}:{self.span}"

    @property
    def images(self) -> list[bytes]:
        return [image for turn in self.turns for image in turn.images]

    @property
    def seconds(self) -> int:
        return int(self.when.timestamp())


def talks(n: int = 200, seed: int = 0) -> list[Talk]:
    """Conversations about scenes of the lab: some with instructions, some of several turns, some with several
    pictures or none, in several scripts."""
    draw = random.Random(seed)
    items = list(lab_items(n, seed=seed))
    made = []
    for i, item in enumerate(items):
        turns: list[Said] = []
        if i % 4 == 0:
            turns.append(Said("system", "Answer in one word.\nBe kind."))
        pictures = [items[draw.randrange(20)].image for _ in range(draw.choice((0, 1, 1, 1, 2, 3)))]
        if i % 3 == 0:
            first, pictures = tuple(pictures[:1]), pictures[1:]
            turns += [
                Said("user", f"Look at this, {i}: \u00e9\u4f60\u0917", first),
                Said("assistant", "I do."),
            ]
        turns.append(Said("user", item.query, tuple(pictures)))
        made.append(
            Talk(
                UUID(int=draw.getrandbits(128)).hex,
                f"{draw.getrandbits(64) or 1:016x}",
                tuple(turns),
                item.reference if i % 3 else "I cannot tell.",
                START + timedelta(minutes=7 * i),
                f"session-{i // 5}",
            )
        )
    return made


def _lines(path: Path, rows: Iterable[Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def data_url(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def _b64(image: bytes) -> str:
    return base64.b64encode(image).decode()


# Our own.


def _history(talk: Talk) -> list[dict[str, str]]:
    return [{"role": turn.role, "text": turn.text} for turn in talk.turns[:-1]]


def _fields(talk: Talk) -> dict[str, Any]:
    return {
        "record_id": talk.id,
        "query": talk.turns[-1].text,
        "history": _history(talk),
        "responses": {MODEL: talk.answer},
        "timestamp": talk.when.isoformat(),
        "conversation_id": talk.session,
    }


def records(all_: list[Talk], folder: Path) -> str:
    return _lines(
        folder / "records.jsonl",
        ({**_fields(talk), "images": [{"image_bytes": _b64(i)} for i in talk.images]} for talk in all_),
    )


# OpenAI and what speaks like it.


def _chat_content(turn: Said) -> Any:
    if not turn.images:
        return turn.text
    urls = [{"type": "image_url", "image_url": {"url": data_url(image)}} for image in turn.images]
    return [{"type": "text", "text": turn.text}, *urls]


def _chat_messages(talk: Talk) -> list[dict[str, Any]]:
    return [{"role": turn.role, "content": _chat_content(turn)} for turn in talk.turns]


def _completion(talk: Talk) -> dict[str, Any]:
    message = {"role": "assistant", "content": talk.answer, "refusal": None}
    return {
        "id": talk.id,
        "object": "chat.completion",
        "created": talk.seconds,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }


def openai_chat(all_: list[Talk], folder: Path) -> str:
    return _lines(
        folder / "chat.jsonl",
        (
            {
                **_completion(talk),
                "messages": _chat_messages(talk),
                "metadata": {"conversation_id": talk.session},
            }
            for talk in all_
        ),
    )


def openai_batch(all_: list[Talk], folder: Path) -> str:
    requests = (
        {
            "custom_id": talk.id,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": MODEL,
                "messages": _chat_messages(talk),
                "metadata": {"conversation_id": talk.session},
            },
        }
        for talk in all_
    )
    _lines(folder / "batch" / "input.jsonl", requests)
    results = [
        {
            "id": f"batch_req_{i}",
            "custom_id": talk.id,
            "response": {"status_code": 200, "request_id": f"r{i}", "body": _completion(talk)},
            "error": None,
        }
        for i, talk in enumerate(all_)
    ]
    random.Random(1).shuffle(results)  # results come in any order
    _lines(folder / "batch" / "output.jsonl", results)
    return str(folder / "batch" / "*.jsonl")


def _response_item(turn: Said) -> dict[str, Any]:
    if turn.role == "assistant":
        return {"role": "assistant", "content": [{"type": "output_text", "text": turn.text}]}
    if turn.role == "system":
        return {"role": "system", "content": turn.text}
    parts: list[dict[str, Any]] = [{"type": "input_text", "text": turn.text}]
    parts += [{"type": "input_image", "image_url": data_url(i), "detail": "auto"} for i in turn.images]
    return {"type": "message", "role": "user", "content": parts}


def openai_responses(all_: list[Talk], folder: Path) -> str:
    return _lines(
        folder / "responses.jsonl",
        (
            {
                "id": talk.id,
                "object": "response",
                "created_at": talk.seconds,
                "status": "completed",
                "error": None,
                "incomplete_details": None,
                "instructions": None,
                "model": MODEL,
                "conversation": {"id": talk.session},
                "input": [_response_item(turn) for turn in talk.turns],
                "output": [
                    {"type": "reasoning", "id": "rs_1", "summary": []},
                    {
                        "type": "message",
                        "id": "msg_1",
                        "status": "completed",
                        "role": "assistant",
                        "content": [{"type": "output_text", "text": talk.answer, "annotations": []}],
                    },
                ],
            }
            for talk in all_
        ),
    )


# OpenTelemetry.


def _otel_message(turn: Said) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "text", "content": turn.text}]
    parts += [
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": _b64(image)}
        for image in turn.images
    ]
    return {"role": turn.role, "parts": parts}


def _otel_output(talk: Talk) -> list[dict[str, Any]]:
    parts = [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": talk.answer}]
    return [{"role": "assistant", "parts": parts, "finish_reason": "stop"}]


def _attribute(name: str, value: str) -> dict[str, Any]:
    return {"key": name, "value": {"stringValue": value}}


def _call_attributes(talk: Talk) -> list[dict[str, Any]]:
    return [
        _attribute("gen_ai.operation.name", "chat"),
        _attribute("gen_ai.provider.name", "openai"),
        _attribute("gen_ai.request.model", MODEL),
        _attribute("gen_ai.conversation.id", talk.session),
        {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "9"}},
    ]


def _span(talk: Talk, attributes: list[dict[str, Any]]) -> dict[str, Any]:
    nanoseconds = talk.seconds * 10**9
    return {
        "traceId": talk.trace,
        "spanId": talk.span,
        "name": f"chat {MODEL}",
        "kind": 3,
        "startTimeUnixNano": str(nanoseconds),
        "endTimeUnixNano": str(nanoseconds + 10**9),
        "attributes": attributes,
        "status": {},
    }


def _exports(path: Path, spans: list[dict[str, Any]]) -> str:
    """Spans in batches, as the collector's exporter of files writes them: one export a line."""
    other = {
        "traceId": "0" * 32,
        "spanId": "1" * 16,
        "name": "GET /",
        "attributes": [_attribute("http.route", "/")],
    }
    exports = []
    for start in range(0, len(spans), 16):
        scope = {"scope": {"name": "genai"}, "spans": [*spans[start : start + 16], other]}
        exports.append({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [scope]}]})
    return _lines(path, exports)


def otel(all_: list[Talk], folder: Path) -> str:
    return _exports(
        folder / "spans.jsonl",
        [
            _span(
                talk,
                [
                    *_call_attributes(talk),
                    _attribute("gen_ai.input.messages", json.dumps([_otel_message(t) for t in talk.turns])),
                    _attribute("gen_ai.output.messages", json.dumps(_otel_output(talk))),
                ],
            )
            for talk in all_
        ],
    )


def otel_uploads(all_: list[Talk], folder: Path) -> str:
    """Every third upload is of one message a line, as the format `jsonl` of the hook writes it."""
    spans = []
    for i, talk in enumerate(all_):
        asked = [_otel_message(turn) for turn in talk.turns]
        answered = _otel_output(talk)
        ending = "jsonl" if i % 3 == 0 else "json"
        for name, messages in (("inputs", asked), ("outputs", answered)):
            path = folder / "media" / "uploads" / f"{talk.span}_{name}.{ending}"
            if ending == "json":
                _lines(path, [messages])
            else:
                _lines(path, [{**message, "index": k} for k, message in enumerate(messages)])
        ref = f"gs://bucket/uploads/{talk.span}_"
        attributes = [
            _attribute("gen_ai.input.messages_ref", f"{ref}inputs.{ending}"),
            _attribute("gen_ai.output.messages_ref", f"{ref}outputs.{ending}"),
        ]
        spans.append(_span(talk, [*_call_attributes(talk), *attributes]))
    return _exports(folder / "uploaded.jsonl", spans)


# Hugging Face.


def hf_parquet(all_: list[Talk], folder: Path) -> str:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [
        {
            **_fields(talk),
            "responses": list(_fields(talk)["responses"].items()),
            "timestamp": talk.when,
            "images": [{"bytes": i, "path": f"{k}.png"} for k, i in enumerate(talk.images)],
        }
        for talk in all_
    ]
    turn = pa.struct([("role", pa.string()), ("text", pa.string())])
    schema = pa.schema(
        [
            ("record_id", pa.string()),
            ("images", pa.list_(image)),
            ("query", pa.string()),
            ("history", pa.list_(turn)),
            ("responses", pa.map_(pa.string(), pa.string())),
            ("timestamp", pa.timestamp("ms", tz="UTC")),
            ("conversation_id", pa.string()),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "hf.parquet")
    return str(folder / "hf.parquet")


def webdataset(all_: list[Talk], folder: Path) -> str:
    for number, start in enumerate(range(0, len(all_), 70)):
        with tarfile.open(folder / f"shard-{number:06d}.tar", "w") as tar:
            for i, talk in enumerate(all_[start : start + 70], start):
                files = {f"{k}.png": image for k, image in enumerate(talk.images)}
                files["json"] = json.dumps(_fields(talk)).encode()
                for ending, content in files.items():
                    info = tarfile.TarInfo(f"{i:06d}.{ending}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    return str(folder / "shard-*.tar")


def llava(all_: list[Talk], folder: Path) -> str:
    """A JSON array; pictures are files, and marks say where they stand."""
    speakers = {"user": "human", "assistant": "gpt", "system": "system"}
    rows = []
    for talk in all_:
        names = []
        for k, image in enumerate(talk.images):
            path = folder / "media" / f"{talk.span}-{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
            names.append(path.name)
        turns = [
            {"from": speakers[turn.role], "value": "<image>\n" * len(turn.images) + turn.text}
            for turn in talk.turns
        ]
        row = {
            "id": talk.id,
            "model": MODEL,
            "conversations": [*turns, {"from": "gpt", "value": talk.answer}],
            "timestamp": talk.when.isoformat(),
            "conversation_id": talk.session,
        }
        if names:
            row["image"] = names if len(names) > 1 else names[0]
        rows.append(row)
    (folder / "llava.json").write_text(json.dumps(rows, indent=1))
    return str(folder / "llava.json")


# Langfuse.


def langfuse(all_: list[Talk], folder: Path) -> str:
    """Every other row as its interface gives it, the others as they are exported to a blob storage (texts of
    JSON, other names); some pictures are kept apart, with a reference in their place."""
    rows = []
    for i, talk in enumerate(all_):
        messages = _chat_messages(talk)
        if i % 3 == 0:
            for message in messages:
                for part in message["content"] if isinstance(message["content"], list) else []:
                    if part["type"] == "image_url":
                        media = f"{talk.span}-{len(list((folder / 'media').iterdir()))}"
                        path = folder / "media" / f"{media}.png"
                        path.parent.mkdir(parents=True, exist_ok=True)
                        path.write_bytes(base64.b64decode(part["image_url"]["url"].partition(",")[2]))
                        part["image_url"]["url"] = (
                            f"@@@langfuseMedia:type=image/png|id={media}|source=base64_data_uri@@@"
                        )
        answer = {"role": "assistant", "content": talk.answer}
        if i % 2:
            rows.append(
                {
                    "id": talk.id,
                    "traceId": talk.trace,
                    "type": "GENERATION",
                    "name": "chat",
                    "startTime": talk.when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                    "model": MODEL,
                    "input": messages,
                    "output": answer,
                    "level": "DEFAULT",
                    "sessionId": talk.session,
                }
            )
        else:
            rows.append(
                {
                    "id": talk.id,
                    "trace_id": talk.trace,
                    "type": "GENERATION",
                    "start_time": talk.when.strftime("%Y-%m-%d %H:%M:%S.%f"),
                    "provided_model_name": MODEL,
                    "input": json.dumps({"messages": messages}),
                    "output": json.dumps(answer),
                    "level": "DEFAULT",
                    "session_id": talk.session,
                }
            )
        rows.append(
            {
                "id": f"step-{i}",
                "traceId": talk.trace,
                "type": "SPAN",
                "startTime": "2025-06-01T00:00:00Z",
                "input": {"a": 1},
                "output": None,
            }
        )
    return _lines(folder / "langfuse.jsonl", rows)


WRITERS: dict[str, Callable[[list[Talk], Path], str]] = {
    "records": records,
    "openai_chat": openai_chat,
    "openai_batch": openai_batch,
    "openai_responses": openai_responses,
    "otel": otel,
    "otel_uploads": otel_uploads,
    "hf_parquet": hf_parquet,
    "webdataset": webdataset,
    "langfuse": langfuse,
    "llava": llava,
}
