#!/usr/bin/env python3
"""
A scripted LibreChat: the Agents API of v0.8.8-rc1, as far as a gateway sees it.

    python3 -m upstreams.librechat --port N [--host 127.0.0.1]         (from tests/)
    python3 tests/upstreams/librechat.py --port 0                      (a free port)
        [--require-key K]    refuse every other key
        [--abort old|new]    does a closed connection stop the run? old (default): no, new: yes
        [--not-ready-s S]    /readyz answers 503 NOT_READY for S seconds
        [--mongo URI --database NAME]
                             what runs cost is written there (librechat_books.py)
        [--oidc-issuer URL --oidc-jwks URL --oidc-audience A]
                             with --mongo: users of it may come with a token (librechat_oidc.py)

GET /health, /livez, /readyz; /api/agents/v1/models, /models/{id}, POST /chat/completions; the
control endpoints of server.py, GET /_stats with runs {started, finished, failed, aborted}. Other
paths under /api are 404 {"message"}; every other path is 200 with the web UI's HTML.

    key            who that is
    -------------  -------------------------------------------------------------
    sk-...         a user who may use every agent but agent_private
    sk-norole...   the role lacks REMOTE_AGENTS.USE: 403 {"message"}
    sk-noacl...    no access to any agent: 403 access_denied
    sk-invalid...  401 invalid_api_key
    sk-oidc...     keys are switched off: 401 {"error":"Unauthorized"}, a string
    a JWT          the user of the token, who may use what his `role` says: NOROLE and
                   NOACL as sk-norole and sk-noacl; one that is refused is tried as a key,
                   one whose user is: 401 {"error":"Unauthorized"}
    (none)         401 missing_api_key
    not Bearer     401 {"error":"Bearer token required"}, a string

A request with X-Tenant-Id is a tenant clash: 401 {"error":"Unauthorized"}.
conversation_id exists only as `conversation-1`; others are 404.

    agent                    what it does (numbers are optional)
    -----------------------  ---------------------------------------------------
    agent_echo               `Echo: <last user text> fields=<members of the body, in order>`
    agent_slow_<ms>          as agent_echo, ms (300) between events
    agent_tools              tool_calls, `event: attachment` and `on_summarize_*`, then text
    agent_reason             reasoning deltas, then text
    agent_nostream           JSON although stream:true
    agent_fail_pre_<status>  that status (500) before anything
    agent_fail_mid_<n>       n words (all), then the error as content with finish_reason stop,
                             [DONE] and no usage; JSON: 500
    agent_cut_<n>            closed after n events (2); JSON: after half of the body
    agent_bigusage           usage far above the text, with members nobody knows
    agent_gzip               gzipped and sent in one piece when Accept-Encoding has gzip
    agent_notext             content null, finish_reason tool_calls
    agent_split              CRLF, 1-byte writes, multi-byte UTF-8
    agent_private            403 access_denied
    agent_reset, _stall, _garbage, _html, _length
                             what a proxy in front of it breaks: fail-cut-head, fail-stall,
                             fail-garbage, fail-html, fail-length of openai.py
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hmac
import itertools
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Awaitable, Callable, Optional
from urllib.parse import unquote

if __package__ in (None, ""):  # run as a script: this folder's http.py must not shadow Python's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from upstreams.answers import Json
from upstreams.librechat_books import USER_MARK, Books
from upstreams.http import ClientGone, Connection, Request, to_json
from upstreams.librechat_oidc import Oidc, TokenRefused, UserRefused, bearer_of
from upstreams.librechat_agents import (
    AGENTS, FRONT_FAULTS, PROVIDER_FAILURE, Event, Run, completion, known_agent, run_of, stream,
)
from upstreams.scenario import Named, Player, Scenario, encode_event
from upstreams.server import Server, run

API = "/api/agents/v1"
MAX_BODY_BYTES = 3 * 1024 * 1024
AGENTS_CREATED_S = 1_750_000_000
CONVERSATION = "conversation-1"
ROLES = ("system", "user", "assistant", "tool")
WEB_UI = b"<!doctype html><html><head><title>LibreChat</title></head><body></body></html>"


Finish = Callable[[], Awaitable[None]]  # a run went well


class Refusal(Exception):
    """An answer that is an error, in whichever of LibreChat's shapes."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


