#!/usr/bin/env python3
"""
A scripted upstream that speaks OpenAI's dialect. No dependencies:

    python3 -m upstreams.openai --port N [--host 127.0.0.1] [--require-key K]   (from tests/)
    python3 tests/upstreams/openai.py --port 0                                  (a free port)

POST /v1/chat/completions, /v1/completions, /v1/embeddings; GET /v1/models, /v1/models/{id}; the
control endpoints of server.py. `/v1` may be left out. A Bearer key is needed: any, or exactly K.

The answer is `Echo: <last user text>`, plus ` [2 images]` when there are images. Tools are called
when the last user text says `tool`, `tools` or `call`, or names a function, or tool_choice demands
it; a tool's result is answered `Tool said: <result>`. max_tokens counts words and ends in
`length`. How tokens are counted stands in answers.py. Every answer carries an `x-request-id`, a
cookie and the provider's rate limits, so a test can see what of it gets through.

The name of the model picks how the answer misbehaves. Marks join by `+`, as in `slow-20+long-500`;
a name without marks is a normal model. N events count from the role chunk; 2 when not given.

    mark                      what happens
    ------------------------  --------------------------------------------------------------------
    fail-status-<code>        OpenAI error object with that status; 429 with `retry-after: 1`
    fail-quota                429 insufficient_quota
    fail-retry-date-<s>       429 whose retry-after is the date in s seconds
    fail-retry-info-<s>       429 whose body has Google's RetryInfo, s.5 seconds
    fail-leak                 400 whose message repeats the Authorization header it got
    fail-first[-<n>]          the first n requests (1) of this very name get 503, later ones work
    fail-cut[-<n>]            closed after n events; JSON: after half of the body
    fail-cut-head             closed before any byte
    fail-end[-<n>]            the body ends cleanly after n events, no [DONE]; JSON: as fail-cut
    fail-stall                the request is read and never answered
    fail-stall-<n>            n events, then silence; JSON: half of the body, then silence
    fail-error-event[-<n>]    after n events `data: {"error":...}`, then the body ends
    fail-error-named[-<n>]    the same under `event: error`
    fail-garbage              bytes that are not HTTP
    fail-garbage-json         200 application/json, broken JSON
    fail-garbage-stream[-<n>] after n events one data line that is not JSON; JSON: broken JSON
    fail-html                 200 text/html
    fail-dialect              200 application/json of another kind of API
    fail-empty                200 application/json without a body
    fail-huge[-<n>]           after n events one of 20 MB
    fail-utf8[-<n>]           after n events one that ends within a character
    fail-content-type         the right answer as text/plain
    fail-redirect             302 to /v1/elsewhere
    fail-no-usage             no usage, even if asked for
    fail-length               a content-length 10 bytes too large, then closed (streams too)
    fail-leftover             a whole second answer right behind the first, connection kept open
    fail-two-lengths          two different content-lengths
    fail-length-and-chunked   content-length with transfer-encoding
    fail-head-flood           a head of half a megabyte
    fail-close                a good answer with `connection: close`
    fail-stale                a good answer that promises keep-alive, then the socket closes
    usage-on-content          usage, finish reason and the last words in one chunk
    usage-every-chunk         running usage on every chunk, and no chunk without choices
    crlf, cr                  events end \\r\\n\\r\\n, or \\r\\r
    bytes-1                   every byte in a write (and chunk) of its own, multi-byte text
    comments                  an SSE comment and blank lines before every event
    no-done                   a complete stream without [DONE]
    slow-<ms>                 ms between events; JSON: ms before the answer
    long-<n>                  the answer is n words
    unbounded                 whatever max_tokens says
    cached-<n>, reasoning-<n> that many cached and reasoning tokens in the usage
    prompt-<n>                that many prompt tokens in the usage
    rejected-<n>              that many tokens of a prediction that did not come, among the completion's
    tier-default, -priority, -scale   answered in that service tier, whatever was asked for
"""

from __future__ import annotations

import argparse
import hmac
import itertools
import sys
import time
from pathlib import Path
from typing import Awaitable, Callable, Mapping, Optional
from urllib.parse import unquote

if __package__ in (None, ""):  # run as a script: this folder's http.py must not shadow Python's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from upstreams.answers import Json, answer_chat
from upstreams.http import Connection, Request
from upstreams.openai_chat import chat_chunks, chat_completion
from upstreams.openai_embeddings import embeddings
from upstreams.openai_text import prompts_of, text_chunks, text_completion
from upstreams.scenario import Player, Scenario, error_body
from upstreams.server import Server, run

LISTED_MODELS = (
    "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-5", "gpt-5-mini", "o4-mini",
    "gpt-3.5-turbo-instruct", "text-embedding-3-small", "text-embedding-3-large",
)
MODELS_CREATED_S = 1_700_000_000
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MAX_CHOICES = 128


