"""The endpoint generator against a real HTTP server with the faults that servers have."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from PIL import Image

from auditor.errors import AuditError, BadInput
from auditor.generators import generator_names, make_generator
from auditor.protocols import Generator
from auditor.storage.response_store import checked
from schemas.record import Turn
from schemas.response import Answer, Prompt

KEY = "sk-very-secret-0123456789"
PROMPTS = [Prompt(text=f"question {i}") for i in range(6)]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def make(server: Any, endpoint: dict[str, Any] | None = None, **settings: Any) -> Generator:
    section = {"url": server.url, "backoff_seconds": 0.01, "tries": 3, "timeout_seconds": 5} | (
        endpoint or {}
    )
    given = {"generator": "endpoint", "model": "m", "max_new_tokens": 6, "endpoint": section}
    return make_generator({**given, **settings})


def text_of(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else next(p["text"] for p in content if p["type"] == "text")


def echo(server: Any) -> None:
    server.answer = lambda body: server.reply(server.chat(*[f"to {text_of(body)}"] * body["n"]))


def picture(kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 4), "red").save(out, kind, **options)
    return out.getvalue()


# What is asked, and what comes of it.


def test_answers_in_order_with_log_probabilities_and_tokens(chat_server: Any) -> None:
    def answer(body: dict[str, Any]) -> Any:
        time.sleep(0.02 * (5 - int(text_of(body)[-1])))  # the first prompt's answer comes last
        return chat_server.reply(chat_server.chat(f" to {text_of(body)}\n", logprobs=[-0.5, -1.5, 1e-9]))

    chat_server.answer = answer
    generator = make(chat_server)
    assert isinstance(generator, Generator) and "endpoint" in generator_names()
    answers = generator.generate(PROMPTS, seed=0)
    assert answers == [Answer((f"to question {i}",), (-2.0,), (3,)) for i in range(6)]
    body = chat_server.asked[0]
    assert body["model"] == "m" and body["max_tokens"] == 6 and body["temperature"] == 0.0
    assert body["logprobs"] is True and body["n"] == 1 and "seed" not in body
    assert chat_server.requests[-1].headers["Authorization"] == f"Bearer {KEY}"
    assert generator.generate([], seed=0) == []


def test_images_and_earlier_turns(chat_server: Any) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    images = {
        "image/png": picture("PNG"),
        "image/jpeg": picture("JPEG"),
        "image/webp": picture("WEBP"),
        "image/gif": picture("GIF"),
    }
    odd = [picture("BMP"), picture("TIFF"), picture("JPEG", exif=turned)]
    history = (Turn("system", "be brief"), Turn("user", "hello"), Turn("assistant", "hi"))
    prompt = Prompt((*images.values(), *odd), "what is it?", history)
    make(chat_server).generate([prompt], seed=0)
    *turns, last = chat_server.asked[0]["messages"]
    assert turns == [{"role": t.role, "content": t.text} for t in history]
    *parts, words = last["content"]
    assert last["role"] == "user" and words == {"type": "text", "text": "what is it?"}
    urls = [part["image_url"]["url"] for part in parts]
    for url, (kind, data) in zip(urls, images.items(), strict=False):
        assert url == f"data:{kind};base64,{base64.b64encode(data).decode()}"
    assert len(urls) == 7 and all(url.startswith("data:image/png;base64,") for url in urls[4:])
    sizes = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size for url in urls[4:]]
    assert sizes == [(8, 4), (8, 4), (4, 8)]  # upright, as our encoders see it


def test_an_image_that_does_not_decode_is_that_prompts_error(chat_server: Any) -> None:
    bad, good = make(chat_server).generate([Prompt((b"no image",), "a"), Prompt(text="b")], seed=0)
    assert (bad.error or "").startswith("image_corrupt") and good.texts == ("yes",)
    assert len(chat_server.asked) == 1


def test_samples_in_one_request_with_a_seed_of_their_own(chat_server: Any) -> None:
    chat_server.answer = lambda body: chat_server.reply(chat_server.chat(*"abc", logprobs=[-1.0]))
    generator = make(chat_server, samples=3, temperature=1.0)
    answers = generator.generate(PROMPTS, seed=7)
    assert {a.texts for a in answers} == {("a", "b", "c")} and answers[0].logprobs == (-1.0,) * 3
    seeds = {text_of(body): body["seed"] for body in chat_server.asked}
    assert len(set(seeds.values())) == 6 and all(0 <= seed < 2**31 for seed in seeds.values())
    chat_server.requests.clear()
    generator.generate(PROMPTS, seed=7)
    assert {text_of(body): body["seed"] for body in chat_server.asked} == seeds


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_n_is_asked_one_by_one(chat_server: Any, status: int) -> None:
    def answer(body: dict[str, Any]) -> Any:
        if body["n"] > 1:
            return chat_server.reply({"error": {"message": "n must be 1"}}, status)
        return chat_server.reply(chat_server.chat(f"seed {body['seed']}", logprobs=[-0.25]))

    chat_server.answer = answer
    answers = make(chat_server, {"concurrency": 1}, samples=3, temperature=1.0).generate(PROMPTS, seed=0)
    assert all(len(set(a.texts)) == 3 and a.logprobs == (-0.25,) * 3 for a in answers)
    assert Counter(body["n"] for body in chat_server.asked) == {3: 2, 1: 18}  # with and without logprobs


def test_a_server_that_ignores_n_is_asked_again(chat_server: Any) -> None:
    chat_server.answer = lambda body: chat_server.reply(chat_server.chat(f"seed {body['seed']}"))
    [answer] = make(chat_server, samples=3, temperature=0.7).generate(PROMPTS[:1], seed=0)
    assert len(set(answer.texts)) == 3
    assert [body["n"] for body in chat_server.asked] == [3, 1, 1]


def test_a_server_without_log_probabilities(chat_server: Any) -> None:
    def answer(body: dict[str, Any]) -> Any:
        if "logprobs" in body:
            return chat_server.reply({"detail": "logprobs are not supported"}, 400)
        return chat_server.reply(chat_server.chat("yes"))

    chat_server.answer = answer
    answers = make(chat_server, {"concurrency": 1}).generate(PROMPTS, seed=0)
    assert answers == [Answer(("yes",), (), (3,))] * 6
    assert len(chat_server.asked) == 7


@pytest.mark.parametrize("bad", [float("nan"), float("-inf"), -9999.0, 0.5, None, "x", True])
def test_log_probabilities_that_are_none_are_left_out(chat_server: Any, bad: Any) -> None:
    chat_server.answer = lambda body: chat_server.reply(chat_server.chat("yes", logprobs=[-1.0, bad]))
    [answer] = make(chat_server).generate(PROMPTS[:1], seed=0)
    assert answer == Answer(("yes",), (), (2,))


def test_other_temperatures_ask_for_no_log_probabilities(chat_server: Any) -> None:
    """A server's are those before the temperature is applied."""
    make(chat_server, temperature=0.7).generate(PROMPTS[:1], seed=0)
    assert "logprobs" not in chat_server.asked[0]