def refuse(
    status: int, message: str, type_: str = "invalid_request_error", code: Optional[str] = None
) -> Refusal:
    return Refusal(status, {"error": {"message": message, "type": type_, "code": code}})


@dataclass
class RunCounters:
    started: int = 0
    finished: int = 0
    failed: int = 0
    aborted: int = 0


class LibreChat:
    """The routes. With `abort_new` a closed connection ends the run, as after v0.8.8-rc1."""

    def __init__(
        self, required_key: Optional[str] = None, abort_new: bool = False, not_ready_s: float = 0,
        books: Optional[Books] = None, oidc: Optional[Oidc] = None,
    ) -> None:
        self.required_key = required_key
        self.abort_new = abort_new
        self.ready_at_s = time.monotonic() + not_ready_s
        self.runs = RunCounters()
        self.books = books
        self.oidc = oidc
        self.database_failure = books.failure if books else ()
        self.started = secrets.token_urlsafe(9)  # ids are never given twice, as LibreChat's are not
        self.numbers = itertools.count(1)

    def reset(self) -> None:
        self.runs = RunCounters()

    async def handle(self, request: Request, connection: Connection) -> None:
        try:
            await self.route(request, connection)
        except Refusal as refusal:
            await connection.respond_json(refusal.status, refusal.body)

    async def route(self, request: Request, connection: Connection) -> None:
        path = request.path
        if path in ("/health", "/livez"):
            await connection.respond(200, b"OK", "text/plain; charset=utf-8")
        elif path == "/readyz":
            ready = time.monotonic() >= self.ready_at_s
            word = b"OK" if ready else b"NOT_READY"
            await connection.respond(200 if ready else 503, word, "text/plain; charset=utf-8")
        elif not path.startswith("/api/"):
            await connection.respond(200, WEB_UI, "text/html; charset=utf-8")
        elif len(request.body) > MAX_BODY_BYTES:
            await connection.respond(500, b"An unknown error occurred.", "text/plain")
        else:
            body = parse_json(request)
            await self.route_api(request, body, connection)

    async def route_api(self, request: Request, body: Any, connection: Connection) -> None:
        wanted = (request.method, request.path)
        if wanted == ("POST", f"{API}/chat/completions"):
            key = await self.who(request)
            self.check_chat(key, body)
            await self.chat(key, request, body, connection)
        elif wanted == ("GET", f"{API}/models"):
            reachable = [] if (await self.who(request)).startswith("sk-noacl") else AGENTS
            data = [agent_object(id_) for id_ in reachable if id_ != "agent_private"]
            await connection.respond_json(200, {"object": "list", "data": data})
        elif request.method == "GET" and request.path.startswith(f"{API}/models/"):
            id_ = unquote(request.path[len(f"{API}/models/"):])
            check_access(await self.who(request), id_)
            await connection.respond_json(200, agent_object(id_))
        else:
            raise Refusal(404, {"message": "Endpoint not found"})

    async def who(self, request: Request) -> str:
        """The caller's key, or what stands for one: sk-norole, sk-noacl, and a user's id behind USER_MARK."""
        token = bearer_of(request.header("authorization"))
        if self.oidc is None or token is None:
            return self.check_key(request)
        try:
            user = await asyncio.to_thread(self.oidc.user_of, token)
        except TokenRefused:
            return self.check_key(request)
        except UserRefused:
            raise Refusal(401, {"error": "Unauthorized"}) from None
        except self.database_failure:
            raise Refusal(500, {"error": "Internal server error"}) from None
        if user.get("role") == "NOROLE":
            raise Refusal(403, {"message": "Forbidden: Insufficient permissions"})
        return "sk-noacl" if user.get("role") == "NOACL" else f"{USER_MARK}{user['_id']}"

    def check_key(self, request: Request) -> str:
        """The caller's key. Refuses what LibreChat refuses before it looks at an agent."""
        authorization = request.header("authorization")
        if request.header("x-tenant-id") is not None:
            raise Refusal(401, {"error": "Unauthorized"})
        if not authorization:
            raise refuse(401, "Missing API key.", code="missing_api_key")
        if not authorization.startswith("Bearer "):
            raise Refusal(401, {"error": "Bearer token required"})
        key = authorization.removeprefix("Bearer ").strip()
        wrong = self.required_key is not None and not hmac.compare_digest(
            key.encode(), self.required_key.encode()
        )
        if wrong or not key.startswith("sk-") or key.startswith("sk-invalid"):
            raise refuse(401, "Invalid API key.", code="invalid_api_key")
        if key.startswith("sk-oidc"):
            raise Refusal(401, {"error": "Unauthorized"})
        if key.startswith("sk-norole"):
            raise Refusal(403, {"message": "Forbidden: Insufficient permissions"})
        return key

    def check_chat(self, key: str, body: Any) -> None:
        model = body.get("model") if isinstance(body, dict) else None
        if not isinstance(model, str) or not model:
            raise refuse(400, "Model (agent ID) is required", code="missing_model")
        check_access(key, model)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise refuse(400, "messages array is required")
        for index, message in enumerate(messages):
            if not isinstance(message, dict) or message.get("role") not in ROLES:
                raise refuse(400, f"messages[{index}].role must be one of {', '.join(ROLES)}")
        for name in ("conversation_id", "parent_message_id"):
            if not isinstance(body.get(name, ""), str):
                raise refuse(400, f"{name} must be a string")
        if body.get("conversation_id", CONVERSATION) != CONVERSATION:
            raise refuse(404, "Conversation not found")

    async def chat(self, key: str, request: Request, body: Json, connection: Connection) -> None:
        agent_run = run_of(body)
        about = (agent_run, body["model"], f"chatcmpl-{self.started}{next(self.numbers)}", int(time.time()))
        streams = bool(body.get("stream")) and not agent_run.json_only
        if agent_run.agent in FRONT_FAULTS:
            await self.break_in_front(agent_run, about, streams, request, connection)
            return
        self.runs.started += 1
        if agent_run.fail_status is not None or (agent_run.fails_as_content and not streams):
            self.runs.failed += 1
            raise provider_failure(agent_run.fail_status or 500)
        connection.one_byte_writes = agent_run.one_byte_writes
        gzipped = agent_run.agent == "agent_gzip" and "gzip" in (
            request.header("accept-encoding") or ""
        )

        async def finish() -> None:
            if self.books:
                await asyncio.to_thread(self.books.book, key, about[2], agent_run.usage)
            self.runs.finished += 1

        if not streams:
            await self.answer_json(agent_run, to_json(completion(*about)), gzipped, connection, finish)
        elif gzipped:
            events = b"".join(encode_event(event.data, "\n") for event in stream(*about))
            compressed = gzip.compress(events + encode_event("[DONE]", "\n"))
            await connection.start_stream(headers=[("content-encoding", "gzip")])
            await connection.send_part(compressed)
            await connection.finish_stream()
            await finish()
        else:
            await self.answer_stream(agent_run, list(stream(*about)), connection, finish)

    async def break_in_front(
        self, agent_run: Run, about: tuple[Run, str, str, int], streams: bool, request: Request, connection: Connection
    ) -> None:
        player, scenario = Player(), Scenario.of(FRONT_FAULTS[agent_run.agent])
        if await player.fails_before_answer(scenario, request, connection):
            return
        if streams:
            await player.play_stream(scenario, connection, [Named(e.name, e.data) if e.name else e.data for e in stream(*about)])
        else:
            await player.play_json(scenario, connection, completion(*about))

    async def answer_json(
        self, agent_run: Run, data: bytes, gzipped: bool, connection: Connection, finish: Finish
    ) -> None:
        await self.heard(self.wait(agent_run, connection))
        if agent_run.cut_after is not None:
            self.runs.failed += 1
            head = [("content-type", "application/json"), ("content-length", str(len(data)))]
            await connection.send(connection.head(200, head) + data[: len(data) // 2])
            await connection.cut()
            return
        await finish()
        if gzipped:
            encoding = [("content-encoding", "gzip"), ("vary", "Accept-Encoding")]
            await connection.respond(200, gzip.compress(data), headers=encoding)
        else:
            await connection.respond(200, data, "application/json; charset=utf-8")

    async def answer_stream(
        self, agent_run: Run, events: list[Event], connection: Connection, finish: Finish
    ) -> None:
        cut_after = None if agent_run.fails_as_content else agent_run.cut_after
        end = agent_run.line_end
        heard = await self.heard(connection.start_stream(headers=[("x-accel-buffering", "no")]))
        for sent, event in enumerate(events):
            if sent == cut_after:
                self.runs.failed += 1
                await connection.cut()
                return
            if sent > 0:
                heard = await self.heard(self.wait(agent_run, connection)) and heard
            if heard:
                data = encode_event(event.data, end, event.name)
                heard = await self.heard(connection.send_part(data))
        if agent_run.fails_as_content:
            self.runs.failed += 1
        else:
            await finish()
        if not heard:
            raise ClientGone
        await connection.send_part(encode_event("[DONE]", end))
        await connection.finish_stream()

    async def heard(self, delivery: Awaitable[None]) -> bool:
        """Whether the client is still there. When it left, a new LibreChat's run ends here."""
        try:
            await delivery
        except ClientGone:
            if self.abort_new:
                self.runs.aborted += 1
                raise
            return False
        return True

    async def wait(self, agent_run: Run, connection: Connection) -> None:
        """The agent's pause. An old run takes its time whether or not somebody listens."""
        if agent_run.pause_ms == 0:
            return
        if self.abort_new:
            await connection.pause(agent_run.pause_ms / 1000)
        else:
            await asyncio.sleep(agent_run.pause_ms / 1000)


def provider_failure(status: int) -> Refusal:
    type_ = "server_error" if status >= 500 else "invalid_request_error"
    return refuse(status, PROVIDER_FAILURE, type_)


def parse_json(request: Request) -> Any:
    """The body, {} when there is none. Express parses it before any key is looked at."""
    if not request.body:
        return {}
    body = request.json()
    if body is None:
        message = "Unexpected token in JSON"
        raise Refusal(400, {"error": "Invalid JSON format", "message": message})
    return body


def check_access(key: str, agent: str) -> None:
    known = known_agent(agent)
    if known is None:
        raise refuse(404, f"Agent not found: {agent}", code="model_not_found")
    if known[0] == "agent_private" or key.startswith("sk-noacl"):
        raise refuse(403, f"No access to agent: {agent}", "permission_error", "access_denied")


def agent_object(id_: str) -> Json:
    return {
        "id": id_,
        "object": "model",
        "created": AGENTS_CREATED_S,
        "owned_by": "librechat",
        "permission": [],
        "root": id_,
        "parent": None,
        "name": id_.removeprefix("agent_").replace("_", " ").title(),
        "description": "a scripted agent",
        "provider": "openAI",
    }


def main(arguments: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="A scripted LibreChat.")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free port")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--require-key", metavar="K", help="refuse every other key")
    parser.add_argument("--abort", choices=("old", "new"), default="old")
    parser.add_argument("--not-ready-s", type=float, default=0, metavar="S")
    parser.add_argument("--mongo", metavar="URI")
    parser.add_argument("--database", default="LibreChat", metavar="NAME")
    for name in ("issuer", "jwks", "audience"):
        parser.add_argument(f"--oidc-{name}", metavar="URL")
    options = parser.parse_args(arguments)
    books = Books(options.mongo, options.database) if options.mongo else None
    oidc = None
    if books and options.oidc_issuer:
        oidc = Oidc(options.oidc_issuer, options.oidc_jwks, options.oidc_audience, books.database["users"])
    app = LibreChat(options.require_key, options.abort == "new", options.not_ready_s, books, oidc)
    server = Server(app.handle, lambda: {"runs": vars(app.runs)}, app.reset)
    return run(server, options.host, options.port)


if __name__ == "__main__":
    sys.exit(main())
