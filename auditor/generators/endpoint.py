"""This module gets answers from an OpenAI-compatible server (`POST .../chat/completions`): a hosted model, or
one's own vLLM.

**What cannot be known.** A remote model has no weights to take a digest of. Its identity is the address, the
name, the sampling settings, the form of the messages, and what the server says of itself: owner and root of
the model in `/models`, and the version of a vLLM. A host that changes the model under the same name is not
noticed; `version` in the config is there to say it. `system_fingerprint` is no part of it: it comes only with
an answer, and a service of many machines alternates between several. A seed is sent, and servers promise
little about it: what was stored is what repeats.

**Log-probabilities** are kept at temperature 1 and for greedy answers, where a server's are those of the law
that this program means (see `Answer`): servers tell them before the temperature is applied. Whether the end
token is among them is the server's choice (vLLM lists it, others do not).

**When nothing answers.** One prompt without an answer is that prompt's error. The first failure before any
answer, and every `failures` in a row, are followed by a plain question: where that fails too, the endpoint is
down (or key, name or address are wrong), and the job ends instead of quarantining every row.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from auditor.errors import AuditError, BadInput, RowError
from auditor.generators import chat
from auditor.generators.rates import prompt_tokens
from auditor.generators.registry import generator
from auditor.generators.sampling import Sampling
from auditor.generators.server import NoAnswer, Passing, Server
from auditor.records import http as web
from auditor.registry import Settings
from auditor.sketch.blocks import hash64
from auditor.storage.row_cache import Failure
from schemas.config import EndpointConfig
from schemas.record import Reason
from schemas.response import Answer, Prompt

PLAIN = "."
"""The question that shows whether anything answers."""
LOOK_UP_SECONDS = 60.0
"""The time limit (seconds) for asking the server what it is."""
_ASK_OTHERWISE = frozenset({400, 422})
_BODY_BYTES = 2**20
_BYTES_A_TOKEN = 2**10  # with its log-probability, as JSON


@dataclass(frozen=True, slots=True)
class _Manner:
    """How a prompt is asked: all samples in one request or one by one, with log-probabilities or without."""

    together: bool
    logprobs: bool


class EndpointSettings(Settings):
    """The settings are the section of a model's config that says where and how to ask."""

    endpoint: EndpointConfig | None = None


