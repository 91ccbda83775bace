#!/usr/bin/env python3
"""
A scripted upstream that speaks Google's Gemini API. No dependencies:

    python3 tests/upstreams/google.py --port 0                                     (a free port)

POST /v1beta/models/{model}:generateContent and :streamGenerateContent?alt=sse; the control endpoints of server.py.
`x-goog-api-key` is needed. Members nobody documents are refused as there, as are function responses to
functions that were not called.

Answers, their words and their tokens are those of answers.py. The name of the model picks how the answer
misbehaves, with the marks of openai.py and these:

    signed          function calls carry a thought signature and are refused without it when they come back
    exclusive       candidatesTokenCount leaves thoughts out, as Gemini itself does; else they are in it
    early-stop      STOP stands on every event of a stream
    blocked         the prompt is blocked
    no-done         a stream whose last event has no finishReason
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any, Iterator, Optional
from urllib.parse import unquote

if __package__ in (None, ""):  # run as a script: this folder's http.py must not shadow Python's
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from upstreams.answers import Answer, Json, answer_chat, prompt_tokens, split_words
from upstreams.http import Connection, Request
from upstreams.scenario import Dialect, Player, Scenario
from upstreams.server import Server, run

PREFIX = "/v1beta/models/"
SIGNATURE = "c2lnbmF0dXJl"
MEMBERS = {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig", "safetySettings", "cachedContent"}
CONFIG = {
    "temperature", "topP", "topK", "maxOutputTokens", "candidateCount", "stopSequences", "seed", "presencePenalty", "frequencyPenalty",
    "responseMimeType", "responseJsonSchema", "thinkingConfig", "responseLogprobs", "logprobs",
}
PARTS = {"text", "inlineData", "fileData", "functionCall", "functionResponse"}
STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}
FINISH_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}


def error_of(status: int, message: str) -> Json:
    return {"error": {"code": status, "message": message, "status": STATUSES.get(status, "INTERNAL")}}


DIALECT = Dialect(error_of, None, None)


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def require(holds: Any, message: str) -> None:
    if not holds:
        raise Refusal(400, message)


# ---- what is asked ----


def check_names(found: Json, known: set[str], at: str) -> None:
    for name in found:
        require(name in known, f'Invalid JSON payload received. Unknown name "{name}" at \'{at}\': Cannot find field.')


def check(body: Any, scenario: Scenario) -> None:
    require(isinstance(body, dict), "Invalid JSON payload received.")
    check_names(body, MEMBERS, "")
    check_names(body.get("generationConfig", {}), CONFIG, "generation_config")
    require(body.get("contents"), "* GenerateContentRequest.contents: contents is not specified")
    called: set[str] = set()
    for index, content in enumerate(body["contents"]):
        check_names(content, {"role", "parts"}, f"contents[{index}]")
        require(content.get("role") in ("user", "model"), "Please use a valid role: user, model.")
        require(content.get("parts"), f"* GenerateContentRequest.contents[{index}].parts: contents.parts must not be empty.")
        for part in content["parts"]:
            check_part(part, called, scenario)
    config = body.get("toolConfig", {}).get("functionCallingConfig", {})
    require(config.get("mode", "AUTO") in ("AUTO", "ANY", "NONE"), "unknown function calling mode")


def check_part(part: Json, called: set[str], scenario: Scenario) -> None:
    check_names(part, PARTS | {"thought", "thoughtSignature"}, "contents.parts")
    require(len(PARTS & set(part)) == 1, "a part has exactly one kind of data")
    if "functionCall" in part:
        call = part["functionCall"]
        check_names(call, {"id", "name", "args"}, "function_call")
        called.add(call["name"])
        signed = part.get("thoughtSignature") == SIGNATURE
        require(signed or not scenario.has("signed"), "Function call is missing a thought_signature in functionCall parts.")
    elif "functionResponse" in part:
        check_names(part["functionResponse"], {"id", "name", "response"}, "function_response")
        require(part["functionResponse"]["name"] in called, "function response without a function call")
        require(isinstance(part["functionResponse"]["response"], dict), "response is not an object")


def text_of(parts: list[Json]) -> str:
    return " ".join(part["text"] for part in parts if part.get("text"))


def as_chat(body: Json) -> Json:
    """The request as answers.py understands it."""
    messages: list[Json] = []
    if "systemInstruction" in body:
        messages.append({"role": "system", "content": text_of(body["systemInstruction"]["parts"])})
    for content in body["contents"]:
        parts: list[Json] = []
        for part in content["parts"]:
            if "functionResponse" in part:
                response = part["functionResponse"]["response"]
                said = response["output"] if set(response) == {"output"} else json.dumps(response)
                messages.append({"role": "tool", "content": said})
            elif "text" in part:
                parts.append({"type": "text", "text": part["text"]})
            elif "functionCall" not in part:
                parts.append({"type": "image_url"})
        if parts or content["role"] == "model":
            messages.append({"role": "assistant" if content["role"] == "model" else "user", "content": parts})
    config = body.get("generationConfig", {})
    functions = [f for tool in body.get("tools", []) for f in tool["functionDeclarations"]]
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    choice: Any = {"ANY": "required", "NONE": "none"}.get(calling.get("mode", "AUTO"), "auto")
    if calling.get("allowedFunctionNames"):
        choice = {"function": {"name": calling["allowedFunctionNames"][0]}}
    chat: Json = {
        "messages": messages,
        "max_tokens": config.get("maxOutputTokens"),
        "stop": config.get("stopSequences"),
        "tools": [{"function": {"name": f["name"], "parameters": f.get("parametersJsonSchema")}} for f in functions],
        "tool_choice": choice,
    }
    if "responseJsonSchema" in config:
        chat["response_format"] = {"type": "json_schema", "json_schema": {"schema": config["responseJsonSchema"]}}
    elif config.get("responseMimeType") == "application/json":
        chat["response_format"] = {"type": "json_object"}
    return chat


# ---- what is answered ----


def usage_of(chat: Json, answer: Answer, count: int, scenario: Scenario) -> Json:
    prompt = prompt_tokens(chat["messages"])
    thoughts = scenario.number("reasoning") or 0
    said = answer.words * count
    usage = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": said if scenario.has("exclusive") else said + thoughts,
        "totalTokenCount": prompt + said + thoughts,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    if scenario.has("cached"):
        usage["cachedContentTokenCount"] = min(scenario.number("cached") or 0, prompt)
    return usage


def parts_of(answer: Answer, scenario: Scenario) -> Iterator[Json]:
    for piece in split_words(answer.reasoning):
        yield {"text": piece, "thought": True}
    for piece in split_words(answer.text or ""):
        yield {"text": piece}
    for call in answer.tool_calls:
        function = call["function"]
        part: Json = {"functionCall": {"name": function["name"], "args": json.loads(function["arguments"])}}
        if scenario.has("signed"):
            part["thoughtSignature"] = SIGNATURE
        yield part


def candidate(index: int, parts: list[Json], finish: Optional[str]) -> Json:
    made: Json = {"content": {"role": "model", "parts": parts}, "index": index}
    return {**made, "finishReason": finish} if finish else made


def responses_of(answer: Answer, usage: Json, count: int, scenario: Scenario, head: Json) -> Iterator[Json]:
    """The events of a stream: a part each, and a last one that says why it ended."""
    running = {name: usage[name] for name in ("promptTokenCount",)}
    early = "STOP" if scenario.has("early-stop") else None
    counted = not scenario.has("fail-no-usage")
    for part in parts_of(answer, scenario):
        for index in range(count):
            yield {"candidates": [candidate(index, [part], early)], **({"usageMetadata": running} if counted else {}), **head}
    finish = None if scenario.has("no-done") else FINISH_REASONS[answer.finish_reason]
    last = [candidate(index, [{"text": ""}], finish) for index in range(count)]
    yield {"candidates": last, **({"usageMetadata": usage} if counted else {}), **head}


class Google:
    def __init__(self) -> None:
        self.player = Player(DIALECT)
        self.numbers = itertools.count(1)

    async def handle(self, request: Request, connection: Connection) -> None:
        try:
            await self.generate(request, connection)
        except Refusal as refusal:
            await connection.respond_json(refusal.status, error_of(refusal.status, str(refusal)))

    async def generate(self, request: Request, connection: Connection) -> None:
        if not request.header("x-goog-api-key"):
            raise Refusal(403, "Method doesn't allow unregistered callers")
        model, _, method = request.path.removeprefix(PREFIX).rpartition(":")
        if request.method != "POST" or not request.path.startswith(PREFIX) or method not in ("generateContent", "streamGenerateContent"):
            raise Refusal(404, "Not found")
        scenario = Scenario.of(unquote(model))
        body = request.json()
        check(body, scenario)
        if await self.player.fails_before_answer(scenario, request, connection):
            return
        stream = method == "streamGenerateContent"
        require(not stream or request.query == "alt=sse", "only alt=sse is scripted")
        head = {"modelVersion": unquote(model), "responseId": f"response-{next(self.numbers)}"}
        chat = as_chat(body)
        answer = answer_chat(chat, scenario)
        count = body.get("generationConfig", {}).get("candidateCount", 1)
        usage = usage_of(chat, answer, count, scenario)
        if scenario.has("blocked"):
            counts = {"promptTokenCount": usage["promptTokenCount"], "totalTokenCount": usage["promptTokenCount"]}
            blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": counts, **head}
            await (self.player.play_stream(scenario, connection, [blocked]) if stream else self.player.play_json(scenario, connection, blocked))
        elif stream:
            await self.player.play_stream(scenario, connection, responses_of(answer, usage, count, scenario, head))
        else:
            parts = list(parts_of(answer, scenario))
            made = [candidate(index, parts, FINISH_REASONS[answer.finish_reason]) for index in range(count)]
            counted = {} if scenario.has("fail-no-usage") else {"usageMetadata": usage}
            await self.player.play_json(scenario, connection, {"candidates": made, **counted, **head})


def main(arguments: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="A scripted upstream in Gemini's dialect.")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free port")
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args(arguments)
    app = Google()
    return run(Server(app.handle, on_stats_reset=app.player.attempts.clear), options.host, options.port)


if __name__ == "__main__":
    sys.exit(main())
