#!/usr/bin/env python3
"""
A scripted upstream that speaks Anthropic's Messages API. No dependencies:

    python3 tests/upstreams/anthropic.py --port 0                                  (a free port)

POST /v1/messages and /v1/messages/count_tokens; the control endpoints of server.py. `x-api-key` and `anthropic-version`, either
of its two, are needed. What is
not a request as Anthropic documents it is refused as there: unknown members, a missing max_tokens, empty
text, tool results that answer nothing, tool uses that are not answered in the next turn.

Answers, their words and their tokens are those of answers.py, of which the input tokens without those
cached are `input_tokens`. The name of the model picks how the answer misbehaves, with the marks of
openai.py and these:

    written-<n>     that many tokens were put into the cache
    late-usage      zeros in message_start, the figures in message_delta
    tier-priority   answered in the priority tier
    speed-standard  answered at that speed though fast was asked for
    no-done         a stream without message_stop
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any, Iterator, Optional

if __package__ in (None, ""):  # run as a script: this folder's http.py must not shadow Python's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from upstreams.answers import Answer, Json, answer_chat, prompt_tokens, split_words
from upstreams.http import Connection, Request
from upstreams.scenario import Dialect, Named, Player, Scenario
from upstreams.server import Server, run

VERSIONS = ("2023-06-01", "2026-10-21")
REMOVED = {"2026-10-21": ("temperature", "top_p", "top_k")}
SIGNATURE = "EqQBCgIYAhIM"
ARGUMENT_PIECE_CHARS = 7
MEMBERS = {
    "model", "messages", "max_tokens", "system", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata",
    "tools", "tool_choice", "thinking", "output_config", "service_tier", "container", "context_management", "speed",
}
COUNTED_MEMBERS = {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"}
BLOCKS = {
    "user": {"text", "image", "document", "tool_result"},
    "assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
}
TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
    409: "conflict_error", 413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error", 529: "overloaded_error",
}
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def error_of(status: int, message: str) -> Json:
    return {"type": "error", "error": {"type": TYPES.get(status, "api_error"), "message": message}, "request_id": "req_upstream"}


DIALECT = Dialect(error_of, "error", None)


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def require(holds: Any, message: str) -> None:
    if not holds:
        raise Refusal(400, message)


# ---- what is asked ----


def check_count(body: Any) -> None:
    require(isinstance(body, dict), "The request body is not valid JSON")
    for name in body:
        require(name in COUNTED_MEMBERS, f"{name}: Extra inputs are not permitted")
    for name in ("model", "messages"):
        require(name in body, f"{name}: Field required")
    check_turns(body["messages"])


def check(body: Any) -> None:
    require(isinstance(body, dict), "The request body is not valid JSON")
    for name in body:
        require(name in MEMBERS, f"{name}: Extra inputs are not permitted")
    for name in ("model", "messages", "max_tokens"):
        require(name in body, f"{name}: Field required")
    require(type(body["max_tokens"]) is int and body["max_tokens"] >= 0, "max_tokens: Input should be greater than or equal to 0")
    require(isinstance(body["messages"], list) and body["messages"], "messages: at least one message is required")
    require(0 <= body.get("temperature", 0) <= 1, "temperature: range: 0..1")
    choice = body.get("tool_choice", {"type": "auto"})
    require(choice.get("type") in ("auto", "any", "none", "tool"), "tool_choice.type: unknown")
    require("tools" in body or "tool_choice" not in body, "tool_choice may only be specified while providing tools")
    for index, tool in enumerate(body.get("tools", [])):
        require(tool.get("name"), f"tools.{index}.name: Field required")
        require(tool.get("input_schema", {}).get("type") == "object", f"tools.{index}.input_schema.type: Field required")
    for block in system_blocks(body):
        require(block.get("type") == "text" and block.get("text"), "system: text content blocks must be non-empty")
    check_turns(body["messages"])


def check_turns(messages: list[Json]) -> None:
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        at = f"messages.{index}"
        require(set(message) == {"role", "content"}, f"{at}: role and content are required, and nothing else")
        require(message["role"] in BLOCKS, f"{at}.role: Input should be 'user' or 'assistant'")
        blocks = blocks_of(message)
        require(blocks, f"{at}: all messages must have non-empty content")
        for number, block in enumerate(blocks):
            check_block(block, message["role"], f"{at}.content.{number}")
        answered = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        require(answered == open_calls, f"{at}: `tool_use` ids need `tool_result` blocks immediately after, and only those")
        open_calls = {block["id"] for block in blocks if block["type"] == "tool_use"}


def check_block(block: Json, role: str, at: str) -> None:
    kind = block.get("type")
    require(kind in BLOCKS[role], f"{at}.type: {kind} is not permitted for {role}")
    if kind == "text":
        require(block.get("text"), f"{at}: text content blocks must be non-empty")
    elif kind in ("image", "document"):
        source = block.get("source", {})
        fields = {"base64": {"type", "media_type", "data"}, "url": {"type", "url"}}.get(source.get("type"))
        require(set(source) == fields, f"{at}.source: not a source")
    elif kind == "tool_use":
        require(block.get("id") and block.get("name") and isinstance(block.get("input"), dict), f"{at}.input: Field required")
    elif kind == "thinking":
        require(block.get("signature") == SIGNATURE, f"{at}: Invalid `signature` in `thinking` block")


def system_blocks(body: Json) -> list[Json]:
    system = body.get("system", [])
    return [{"type": "text", "text": system}] if isinstance(system, str) else system


def blocks_of(message: Json) -> list[Json]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def text_of(blocks: list[Json]) -> str:
    return " ".join(block["text"] for block in blocks if block.get("type") == "text")


def as_chat(body: Json) -> Json:
    """The request as answers.py understands it."""
    messages: list[Json] = []
    if system_blocks(body):
        messages.append({"role": "system", "content": text_of(system_blocks(body))})
    for message in body["messages"]:
        blocks = blocks_of(message)
        for block in blocks:
            if block["type"] == "tool_result":
                content = block.get("content", "")
                messages.append({"role": "tool", "content": content if isinstance(content, str) else text_of(content)})
        rest = [block for block in blocks if block["type"] not in ("tool_result", "thinking", "redacted_thinking", "tool_use")]
        parts = [{"type": "image_url"} if block["type"] == "image" else block for block in rest]
        if parts or message["role"] == "assistant":
            messages.append({"role": message["role"], "content": parts})
    choice = body.get("tool_choice", {"type": "auto"})
    named = {"type": "function", "function": {"name": choice.get("name")}}
    chat: Json = {
        "messages": messages,
        "max_tokens": body["max_tokens"],
        "stop": body.get("stop_sequences"),
        "tools": [{"function": {"name": t["name"], "parameters": t["input_schema"]}} for t in body.get("tools", [])],
        "tool_choice": {"any": "required", "tool": named}.get(choice["type"], choice["type"]),
        "parallel_tool_calls": not choice.get("disable_parallel_tool_use", False),
    }
    format_ = body.get("output_config", {}).get("format")
    if format_:
        chat["response_format"] = {"type": "json_schema", "json_schema": {"schema": format_["schema"]}}
    return chat


# ---- what is answered ----


def usage_of(body: Json, chat: Json, answer: Answer, scenario: Scenario) -> Json:
    prompt = prompt_tokens(chat["messages"])
    cached = min(scenario.number("cached") or 0, prompt)
    written = min(scenario.number("written") or 0, prompt - cached)
    for_an_hour = min(scenario.number("hour") or 0, written)
    reasoning = scenario.number("reasoning") or 0
    return {
        "input_tokens": prompt - cached - written,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": written - for_an_hour, "ephemeral_1h_input_tokens": for_an_hour},
        "output_tokens": answer.words + reasoning,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "service_tier": "priority" if scenario.has("tier-priority") else "standard",
        **({"speed": "standard" if scenario.has("speed-standard") else "fast"} if body.get("speed") == "fast" else {}),
    }


def content_of(answer: Answer) -> list[Json]:
    blocks: list[Json] = []
    if answer.reasoning:
        blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": SIGNATURE})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    for call in answer.tool_calls:
        function = call["function"]
        id_ = call["id"].replace("call_", "toolu_")
        blocks.append({"type": "tool_use", "id": id_, "name": function["name"], "input": json.loads(function["arguments"])})
    return blocks


def message_of(body: Json, id_: str, **members: Any) -> Json:
    return {"id": id_, "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None, **members}


def deltas_of(block: Json) -> Iterator[Json]:
    """What a block says after its start, in pieces."""
    if block["type"] == "text":
        for piece in split_words(block["text"]):
            yield {"type": "text_delta", "text": piece}
    elif block["type"] == "thinking":
        for piece in split_words(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": block["signature"]}
    else:
        text = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
        yield {"type": "input_json_delta", "partial_json": ""}
        for start in range(0, len(text), ARGUMENT_PIECE_CHARS):
            yield {"type": "input_json_delta", "partial_json": text[start : start + ARGUMENT_PIECE_CHARS]}


def events_of(body: Json, answer: Answer, usage: Json, scenario: Scenario, id_: str) -> Iterator[Named]:
    def event(kind: str, **members: Any) -> Named:
        return Named(kind, {"type": kind, **members})

    late = scenario.has("late-usage")
    first = {name: 0 if late else count for name, count in usage.items() if name.endswith("input_tokens")}
    if not late:
        first["cache_creation"] = usage["cache_creation"]
    first |= {name: usage[name] for name in ("service_tier", "speed") if name in usage}
    yield event("message_start", message=message_of(body, id_, content=[], stop_reason=None, usage={**first, "output_tokens": 0 if late else 1}))
    for index, block in enumerate(content_of(answer)):
        empty = {"text": "", "thinking": "", "signature": "", "input": {}}
        yield event("content_block_start", index=index, content_block={k: empty.get(k, v) if k != "type" else v for k, v in block.items()})
        yield event("ping")
        for delta in deltas_of(block):
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    counted = usage if late else {name: count for name, count in usage.items() if name.startswith("output")}
    if scenario.has("fail-no-usage"):
        counted = {}
    yield event("message_delta", delta={"stop_reason": STOP_REASONS[answer.finish_reason], "stop_sequence": None}, usage=counted)
    if not scenario.has("no-done"):
        yield event("message_stop")


class Anthropic:
    def __init__(self) -> None:
        self.player = Player(DIALECT)
        self.numbers = itertools.count(1)

    async def handle(self, request: Request, connection: Connection) -> None:
        number = next(self.numbers)
        connection.default_headers = [("request-id", f"req_upstream{number}"), ("anthropic-organization-id", "scripted")]
        try:
            await self.messages(request, connection, f"msg_{number:024}")
        except Refusal as refusal:
            await connection.respond_json(refusal.status, error_of(refusal.status, str(refusal)))

    async def messages(self, request: Request, connection: Connection, id_: str) -> None:
        if not request.header("x-api-key"):
            raise Refusal(401, "x-api-key header is required")
        version = request.header("anthropic-version")
        require(version in VERSIONS, "anthropic-version: header is required")
        if request.method != "POST" or request.path not in ("/v1/messages", "/v1/messages/count_tokens"):
            raise Refusal(404, "Not found")
        body = request.json()
        for name in REMOVED.get(version, ()):
            require(name not in body, f"{name}: Extra inputs are not permitted")
        if request.path.endswith("/count_tokens"):
            check_count(body)
            if not await self.player.fails_before_answer(Scenario.of(body["model"]), request, connection):
                chat = as_chat({**body, "max_tokens": 1})
                await connection.respond_json(200, {"input_tokens": prompt_tokens(chat["messages"])})
            return
        check(body)
        scenario = Scenario.of(body["model"])
        if await self.player.fails_before_answer(scenario, request, connection):
            return
        chat = as_chat(body)
        answer = answer_chat(chat, scenario)
        usage = usage_of(body, chat, answer, scenario)
        if body.get("stream"):
            await self.player.play_stream(scenario, connection, events_of(body, answer, usage, scenario, id_))
            return
        counted = {} if scenario.has("fail-no-usage") else {"usage": usage}
        reason = STOP_REASONS[answer.finish_reason]
        await self.player.play_json(scenario, connection, message_of(body, id_, content=content_of(answer), stop_reason=reason, **counted))


def main(arguments: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="A scripted upstream in Anthropic's dialect.")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free port")
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args(arguments)
    app = Anthropic()
    return run(Server(app.handle, on_stats_reset=app.player.attempts.clear), options.host, options.port)


if __name__ == "__main__":
    sys.exit(main())