class EndpointGenerator:
    """This class is a `Generator` over a server. One instance asks with `concurrency` requests under way and
    within its rates, so a rate holds for one instance: have one worker, not several."""

    def __init__(self, name: str, config: EndpointConfig, sampling: Sampling) -> None:
        """`name`: the model's, as the server knows it. Asks the server what it is (unless `config.version`
        says it). Raises `BadInput` where the key is missing, `AuditError` where nothing answers."""
        self._config, self._sampling = config, sampling
        self._name = config.model or name
        most = _BODY_BYTES + _BYTES_A_TOKEN * sampling.max_new_tokens * sampling.samples
        self._server = Server(config, most)
        self._manners = [
            _Manner(together, logprobs)
            for together in ((True, False) if sampling.samples > 1 else (True,))
            for logprobs in ((True, False) if sampling.temperature in (0.0, 1.0) else (False,))
        ]
        self._manner: _Manner | None = None
        """The manner that the server has answered to; none yet before its first answer."""
        self._alive = False
        self._in_a_row = 0
        self._checking = asyncio.Lock()
        self._over: AuditError | None = None
        engine = config.version if config.version is not None else web.run(self._engine())
        self._identity = self._describe(engine)

    @property
    def identity(self) -> str:
        """Return canonical JSON of everything that is known to change the output."""
        return self._identity

    def generate(self, prompts: Sequence[Prompt], seed: int) -> list[Answer]:
        """Return one `Answer` a prompt, in order. One that failed for good, was refused or filtered has its
        `error`; of several samples those that are no answers are left out.

        Raises:
            AuditError: the endpoint is down, or takes neither key nor model.
        """
        return web.run(self._generate(prompts, seed))

    async def _generate(self, prompts: Sequence[Prompt], seed: int) -> list[Answer]:
        answers = [Answer(error="not answered")] * len(prompts)
        waiting = iter(enumerate(prompts))
        self._checking, self._over = asyncio.Lock(), None  # the lock is this loop's

        async def ask(session: aiohttp.ClientSession) -> None:
            for index, prompt in waiting:
                answers[index] = await self._answer(session, prompt, hash64(f"{seed}:{index}", b"ask") >> 33)

        async with self._server.session() as session:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self._config.concurrency, len(prompts))):
                        group.create_task(ask(session))
            except ExceptionGroup as error:
                raise error.exceptions[0] from None
        return answers

    async def _answer(self, session: aiohttp.ClientSession, prompt: Prompt, seed: int) -> Answer:
        tokens = prompt_tokens(prompt.text, prompt.history, len(prompt.images), self._config.tokens_per_image)
        try:
            messages = chat.messages(prompt)
        except RowError as error:
            return Answer(error=str(Failure(error.reason, error.detail)))
        except Exception as error:  # of Pillow, on bytes that nobody admitted
            return Answer(error=str(Failure(Reason.IMAGE_CORRUPT, type(error).__name__)))
        try:
            choices = await self._ask_choices(session, messages, tokens, seed)
        except NoAnswer as error:
            await self._count_failure(session)
            return Answer(error=str(Failure(Reason.MODEL_FAILED, str(error))))
        self._alive, self._in_a_row = True, 0
        return _answer_of(choices)

    async def _count_failure(self, session: aiohttp.ClientSession) -> None:
        """Count a prompt without an answer. Raises `AuditError` where the endpoint itself does not answer."""
        self._in_a_row += 1
        async with self._checking:
            if self._over is not None:
                raise self._over
            if self._alive and self._in_a_row < self._config.failures:
                return
            plain = [{"role": "user", "content": PLAIN}]
            body = self._body(plain, _Manner(True, False), 0) | {"n": 1}
            try:
                chat.choices(
                    await self._server.call(session, "chat/completions", prompt_tokens(PLAIN, (), 0, 0), body)
                )
            except (NoAnswer, ValueError) as again:
                self._over = self._unreachable_error(again)
                raise self._over from None
            self._alive, self._in_a_row = True, 0

    def _unreachable_error(self, error: NoAnswer | ValueError) -> AuditError:
        """Return the error that ends the job, with the way out."""
        status = error.status if isinstance(error, NoAnswer) else 200
        if status in (401, 403):
            named = self._config.api_key_env
            out = f"check the key in {named}" if named else "name a key's variable in endpoint.api_key_env"
        elif status == 404:
            out = f"check endpoint.url, and that the server has the model {self._name!r} (endpoint.model)"
        elif status in _ASK_OTHERWISE:
            out = "check what the request holds (endpoint.extra, temperature, max_new_tokens)"
        else:
            out = "check that the server is up and reachable from where the workers are"
        return AuditError(
            f"model {self._name}: the endpoint {self._config.url} does not answer ({error}); "
            f"{out}, then run the same command to go on"
        )

    # One prompt.

    async def _ask_choices(
        self, session: aiohttp.ClientSession, messages: list[dict[str, Any]], tokens: int, seed: int
    ) -> list[chat.Choice]:
        """Return the samples of one prompt, asked in the manner that the server takes. Servers that know no
        `n`, or no log-probabilities, refuse the whole request: before the first answer plainer manners are
        tried."""
        refused: NoAnswer | None = None
        for manner in self._manners if self._manner is None else [self._manner]:
            try:
                choices = await self._ask(session, messages, manner, tokens, seed)
            except NoAnswer as error:
                refused = refused or error
                if error.status not in _ASK_OTHERWISE:
                    raise
                if self._manner is not None:  # another prompt has found out meanwhile
                    if self._manner == manner:
                        raise
                    return await self._ask(session, messages, self._manner, tokens, seed)
                continue
            self._manner = self._manner or manner
            return choices
        assert refused is not None
        raise refused

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        messages: list[dict[str, Any]],
        manner: _Manner,
        tokens: int,
        seed: int,
    ) -> list[chat.Choice]:
        wanted = self._sampling.samples
        choices: list[chat.Choice] = []
        while len(choices) < wanted:  # some servers ignore `n` and send one
            n = wanted if manner.together and not choices else 1
            body = self._body(messages, manner, seed + len(choices)) | {"n": n}
            most = tokens + n * self._sampling.max_new_tokens
            reply = await self._server.call(session, "chat/completions", most, body)
            try:
                choices += chat.choices(reply)
            except ValueError as error:
                raise NoAnswer(200, str(error)) from None
        return choices[:wanted]

    def _body(self, messages: list[dict[str, Any]], manner: _Manner, seed: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._name,
            "messages": messages,
            "temperature": self._sampling.temperature,
            "max_tokens": self._sampling.max_new_tokens,
            "top_p": 1.0,  # a served model's own default may cut the law whose entropy is meant
        }
        if self._sampling.temperature > 0:
            body["seed"] = seed
        if manner.logprobs:
            body["logprobs"] = True
        return {k: v for k, v in (body | self._config.extra).items() if v is not None}

    # What it is.

    async def _engine(self) -> str:
        """Return what the server says of the model and of itself, without what changes while it runs (vLLM's
        `created` is the time of the request). Raises `AuditError` where nothing answers, or the key is
        refused."""
        async with self._server.session() as session:
            try:
                listed = await self._server.call(session, "models", limit=LOOK_UP_SECONDS)
            except NoAnswer as error:
                if error.status is None or error.status == 401 or isinstance(error, Passing):
                    raise AuditError(
                        f"{self._unreachable_error(error)} "
                        "(or set endpoint.version to what stored answers are of)"
                    ) from None
                return "unknown"  # a server without such a list
            data = listed.get("data") if isinstance(listed, Mapping) else None
            models = [m for m in data if isinstance(m, Mapping)] if isinstance(data, list) else []
            entry = next((m for m in models if m.get("id") == self._name), {})
            facts = [str(entry[k]) for k in ("owned_by", "root") if isinstance(entry.get(k), str)]
            if entry.get("owned_by") == "vllm":
                root = self._config.url.removesuffix("/v1")
                try:
                    reply = await self._server.call(session, f"{root}/version", limit=LOOK_UP_SECONDS)
                except NoAnswer as error:
                    if error.status is None:
                        raise self._unreachable_error(error) from None
                    reply = None
                if isinstance(reply, Mapping) and isinstance(reply.get("version"), str):
                    facts.insert(1, reply["version"])
        return self._server.clean(" ".join(facts)) or "unknown"

    def _describe(self, engine: str) -> str:
        parts = urlsplit(self._config.url)
        return json.dumps(
            {
                "endpoint": f"{parts.scheme}://{parts.netloc}{parts.path}",
                "model": self._name,
                "engine": engine,
                "weights": "behind the endpoint, unknown",
                "sampling": asdict(self._sampling),
                "messages": chat.FORMAT,
                "extra": self._config.extra,
            },
            sort_keys=True,
        )


