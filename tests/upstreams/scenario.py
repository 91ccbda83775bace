"""
How an answer misbehaves: read from the model's name, played onto a connection.

A model name is one or more marks joined by `+`, a mark being a name and perhaps a number:
`fail-cut-3`, `slow-20+long-500`. Marks nobody knows (`gpt-4o`) change nothing. The table of
marks stands in openai.py.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Callable, Iterable, Mapping, Optional

from upstreams.http import Connection, Headers, Request, to_json

DEFAULT_EVENTS_BEFORE_FAILURE = 2
HEAD_FLOOD_LINES = 20_000
HTML = b"<!doctype html><html><head><title>Welcome</title></head><body>It works</body></html>"
BROKEN_JSON = b'{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"mess'

# Of a provider that speaks none of ours.
OTHER_DIALECT = {"generation": "Hello", "stop_reason": "stop", "prompt_token_count": 3}
HUGE_EVENT_BYTES = 20 * 1024 * 1024

# A whole answer nobody asked for: a client that pools the connection gives it to its next caller.
POISON = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n"
    b'{"poisoned":true}'
)

# status: (type, code, message); what is not here is a server_error without a code.
ERRORS: Mapping[int, tuple[str, Optional[str], str]] = {
    400: ("invalid_request_error", None, "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("request_forbidden", "unsupported_country_region_territory", "Not from here."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    409: ("invalid_request_error", "conflict", "The resource was changed by another request."),
    413: ("invalid_request_error", "request_too_large", "The request is too large."),
    422: ("invalid_request_error", "unprocessable_entity", "The request cannot be processed."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached."),
    503: ("server_error", "server_is_overloaded", "The server is overloaded."),
}


def error_body(
    message: str, type_: str, code: Optional[str] = None, param: Optional[str] = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def openai_error(status: int, message: str) -> dict[str, Any]:
    type_, code, _ = ERRORS.get(status, ("server_error", None, ""))
    return error_body(message, type_, code)


@dataclass(frozen=True)
class Dialect:
    """What a provider's failures look like: `error(status, message)` is a body, and an event of a stream."""

    error: Callable[[int, str], Any]
    error_event: Optional[str]  # name of the event, if it has one
    closing: Optional[str]  # the data of a last event that every stream has


OPENAI = Dialect(openai_error, None, "[DONE]")


@dataclass(frozen=True)
class Named:
    """An event with a name."""

    name: str
    data: Any


@dataclass(frozen=True)
class Scenario:
    model: str
    marks: Mapping[str, Optional[int]]

    @classmethod
    def of(cls, model: str) -> Scenario:
        marks: dict[str, Optional[int]] = {}
        for part in model.split("+"):
            match = re.fullmatch(r"(.+?)(?:-(\d{1,9}))?", part)
            if match:
                marks[match[1]] = int(match[2]) if match[2] else None
        return cls(model, marks)

    def has(self, mark: str) -> bool:
        return mark in self.marks

    def number(self, mark: str) -> Optional[int]:
        """The mark's number; None without the mark or without a number."""
        return self.marks.get(mark)

    def events_before(self, mark: str) -> Optional[int]:
        """After how many events `mark` strikes; None when it never does."""
        if mark not in self.marks:
            return None
        number = self.marks[mark]
        return DEFAULT_EVENTS_BEFORE_FAILURE if number is None else number

    @property
    def event_end(self) -> str:
        if self.has("crlf"):
            return "\r\n"
        return "\r" if self.has("cr") else "\n"