def test_refused_filtered_and_empty_answers(chat_server: Any) -> None:
    by_prompt = {
        "question 0": chat_server.chat("half an ans", finish_reason="content_filter"),
        "question 1": chat_server.chat(None, message={"content": None, "refusal": "I cannot\nhelp"}),
        "question 2": chat_server.chat("  \n"),
        "question 3": chat_server.chat(None),
        "question 4": chat_server.chat("cut of", finish_reason="length"),
        "question 5": chat_server.chat("lone \ud800 surrogate"),
    }
    chat_server.answer = lambda body: chat_server.reply(by_prompt[text_of(body)])
    answers = [checked(a) for a in make(chat_server).generate(PROMPTS, seed=0)]
    assert [a.error for a in answers] == [
        "model_failed: the server's content filter kept the answer back",
        "model_failed: the model refused: I cannot help",
        "empty_response",
        "empty_response",
        None,
        None,
    ]
    assert answers[4].texts == ("cut of",) and answers[5].texts == ("lone \ufffd surrogate",)
    assert all(a.texts == () for a in answers[:4])


def test_of_several_samples_those_that_are_none_are_left_out(chat_server: Any) -> None:
    reply = chat_server.chat("a", "", "c", logprobs=[-1.0])
    reply["choices"][0]["finish_reason"] = "content_filter"
    chat_server.answer = lambda body: chat_server.reply(reply)
    [answer] = make(chat_server, samples=3, temperature=1.0).generate(PROMPTS[:1], seed=0)
    assert answer == Answer(("c",), (-1.0,), (1,))


def test_extra_fields(chat_server: Any) -> None:
    extra = {"top_k": -1, "max_tokens": None, "max_completion_tokens": 9}
    make(chat_server, {"extra": extra}).generate(PROMPTS[:1], seed=0)
    body = chat_server.asked[0]
    assert body["top_k"] == -1 and body["max_completion_tokens"] == 9 and "max_tokens" not in body


# Faults.