def _answer_of(choices: Sequence[chat.Choice]) -> Answer:
    """Return the samples that are answers; without any the first that says why."""
    good = [choice for choice in choices if choice.problem is None and choice.text]
    if not good:
        problem = next((choice.problem for choice in choices if choice.problem is not None), None)
        failure = (
            Failure(Reason.EMPTY_RESPONSE, "") if problem is None else Failure(Reason.MODEL_FAILED, problem)
        )
        return Answer(error=str(failure))
    logprobs = [choice.logprob for choice in good if choice.logprob is not None]
    tokens = [choice.tokens for choice in good if choice.tokens is not None]
    return Answer(
        tuple(choice.text for choice in good),
        tuple(logprobs) if len(logprobs) == len(good) else (),
        tuple(tokens) if len(tokens) == len(good) else (),
    )


@generator("endpoint", settings=EndpointSettings)
def endpoint(
    *,
    model: str | None,
    sampling: Sampling,
    batch: int,
    device: str,
    threads: int,
    settings: EndpointSettings,
) -> EndpointGenerator:
    """Make a generator over an OpenAI-compatible server; it makes batches of its own, on devices of its
    own."""
    if settings.endpoint is None:
        raise BadInput("generator endpoint: no endpoint given; write endpoint: {url: https://host/v1}")
    name = settings.endpoint.model or model
    if not isinstance(name, str):
        raise BadInput("generator endpoint: no model given; the name that the server knows")
    return EndpointGenerator(name, settings.endpoint, sampling)