class Refusal(Exception):
    """A request the provider refuses with an error object."""

    def __init__(
        self, status: int, message: str, param: Optional[str] = None, code: Optional[str] = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(message, "invalid_request_error", code, param)


Endpoint = Callable[[Json, Scenario, Connection], Awaitable[None]]


class OpenAI:
    """The routes. `required_key` None accepts any key."""

    def __init__(self, required_key: Optional[str] = None) -> None:
        self.required_key = required_key
        self.player = Player()
        self.numbers = itertools.count(1)
        self.posts: Mapping[str, Endpoint] = {
            "/chat/completions": self.chat,
            "/completions": self.completions,
            "/embeddings": self.embeddings,
        }

    async def handle(self, request: Request, connection: Connection) -> None:
        connection.default_headers = [
            ("server", "scripted-upstream"),
            ("x-request-id", f"req_upstream{next(self.numbers)}"),
            ("openai-processing-ms", "1"),
            ("openai-version", "2020-10-01"),
            ("openai-organization", "scripted"),
            ("set-cookie", "upstream=1; path=/; HttpOnly"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-reset-requests", "6ms"),
        ]
        try:
            await self.route(request, connection)
        except Refusal as refusal:
            await connection.respond_json(refusal.status, refusal.body)

    async def route(self, request: Request, connection: Connection) -> None:
        path = request.path.removeprefix("/v1")
        self.check_key(request)
        if path == "/models" or path.startswith("/models/"):
            if request.method != "GET":
                raise Refusal(405, f"Method {request.method} is not allowed.")
            await connection.respond_json(200, models(unquote(path[len("/models/"):])))
            return
        endpoint = self.posts.get(path)
        if endpoint is None:
            raise Refusal(404, f"Invalid URL ({request.method} {request.path})")
        if request.method != "POST":
            raise Refusal(405, f"Method {request.method} is not allowed.")
        body = parse_body(request)
        scenario = Scenario.of(body["model"])
        if not await self.player.fails_before_answer(scenario, request, connection):
            await endpoint(body, scenario, connection)

    def check_key(self, request: Request) -> None:
        scheme, _, key = (request.header("authorization") or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise Refusal(401, "You didn't provide an API key.")
        if self.required_key is not None and not hmac.compare_digest(
            key.encode(), self.required_key.encode()
        ):
            raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")

    async def chat(self, body: Json, scenario: Scenario, connection: Connection) -> None:
        check_messages(body)
        check_choices(body)
        answer = answer_chat(body, scenario)
        about = (body, answer, scenario, f"chatcmpl-{next(self.numbers)}", int(time.time()))
        if body.get("stream"):
            await self.player.play_stream(scenario, connection, chat_chunks(*about))
        else:
            await self.player.play_json(scenario, connection, chat_completion(*about))

    async def completions(self, body: Json, scenario: Scenario, connection: Connection) -> None:
        check_choices(body)
        if not prompts_of(body):
            raise Refusal(400, "Missing required parameter: 'prompt'.", "prompt")
        about = (body, scenario, f"cmpl-{next(self.numbers)}", int(time.time()))
        if body.get("stream"):
            await self.player.play_stream(scenario, connection, text_chunks(*about))
        else:
            await self.player.play_json(scenario, connection, text_completion(*about))

    async def embeddings(self, body: Json, scenario: Scenario, connection: Connection) -> None:
        if body.get("input") in (None, "", []):
            raise Refusal(400, "Missing required parameter: 'input'.", "input")
        if body.get("encoding_format", "float") not in ("float", "base64"):
            raise Refusal(400, "encoding_format is float or base64.", "encoding_format")
        await self.player.play_json(scenario, connection, embeddings(body, scenario))


def parse_body(request: Request) -> Json:
    body = request.json()
    if not isinstance(body, dict):
        raise Refusal(400, "We could not parse the JSON body of your request.")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise Refusal(400, "you must provide a model parameter", "model")
    return body


def check_messages(body: Json) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal(400, "Missing required parameter: 'messages'.", "messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            param = f"messages[{index}].role"
            raise Refusal(400, f"Invalid value: '{param}'.", param, "invalid_value")


def check_choices(body: Json) -> None:
    choices = body.get("n")
    if choices is not None and (type(choices) is not int or not 1 <= choices <= MAX_CHOICES):
        raise Refusal(400, f"n is 1 to {MAX_CHOICES}.", "n", "invalid_value")


def models(wanted: str) -> Json:
    """The list when `wanted` is empty, else that model. Scripted names are not listed."""

    def model(id_: str) -> Json:
        return {"id": id_, "object": "model", "created": MODELS_CREATED_S, "owned_by": "scripted"}

    if not wanted:
        return {"object": "list", "data": [model(id_) for id_ in LISTED_MODELS]}
    if wanted not in LISTED_MODELS:
        raise Refusal(404, f"The model '{wanted}' does not exist", "model", "model_not_found")
    return model(wanted)


def main(arguments: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="A scripted upstream in OpenAI's dialect.")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free port")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--require-key", metavar="K", help="refuse every other Bearer key")
    options = parser.parse_args(arguments)
    app = OpenAI(options.require_key)
    server = Server(app.handle, on_stats_reset=app.player.attempts.clear)
    return run(server, options.host, options.port)


if __name__ == "__main__":
    sys.exit(main())