def failing_once(server: Any, fault: Any) -> Counter[str]:
    """Each prompt's first request meets `fault`."""
    seen: Counter[str] = Counter()

    def answer(body: dict[str, Any]) -> Any:
        with server.lock:
            seen[text_of(body)] += 1
            first = seen[text_of(body)] == 1
        return fault if first else server.reply(server.chat(f"to {text_of(body)}"))

    server.answer = answer
    return seen


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_what_passes_is_tried_again(chat_server: Any, status: int) -> None:
    seen = failing_once(chat_server, chat_server.reply({"error": "busy"}, status))
    answers = make(chat_server).generate(PROMPTS, seed=0)
    assert [a.texts for a in answers] == [(f"to question {i}",) for i in range(6)]
    assert set(seen.values()) == {2}


@pytest.mark.parametrize("status", [402, 404, 405, 413, 451])
def test_other_refusals_are_not(chat_server: Any, status: int) -> None:
    def answer(body: dict[str, Any]) -> Any:
        if text_of(body) == "question 3":
            return chat_server.reply({"error": {"message": "not\x1b[2J this"}}, status)
        return chat_server.reply(chat_server.chat("yes"))

    chat_server.answer = answer
    answers = make(chat_server, {"concurrency": 1}).generate(PROMPTS, seed=0)
    assert answers[3] == Answer(error=f"model_failed: status {status}: not [2J this")
    assert [a.error for a in answers].count(None) == 5
    assert [text_of(body) for body in chat_server.asked].count("question 3") == 1


@pytest.mark.parametrize("dated", [False, True])
def test_retry_after_is_honoured(chat_server: Any, dated: bool) -> None:
    def answer(body: dict[str, Any]) -> Any:
        if len(chat_server.asked) > 1:
            return chat_server.reply(chat_server.chat("yes"))
        when = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True) if dated else "1.5"
        return chat_server.reply({}, 429, {"Retry-After": when})

    chat_server.answer = answer
    generator = make(chat_server)
    began = time.monotonic()
    assert generator.generate(PROMPTS[:1], seed=0)[0].texts == ("yes",)
    assert 1.4 < time.monotonic() - began < 20


def test_a_wait_beyond_all_bounds_is_not_waited_for(chat_server: Any) -> None:
    def answer(body: dict[str, Any]) -> Any:
        if text_of(body) == "question 1":
            return chat_server.reply({}, 429, {"Retry-After": "3600"})
        return chat_server.reply(chat_server.chat("yes"))

    chat_server.answer = answer
    began = time.monotonic()
    answers = make(chat_server, {"concurrency": 1}).generate(PROMPTS[:2], seed=0)
    assert time.monotonic() - began < 20
    assert "asks to wait 3600 s; endpoint.total_seconds is 300" in (answers[1].error or "")


def test_a_spent_quota_is_not_tried_again(chat_server: Any) -> None:
    spent = {"error": {"message": "no money", "code": "insufficient_quota"}}
    chat_server.answer = lambda body: chat_server.reply(spent, 429)
    with pytest.raises(AuditError, match="status 429: no money"):
        make(chat_server, {"concurrency": 1}).generate(PROMPTS, seed=0)
    assert len(chat_server.asked) == 2


@pytest.mark.parametrize("how", ["hang", "reset"])
def test_hanging_and_broken_connections_are_tried_again(chat_server: Any, how: str) -> None:
    seen = failing_once(chat_server, chat_server.reply(chat_server.chat("never seen"), how=how))
    answers = make(chat_server, {"timeout_seconds": 0.5}).generate(PROMPTS, seed=0)
    assert [a.texts for a in answers] == [(f"to question {i}",) for i in range(6)]
    assert set(seen.values()) == {2}


