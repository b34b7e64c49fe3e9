"""This module calls one server by OpenAI's HTTP interface. Requests carry its key and keep to rates, tries
and time; its words are never used unchecked."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
    wait_random,
)

from auditor.errors import BadInput
from auditor.generators.rates import Pacer
from auditor.records import http as web
from auditor.records.sources import why
from schemas.config import EndpointConfig

log = logging.getLogger(__name__)

LONGEST_BACKOFF = 60.0
_TRY_AGAIN = frozenset({408, 409, 429})
_MESSAGE_CHARS = 160
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


class NoAnswer(Exception):
    """A request failed for good. `status` is HTTP's, None where there was none."""

    def __init__(self, status: int | None, message: str) -> None:
        super().__init__(message)
        self.status = status


class Passing(NoAnswer):
    """A request failed in a way that may pass. `after`: seconds that the server asks to wait."""

    def __init__(self, status: int | None, message: str, after: float | None = None) -> None:
        super().__init__(status, message)
        self.after = after


class Server:
    """This class calls the server of `config`. It lives over many `asyncio.run`: what belongs to a loop is in
    its sessions."""

    def __init__(self, config: EndpointConfig, most_bytes: int) -> None:
        """`most_bytes` of a reply that are read. Raises `BadInput` where the key's variable is not set."""
        self._config, self._bound = config, most_bytes
        self._key = _key(config)
        self._pacer = Pacer(config)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Open a client with the key. Times are bounded request by request."""
        session = web.session(self._config.concurrency + 1, aiohttp.ClientTimeout(total=None))
        session.headers["Content-Type"] = "application/json"
        if self._key:
            session.headers["Authorization"] = f"Bearer {self._key}"
        async with session:
            yield session

    async def call(
        self,
        session: aiohttp.ClientSession,
        path: str,
        tokens: int = 0,
        body: Mapping[str, Any] | None = None,
        limit: float | None = None,
    ) -> Any:
        """Return the parsed reply to a POST of `body` (a GET without one), tried again within the config's
        bounds (and `limit` seconds, where that is less). Waiting for one's turn by the rates is not counted
        against them. `path`: under the endpoint's address, or an address. Raises `NoAnswer`."""
        sent = None if body is None else json.dumps(body).encode()
        most = min(self._config.total_seconds, limit or self._config.total_seconds)
        busy = 0.0

        def spent(state: RetryCallState) -> bool:
            return busy + state.idle_for + state.upcoming_sleep >= most

        async for attempt in AsyncRetrying(
            stop=_either(stop_after_attempt(self._config.tries), spent),
            wait=self._waiting_seconds,
            retry=retry_if_exception_type(Passing),
            before_sleep=self._log_retry,
            reraise=True,
        ):
            with attempt:
                await self._pacer.turn(tokens)
                began = time.monotonic()
                left = most - busy - attempt.retry_state.idle_for
                try:
                    return await self._request(session, path, sent, min(self._config.timeout_seconds, left))
                finally:
                    busy += time.monotonic() - began
        raise AssertionError("a retry ends with a reply or an error")

    def _log_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        log.info(
            "%s: %s; try %d of %d in %.1f s",
            self._config.url,
            error,
            state.attempt_number + 1,
            self._config.tries,
            state.upcoming_sleep,
        )

    def _waiting_seconds(self, state: RetryCallState) -> float:
        """Return what the server asks for (and a little, so that not all come back at once), else ever
        longer."""
        first = self._config.backoff_seconds
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, Passing) and error.after is not None:
            return error.after + float(wait_random(0, first)(state))
        return float(wait_exponential_jitter(initial=first, max=LONGEST_BACKOFF, jitter=first)(state))

    async def _request(
        self, session: aiohttp.ClientSession, path: str, sent: bytes | None, seconds: float
    ) -> Any:
        url = path if "://" in path else f"{self._config.url}/{path}"
        try:
            async with (
                asyncio.timeout(seconds),
                session.request(
                    "GET" if sent is None else "POST",
                    url,
                    data=sent,
                    proxy=web.proxy_of(url),
                    allow_redirects=False,
                ) as answer,
            ):
                data = await web.read_bounded(answer, self._bound)
                status, headers = answer.status, answer.headers
        except TimeoutError:
            raise Passing(None, f"no answer within {seconds:.3g} s (endpoint.timeout_seconds)") from None
        except ValueError as error:
            raise NoAnswer(None, self.clean(str(error))) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Passing(None, f"connection failed ({self.clean(why(error))})") from None
        if len(data) > self._bound:
            raise NoAnswer(status, f"status {status}: the reply has more than {self._bound:,} bytes")
        reply = _parse(data)
        complaint, code = self._complaint(reply)
        message = f"status {status}" + (f": {complaint}" if complaint else "")
        if status in _TRY_AGAIN or status >= 500:
            if code == "insufficient_quota":  # it says 429, and will tomorrow
                raise NoAnswer(status, message)
            after = _retry_after(headers.get("Retry-After"))
            if after is not None and after >= self._config.total_seconds:
                message += (
                    f" (asks to wait {after:.0f} s; endpoint.total_seconds is {self._config.total_seconds:g})"
                )
            raise Passing(status, message, after)
        if 300 <= status < 400:
            raise NoAnswer(status, f"status {status}: it redirects, and no redirect is followed with a key")
        if status != 200:
            raise NoAnswer(status, message)
        if reply is None:
            raise NoAnswer(status, "the reply is no JSON")
        if complaint:  # some gateways report what went wrong behind them with status 200
            raise NoAnswer(status, message)
        return reply

    def _complaint(self, reply: object) -> tuple[str, str]:
        """Return what the server says went wrong, and its code; empty where it says nothing of the kind."""
        if not isinstance(reply, Mapping):
            return "", ""
        error = reply.get("error") or (reply.get("detail") if "choices" not in reply else None)
        if isinstance(error, str):
            return self.clean(error), ""
        if isinstance(error, Mapping):
            return self.clean(str(error.get("message") or "an error without words")), str(error.get("code"))
        message = reply.get("message") if reply.get("object") == "error" else None  # of older vLLMs
        return (self.clean(message) if isinstance(message, str) else ""), ""

    def clean(self, text: str) -> str:
        """Shorten a text from elsewhere for a log, a terminal or a report: one line, without the key."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return _CONTROL.sub(" ", text)[:_MESSAGE_CHARS]


def _key(config: EndpointConfig) -> str | None:
    if config.api_key_env is None:
        return None
    key = os.environ.get(config.api_key_env, "").strip()
    if not key:
        raise BadInput(
            f"the environment variable {config.api_key_env} is not set where the endpoint is asked; set it "
            "(on every node), or endpoint.api_key_env: null where the server wants no key"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BadInput(f"the key in {config.api_key_env} holds characters that no header takes; set it anew")
    return key


def _either(*stops: Any) -> Any:
    return lambda state: any(stop(state) for stop in stops)


def _parse(data: bytes) -> object:
    """Return the JSON of a body; None where it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # also bytes that are no UTF-8, and nesting made to overflow
        return None


def _retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header: a number, or a date. None where it is neither."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value.strip()):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
