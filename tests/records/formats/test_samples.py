"""Samples in the shape of the vendors' documents: what is told, what becomes of each row, what is counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import auditor
from auditor.records import Rows
from auditor.records.formats import in_order
from auditor.records.lines import json_lines
from auditor.records.readers import read_many
from schemas.record import Quarantined, Reason, Record, Turn

SAMPLES = Path(__file__).parent / "samples"
FORMATS = {
    "cauldron": "llava",
    "inspect": "inspect",
    "langfuse": "langfuse",
    "llava": "llava",
    "lmms_eval": "lmms_eval",
    "mlflow": "mlflow",
    "openai_batch_input": "openai_batch",
    "openai_batch_output": "openai_batch",
    "openai_chat": "openai_chat",
    "openai_responses": "openai_responses",
    "openai_tuning": "openai_chat",
    "otel_console": "otel",
    "otel_logs": "otel",
    "otel_traces": "otel",
    "question_answer": "question_answer",
    "records": "records",
    "vllm_batch_output": "openai_batch",
    "webdataset_json": "webdataset",
}


def read(*names: str, **settings: Any) -> Rows:
    return auditor.read([SAMPLES / f"{name}.jsonl" for name in names], **settings).rows()


def sorted_out(rows: Rows) -> tuple[dict[str, Record], dict[str | None, Quarantined]]:
    """Records by their id; quarantined answers by it, and quarantined rows by none."""
    taken = list(rows)
    good = {row.record_id: row for row in taken if isinstance(row, Record)}
    bad = {row.record_id: row for row in taken if isinstance(row, Quarantined)}
    return good, bad


def test_every_sample_is_listed() -> None:
    assert {path.stem for path in SAMPLES.iterdir()} == set(FORMATS)
    assert {format.name for format in in_order()} == set(FORMATS.values())


@pytest.mark.parametrize(("name", "format"), FORMATS.items())
def test_each_row_is_recognised_by_its_own_format_and_no_other_before(name: str, format: str) -> None:
    with open(SAMPLES / f"{name}.jsonl", "rb") as stream:
        for _, row in json_lines(stream, 2**20):
            assert isinstance(row, dict)
            assert next(f.name for f in in_order() if f.recognises(row)) == format


@pytest.mark.parametrize(("name", "format"), FORMATS.items())
def test_the_format_of_a_file_is_told(name: str, format: str) -> None:
    rows = read(name)
    list(rows)
    assert set(rows.progress.formats.values()) == {format}


def test_chats() -> None:
    good, bad = sorted_out(read("openai_chat"))
    first = good["chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT"]
    assert (first.query, first.responses) == ("Which colour?", {"gpt-4o-2024-08-06": ("Red.",)})
    assert first.history == (
        Turn("developer", "Be brief."),
        Turn("user", "What is on the picture?"),
        Turn("assistant", "A dot."),
    )
    assert first.input_text() == "What is on the picture?\nA dot.\nWhich colour?"
    assert len(first.images) == 1 and first.conversation_id == "s-1"
    assert first.timestamp == datetime(2025, 3, 10, 1, 25, 52, tzinfo=UTC)
    second = good["chatcmpl-2"]
    assert second.history == (Turn("assistant", 'weather({"city":"Paris"})'), Turn("tool", "17 degrees"))
    assert second.responses == {"gpt-4o": ("Mild.", "17 degrees.")}
    assert second.tags == ("answered_by:gpt-4o-2024-08-06",)
    assert good["chatcmpl-3"].query == "Anything?" and not good["chatcmpl-3"].responses
    assert (bad["chatcmpl-3"].reason, bad["chatcmpl-3"].model) == (Reason.MODEL_FAILED, "gpt-4o")


def test_chats_that_models_are_tuned_on() -> None:
    rows = read("openai_tuning")
    good, _ = sorted_out(rows)
    assert [row.reference for row in good.values()] == ["Red", "Green"]
    assert not any(row.responses for row in good.values())
    assert rows.progress.coercions["record_id", "made of the contents, since rows have none"] == 2
    assert list(good) == list(sorted_out(read("openai_tuning"))[0])


def test_responses() -> None:
    good, bad = sorted_out(read("openai_responses"))
    first = good["resp_67ccd2bed1ec8190b14f964abc054267"]
    assert [image.path for image in first.images] == [None, "https://images.example.org/1.png"]
    assert first.responses == {"gpt-4.1": ("A red dot.",)}
    assert first.history == (Turn("system", "Be brief."),)
    assert good["resp_2"].query == "Tell me a story." and "max_output_tokens" in bad["resp_2"].detail
    assert good["resp_3"].history == (Turn("assistant", "weather({})"), Turn("tool", "rain"))


def test_requests_and_results_are_joined() -> None:
    rows = read("openai_batch_input", "openai_batch_output")
    good, bad = sorted_out(rows)
    assert list(good) == [f"request-{i}" for i in (1, 2, 3, 4)]
    assert good["request-1"].responses == {"gpt-4o-mini": ("Hello.",)}
    assert good["request-3"].responses == {"gpt-4o-mini": ("Hi there.",)}
    assert {name: row.reason for name, row in bad.items() if name} == {
        "request-2": Reason.MODEL_FAILED,
        "request-4": Reason.MODEL_FAILED,
    }
    assert "Invalid image" in bad["request-2"].detail and "batch_expired" in bad["request-4"].detail
    assert bad[None].reason is Reason.MISSING_INPUT and "name both files" in bad[None].detail
    again, _ = sorted_out(read("openai_batch_output", "openai_batch_input"))
    assert again == good
    alone, lost = sorted_out(read("openai_batch_input"))
    assert len(alone) == 4 and {row.reason for row in lost.values()} == {Reason.MODEL_FAILED}
    good, bad = sorted_out(read("openai_batch_input", "vllm_batch_output"))
    assert (
        good["request-1"].responses == {"gpt-4o-mini": ("Hello.",)} and "too long" in bad["request-2"].detail
    )


def test_spans_and_events() -> None:
    trace = "5b8efff798038103d269b633813fc60c:eee19b7ec3c1b17"
    for names in (("otel_traces", "otel_logs"), ("otel_logs", "otel_traces")):
        rows = read(*names)
        taken = list(rows)
        good = {row.record_id: row for row in taken if isinstance(row, Record)}
        lost = [row for row in taken if isinstance(row, Quarantined)]
        assert set(good) == {trace + i for i in "167"}
        first = good[trace + "1"]
        assert first.history == (Turn("system", "Be kind."),) and len(first.images) == 2
        assert first.responses == {"gpt-4": ("A dot.",)} and first.conversation_id == "conv_5j66"
        assert good[trace + "7"].query == "From the event?"
        assert sorted((row.reason, row.model) for row in lost) == [
            (Reason.CONTENT_WITHHELD, ""),
            (Reason.CONTENT_WITHHELD, ""),
            (Reason.MODEL_FAILED, "gpt-4"),
        ]
        left_out = {said: n for (field, said), n in rows.progress.coercions.items() if field == "row"}
        assert left_out["left out: a step of an agent, a tool or an embedding"] == 2
        assert left_out["left out: a span or event that is no call of a model"] == 1


def test_uploads_lie_under_the_root(tmp_path: Path) -> None:
    trace = "5b8efff798038103d269b633813fc60c"
    rows = read("otel_console")
    good, bad = sorted_out(rows)
    assert list(good) == [f"{trace}:eee19b7ec3c1b174"]
    assert bad[None].reason is Reason.CONTENT_WITHHELD and "media_root" in bad[None].detail
    assert any(field == "gen_ai.input.messages_ref" for field, _ in rows.progress.coercions)
    asked = [{"role": "user", "parts": [{"type": "text", "content": "Uploaded?"}]}]
    (tmp_path / "x_inputs.json").write_text(json.dumps(asked))
    good, bad = sorted_out(read("otel_console", media_root=tmp_path))
    found = good[f"{trace}:aaa19b7ec3c1b174"]
    assert found.query == "Uploaded?" and not found.responses and not bad
    (tmp_path / "x_inputs.json").unlink()
    outside = tmp_path.parent / "outside.json"
    outside.write_text(json.dumps(asked))
    (tmp_path / "x_inputs.json").symlink_to(outside)
    good, bad = sorted_out(read("otel_console", media_root=tmp_path))
    assert len(good) == 1 and bad[None].reason is Reason.CONTENT_WITHHELD


def test_observations() -> None:
    rows = read("langfuse")
    good, bad = sorted_out(rows)
    assert list(good) == ["obs-1", "obs-2", "obs-4"]
    assert good["obs-1"].images[0].path == "cNpWHzG2.jpg" and good["obs-1"].tags == ("prod",)
    assert good["obs-2"].timestamp == datetime(2025, 6, 1, 12, 0, 2, tzinfo=UTC)
    assert good["obs-4"].responses == {"gpt-4o": ("Just an answer.",)}
    assert bad["obs-2"].detail == "the call failed: Connection error."
    assert rows.progress.coercions["row", "left out: an observation that is no generation"] == 1


def test_traces() -> None:
    good, bad = sorted_out(read("mlflow"))
    first = good["tr-3f7a:child0=="]
    assert first.responses == {"gpt-4o": ("A dot.",)} and first.images[0].path == "9d1c.png"
    assert first.conversation_id == "s-7" and first.query == "What is it?"
    assert good["tr-4:only"].query == "Why?" and bad["tr-4:only"].detail == "the call failed: boom"


def test_conversations() -> None:
    good, _ = sorted_out(read("llava"))
    first = good["000000033471"]
    assert first.query == "What feature can be seen on the back of the bus?"
    assert [turn.text for turn in first.history] == [
        "What are the colors of the bus in the image?",
        "The bus is white and red.",
    ]
    assert first.reference == "An advertisement." and not first.responses
    assert good["two"].responses == {"gpt-4v": ("Alike.",)} and good["two"].query == "Compare."
    assert [image.path for image in good["two"].images] == ["a.jpg", "b.jpg"]
    rounds, _ = sorted_out(read("cauldron"))
    assert [row.query for row in rounds.values()] == ["Which colour?", "Again?"]


def test_questions() -> None:
    good, _ = sorted_out(read("question_answer"))
    assert good["262148000"].reference == "down" and good["262148000"].other_references == ("at table",)
    assert good["4"].responses == {"m": ("Hi.",)} and not good["4"].reference
    assert [row.query for row in good.values()][2] == "Add.\n1 2"


def test_logs_of_evaluations() -> None:
    good, _ = sorted_out(read("lmms_eval"))
    assert good["lmms_eval:1"].responses == {"samples": ("No.",)}
    assert good["lmms_eval:1"].scores == {"samples": 1.0} and good["lmms_eval:1"].reference == "No"
    good, bad = sorted_out(read("inspect"))
    assert good["u1"].scores == {"openai/gpt-4o": 1.0} and good["2:1"].other_references == ("a dot",)
    assert bad["2:1"].reason is Reason.MODEL_FAILED


def test_formats_in_one_glob_are_told_file_by_file() -> None:
    rows = read_many(str(SAMPLES / "*.jsonl"))
    taken = list(rows)
    formats = {Path(name).stem: format for name, format in rows.progress.formats.items()}
    assert formats == FORMATS
    assert sum(isinstance(row, Record) for row in taken) > 25