def test_tries_and_time_are_bounded(chat_server: Any) -> None:
    def answer(body: dict[str, Any]) -> Any:
        if text_of(body) == "question 1":
            return chat_server.reply(how="hang")
        return chat_server.reply(chat_server.chat("yes"))

    chat_server.answer = answer
    bounds = {"timeout_seconds": 0.4, "total_seconds": 1.0, "tries": 20, "concurrency": 1}
    began = time.monotonic()
    answers = make(chat_server, bounds).generate(PROMPTS[:3], seed=0)
    assert time.monotonic() - began < 10
    assert answers[0].texts == answers[2].texts == ("yes",)
    assert (answers[1].error or "").startswith("model_failed: no answer within 0.")
    asked = Counter(map(text_of, chat_server.asked))
    assert 2 <= asked["question 1"] <= 4

    chat_server.requests.clear()
    make(chat_server, bounds | {"tries": 2}).generate(PROMPTS[:2], seed=0)
    assert Counter(map(text_of, chat_server.asked))["question 1"] == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{not json", "no JSON"),
        (b"<html>hello</html>", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no choices"),
        (b"{}", "no choices"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": [7]}', "no choices"),
        (b'{"choices": [{"text": "x"}]}', "no message"),
        (b'{"choices": [{"message": {"content": [1]}}]}', "no text"),
        (b'{"error": {"message": "behind us", "code": 502}}', "behind us"),
        (b" " * 2_000_000 + b"{}", "more than"),
    ],
)
def test_a_malformed_or_huge_reply_is_that_prompts_error(chat_server: Any, body: bytes, said: str) -> None:
    def answer(asked: dict[str, Any]) -> Any:
        if text_of(asked) == "question 2":
            return chat_server.reply(body)
        return chat_server.reply(chat_server.chat("yes"))

    chat_server.answer = answer
    answers = make(chat_server, {"concurrency": 1}).generate(PROMPTS, seed=0)
    assert said in (answers[2].error or "") and answers[2].texts == ()
    assert [a.error for a in answers].count(None) == 5
    assert len(chat_server.asked) == 6


def test_a_compressed_body_is_not_inflated(chat_server: Any) -> None:
    chat_server.models = chat_server.reply({"data": []}, headers={"Content-Encoding": "gzip"})
    with pytest.raises(AuditError, match="compressed"):
        make(chat_server)


def test_a_redirect_takes_the_key_nowhere(chat_server: Any) -> None:
    elsewhere = {"Location": f"{chat_server.url}/elsewhere"}
    chat_server.answer = lambda body: chat_server.reply({}, 307, elsewhere)
    with pytest.raises(AuditError, match="redirects"):
        make(chat_server).generate(PROMPTS[:1], seed=0)
    assert not any("elsewhere" in request.path for request in chat_server.requests)


# Whether anything answers at all.


@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        (401, "key in OPENAI_API_KEY"),
        (403, "key in OPENAI_API_KEY"),
        (404, "has the model 'm'"),
        (422, "endpoint.extra"),
        (500, "is up"),
    ],
)
def test_an_endpoint_that_is_down_ends_the_job(chat_server: Any, status: int, way_out: str) -> None:
    chat_server.answer = lambda body: chat_server.reply({"error": {"message": f"no, {KEY}"}}, status)
    with pytest.raises(AuditError) as caught:
        make(chat_server).generate(PROMPTS, seed=0)
    said = str(caught.value)
    assert chat_server.url in said and f"status {status}: no, [key]" in said and way_out in said
    assert "\n" not in said and KEY not in said
    assert Counter(map(text_of, chat_server.asked))["."] <= 3


def test_one_prompt_that_is_always_refused_first_is_only_itself(chat_server: Any) -> None:
    """Some gateways answer 403 to a prompt that they do not like; run again, it may be all that is left."""

    def answer(body: dict[str, Any]) -> Any:
        if text_of(body).startswith("question"):
            return chat_server.reply({"error": "moderated"}, 403)
        return chat_server.reply(chat_server.chat("yes"))

    chat_server.answer = answer
    answers = make(chat_server, {"failures": 3, "concurrency": 1}).generate(PROMPTS * 2, seed=0)
    assert {a.error for a in answers} == {"model_failed: status 403: moderated"}
    # The first failure, then every third.
    assert Counter(map(text_of, chat_server.asked))["."] == 1 + 11 // 3


def test_a_server_that_goes_down_midway_ends_the_job(chat_server: Any) -> None:
    good = threading.Semaphore(5)

    def answer(body: dict[str, Any]) -> Any:
        if good.acquire(blocking=False):
            return chat_server.reply(chat_server.chat("yes"))
        return chat_server.reply({}, 503)

    chat_server.answer = answer
    with pytest.raises(AuditError, match=r"status 503.*is up"):
        make(chat_server, {"failures": 4, "concurrency": 2}).generate(PROMPTS * 50, seed=0)
    assert len(chat_server.asked) < 5 + 3 * (4 + 2 + 1)


def test_nobody_there(chat_server: Any) -> None:
    gone = chat_server.url
    chat_server.close()
    with pytest.raises(AuditError, match=r"does not answer .connection failed.*endpoint.version"):
        make(chat_server, {"url": gone})
    chat_server.__init__()  # so that the fixture has something to close
    said = make(chat_server, {"url": gone, "version": "us m-7"})
    assert json.loads(said.identity)["engine"] == "us m-7"
    with pytest.raises(AuditError, match="does not answer"):
        said.generate(PROMPTS, seed=0)


# Rates.