class Player:
    """Plays scenarios. `attempts` remembers how often each `fail-first` model was asked."""

    def __init__(self, dialect: Dialect = OPENAI) -> None:
        self.attempts: Counter[str] = Counter()
        self.dialect = dialect

    async def fails_before_answer(
        self, scenario: Scenario, request: Request, connection: Connection
    ) -> bool:
        """Plays what replaces the answer as a whole; false when an answer is still wanted."""
        if scenario.has("bytes"):
            connection.one_byte_writes = True
        if scenario.has("fail-close"):
            connection.keep_alive = False
        status = scenario.number("fail-status")
        if status is None and scenario.has("fail-first"):
            self.attempts[scenario.model] += 1
            if self.attempts[scenario.model] <= (scenario.number("fail-first") or 1):
                status = 503
        if status is not None:
            await self.respond_error(connection, status)
        elif scenario.has("fail-retry-date"):
            now = int(time.time())
            dates = [("date", formatdate(now, usegmt=True)), ("retry-after", formatdate(now + (scenario.number("fail-retry-date") or 0), usegmt=True))]
            await connection.respond_json(429, self.dialect.error(429, "Rate limit reached."), dates)
        elif scenario.has("fail-retry-info"):
            body = self.dialect.error(429, "Resource exhausted.")
            info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{scenario.number('fail-retry-info')}.5s"}
            body["error"]["details"] = [{"@type": "type.googleapis.com/google.rpc.Help"}, info]
            await connection.respond_json(429, body)
        elif scenario.has("fail-quota"):
            message = "You exceeded your current quota."
            body = error_body(message, "insufficient_quota", "insufficient_quota")
            await connection.respond_json(429, body)
        elif scenario.has("fail-leak"):
            names = ("authorization", "x-api-key", "x-goog-api-key")
            credential = next(filter(None, map(request.header, names)), None)
            message = f"Cannot use credential {credential}."
            await connection.respond_json(400, self.dialect.error(400, message))
        elif scenario.has("fail-cut-head"):
            await connection.cut()
        elif scenario.has("fail-stall") and scenario.number("fail-stall") is None:
            await connection.stall()
        elif scenario.has("fail-redirect"):
            host = request.header("host") or "127.0.0.1"
            location = ("location", f"http://{host}/v1/elsewhere")
            await connection.respond(302, headers=[location])
        elif scenario.has("fail-html"):
            await connection.respond(200, HTML, "text/html; charset=utf-8")
        elif scenario.has("fail-dialect"):
            await connection.respond_json(200, OTHER_DIALECT)
        elif scenario.has("fail-empty"):
            await connection.respond(200, b"")
        elif scenario.has("fail-garbage-json"):
            await connection.respond(200, BROKEN_JSON)
        else:
            return await _breaks_http(scenario, connection)
        return True

    async def respond_error(self, connection: Connection, status: int) -> None:
        message = ERRORS.get(status, ("", None, "The server had an error."))[2]
        headers = [("retry-after", "1")] if status == 429 else []
        body = self.dialect.error(status, f"{message} (scripted {status})")
        await connection.respond_json(status, body, headers)

    async def play_json(
        self, scenario: Scenario, connection: Connection, body: Any, headers: Headers = ()
    ) -> None:
        """A whole answer, spoilt as the scenario says."""
        data = to_json(body)
        content_type = "text/plain" if scenario.has("fail-content-type") else "application/json"
        delay_ms = scenario.number("slow")
        if delay_ms:
            await connection.pause(delay_ms / 1000)
        if any(map(scenario.has, ("fail-cut", "fail-end", "fail-stall"))):
            head = connection.head(200, [("content-type", content_type),
                                         ("content-length", str(len(data))), *headers])
            await connection.send(head + data[: len(data) // 2])
            await (connection.stall() if scenario.has("fail-stall") else connection.cut())
        elif scenario.has("fail-garbage-stream") or scenario.has("fail-error-event"):
            await connection.respond(200, BROKEN_JSON, headers=headers)
        elif scenario.has("fail-length"):
            await connection.respond(
                200, data, content_type, headers, declared_length=len(data) + 10
            )
            await connection.cut()
        else:
            trailing = POISON if scenario.has("fail-leftover") else b""
            await connection.respond(200, data, content_type, headers, trailing=trailing)
            await self._after_answer(scenario, connection)

    async def play_stream(
        self, scenario: Scenario, connection: Connection, events: Iterable[Any],
        headers: Headers = (),
    ) -> None:
        """`events` as SSE, and the dialect's closing one, spoilt as the scenario says."""
        content_type = "text/plain" if scenario.has("fail-content-type") else "text/event-stream"
        if scenario.has("fail-length"):
            body = b"".join(encode_event(event, scenario.event_end) for event in events)
            await connection.respond(
                200, body, content_type, headers, declared_length=len(body) + 10
            )
            await connection.cut()
            return
        await connection.start_stream(content_type, headers)
        sent = 0
        for event in events:
            if await self._strikes(scenario, connection, sent):
                return
            await self._between_events(scenario, connection, sent)
            await connection.send_part(encode_event(event, scenario.event_end))
            sent += 1
        if await self._strikes(scenario, connection, sent, at_end=True):
            return
        if self.dialect.closing and not scenario.has("no-done"):
            await connection.send_part(encode_event(self.dialect.closing, scenario.event_end))
        if scenario.has("fail-leftover"):
            await connection.send(b"0\r\n\r\n" + POISON)
        else:
            await connection.finish_stream()
        await self._after_answer(scenario, connection)

    async def _strikes(
        self, scenario: Scenario, connection: Connection, sent: int, at_end: bool = False
    ) -> bool:
        """Plays the failure due after `sent` events; true when the answer ends with it."""

        def due(mark: str) -> bool:
            events = scenario.events_before(mark)
            return events is not None and (sent == events or (at_end and sent < events))

        end = scenario.event_end
        if due("fail-cut"):
            await connection.cut()
        elif due("fail-stall"):
            await connection.stall()
        elif due("fail-end"):
            await connection.finish_stream()
        elif due("fail-huge"):
            filler = "x" * HUGE_EVENT_BYTES
            await connection.send_part(encode_event({"choices": [{"index": 0, "delta": {"content": filler}}]}, end))
        elif due("fail-utf8"):
            half = '"content":"gr\u00fc'.encode()[:-1]  # a character of two bytes has one
            await connection.send_part(b'data: {"choices":[{"index":0,"delta":{' + half + b'"}}]}' + (end * 2).encode())
            await connection.finish_stream()
        elif due("fail-error-event") or due("fail-error-named"):
            error = self.dialect.error(500, "The server had an error.")
            name = "error" if scenario.has("fail-error-named") else self.dialect.error_event
            await connection.send_part(encode_event(error, end, name))
            await connection.finish_stream()
        else:
            return False
        return True

    async def _between_events(
        self, scenario: Scenario, connection: Connection, sent: int
    ) -> None:
        end = scenario.event_end
        delay_ms = scenario.number("slow")
        if delay_ms and sent > 0:
            await connection.pause(delay_ms / 1000)
        if scenario.has("comments"):
            await connection.send_part(f": keep-alive {sent}{end}{end}{end}".encode())
        if sent == scenario.events_before("fail-garbage-stream"):
            await connection.send_part(f"data: {{not json{end}{end}".encode())

    async def _after_answer(self, scenario: Scenario, connection: Connection) -> None:
        if scenario.has("fail-stale"):
            await connection.cut()


async def _breaks_http(scenario: Scenario, connection: Connection) -> bool:
    """Answers that are not well-formed HTTP; each ends the connection."""
    json_head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    if scenario.has("fail-garbage"):
        raw = b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\r\n\x00\xff"
    elif scenario.has("fail-two-lengths"):
        raw = json_head + b"content-length: 2\r\ncontent-length: 19\r\n\r\n{}" + POISON[-17:]
    elif scenario.has("fail-length-and-chunked"):
        framing = b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n"
        raw = json_head + framing + b"2\r\n{}\r\n0\r\n\r\n"
    elif scenario.has("fail-head-flood"):
        raw = json_head + b"x-flood: 0123456789abcdef\r\n" * HEAD_FLOOD_LINES + b"\r\n"
    else:
        return False
    await connection.send(raw)
    await connection.cut()
    return True


def encode_event(event: Any, end: str, name: Optional[str] = None) -> bytes:
    """One server-sent event; a str is sent as it is, anything else as JSON."""
    if isinstance(event, Named):
        name, event = event.name, event.data
    data = event.encode() if isinstance(event, str) else to_json(event)
    prefix = f"event: {name}{end}" if name else ""
    return prefix.encode() + b"data: " + data + (end * 2).encode()