def test_requests_under_way_are_bounded(chat_server: Any) -> None:
    def answer(body: dict[str, Any]) -> Any:
        time.sleep(0.05)
        return chat_server.reply(chat_server.chat("yes"))

    chat_server.answer = answer
    make(chat_server, {"concurrency": 3}).generate(PROMPTS * 3, seed=0)
    assert 1 < chat_server.most_under_way <= 3


@pytest.mark.parametrize("rate", [{"requests_per_minute": 600}, {"tokens_per_minute": 600 * 13}])
def test_rates_are_kept_over_calls_and_retries(chat_server: Any, rate: dict[str, float]) -> None:
    """10 a second; a prompt here counts 3 + 4 tokens (its words, its turn) and 6 of its answer."""
    failing_once(chat_server, chat_server.reply({}, 500))
    generator = make(chat_server, {"version": "1", "tries": 2, **rate})
    began = time.monotonic()
    for part in (PROMPTS[:3], PROMPTS[3:]):
        assert all(a.error is None for a in generator.generate(part, seed=0))
    assert len(chat_server.asked) == 12
    assert time.monotonic() - began > 11 * 0.1 - 0.05


# What it is.


def test_identity(chat_server: Any) -> None:
    base = make(chat_server).identity
    said = json.loads(base)
    assert said["endpoint"] == chat_server.url and said["model"] == "m" and said["engine"] == "us m-7"
    assert said["sampling"] == {"temperature": 0.0, "samples": 1, "max_new_tokens": 6}
    assert KEY not in base and "OPENAI" not in base
    how = {"concurrency": 2, "requests_per_minute": 1e6, "tries": 1, "price_per_million_tokens_in": 2.0}
    assert make(chat_server, how).identity == base
    other = [
        make(chat_server, max_new_tokens=7),
        make(chat_server, temperature=1.0),
        make(chat_server, model="other"),
        make(chat_server, {"version": "2"}),
        make(chat_server, {"extra": {"top_k": 5}}),
    ]
    chat_server.models = chat_server.reply({"data": [{"id": "m", "owned_by": "us", "root": "m-8"}]})
    other.append(make(chat_server))
    assert len({base, *(generator.identity for generator in other)}) == 7


def test_the_version_of_a_vllm_is_part_of_it(chat_server: Any) -> None:
    for created in (1, 2):  # a vLLM says the time of the request
        model = {"id": "m", "owned_by": "vllm", "root": "org/m", "created": created}
        chat_server.models = chat_server.reply({"data": [{"id": "x"}, model]})
        assert json.loads(make(chat_server).identity)["engine"] == "vllm 0.32.0 org/m"


@pytest.mark.parametrize("status", [403, 404, 405])
def test_a_server_without_a_list_of_models(chat_server: Any, status: int) -> None:
    chat_server.models = chat_server.reply({}, status)
    assert json.loads(make(chat_server).identity)["engine"] == "unknown"


def test_a_key_that_is_refused_is_said_at_once(chat_server: Any) -> None:
    chat_server.models = chat_server.reply({"error": {"message": f"bad key {KEY}"}}, 401)
    with pytest.raises(AuditError, match="check the key in OPENAI_API_KEY") as caught:
        make(chat_server)
    assert KEY not in str(caught.value)


def test_a_key_is_needed_or_declined(chat_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(BadInput, match=r"OPENAI_API_KEY is not set.*api_key_env: null"):
        make(chat_server)
    make(chat_server, {"api_key_env": None}).generate(PROMPTS[:1], seed=0)
    assert not any("Authorization" in request.headers for request in chat_server.requests)
    monkeypatch.setenv("OPENAI_API_KEY", "two\nlines")
    with pytest.raises(BadInput, match="characters") as caught:
        make(chat_server)
    assert "lines" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"endpoint": None}, "no endpoint given"),
        ({"endpoint": {"url": "ftp://x"}}, "no http"),
        ({"endpoint": {"url": "http://x", "nonsense": 1}}, "nonsense"),
        ({"top_p": 0.9}, "unknown setting 'top_p'"),
        ({"samples": 2}, "temperature"),
        ({"model": None}, "no model given"),
    ],
)
def test_refused_in_one_line(chat_server: Any, settings: dict[str, Any], word: str) -> None:
    given = {"generator": "endpoint", "model": "m", "endpoint": {"url": chat_server.url}}
    with pytest.raises(BadInput, match=word):
        make_generator({**given, **settings})


def test_in_a_loop_that_runs_already(chat_server: Any) -> None:
    """A notebook has one."""
    import asyncio

    async def cell() -> list[Answer]:
        return make(chat_server).generate(PROMPTS, seed=0)

    assert all(a.texts == ("yes",) for a in asyncio.run(cell()))
