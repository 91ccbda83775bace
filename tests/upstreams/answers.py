"""
What the scripted model says, and how many tokens it says it took. Pure: the same request always
gives the same answer.

Counting. A word is what str.split() yields.
    prompt_tokens      n of the mark `prompt-<n>`; else words of all message texts + 3 a message + 85 an image
    completion_tokens  words of the answer (a tool call: of its name and its arguments), summed
                       over the n choices, + reasoning tokens
    cached_tokens      n of the mark `cached-<n>`, at most prompt_tokens; else 0
    reasoning_tokens   n of the mark `reasoning-<n>`; else 0
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence

from upstreams.scenario import Scenario

TOKENS_PER_MESSAGE = 3
TOKENS_PER_IMAGE = 85
MULTI_BYTE_TEXT = "Grüße, 世界! 🙂"

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """One choice. `text` is None when the answer is tool calls."""

    text: Optional[str]
    tool_calls: Sequence[Json]
    finish_reason: str
    reasoning: str = ""

    @property
    def words(self) -> int:
        calls = (call["function"] for call in self.tool_calls)
        spoken = [self.text or "", *(f"{call['name']} {call['arguments']}" for call in calls)]
        return sum(count_words(part) for part in spoken)


def count_words(text: str) -> int:
    return len(text.split())


def split_words(text: str) -> list[str]:
    """Pieces that join to `text` without its trailing space; one piece is one word."""
    return re.findall(r"\s*\S+", text)


def message_text(message: Mapping[str, Any]) -> str:
    """The text of a message, its text parts joined by a space."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in _parts(message) if isinstance(part.get("text"), str))


def _parts(message: Mapping[str, Any]) -> list[Json]:
    content = message.get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def count_images(messages: Sequence[Json]) -> int:
    parts = (part for message in messages for part in _parts(message))
    return sum(part.get("type") in ("image_url", "input_image") for part in parts)


def prompt_tokens(messages: Sequence[Json]) -> int:
    words = sum(count_words(message_text(message)) for message in messages)
    return words + TOKENS_PER_MESSAGE * len(messages) + TOKENS_PER_IMAGE * count_images(messages)


def usage(prompt: int, completion: int, scenario: Scenario) -> Json:
    """OpenAI's usage object; `completion` is without reasoning."""
    reasoning = scenario.number("reasoning") or 0
    rejected = scenario.number("rejected") or 0
    prompt = scenario.number("prompt") or prompt
    completion += rejected
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion + reasoning,
        "total_tokens": prompt + completion + reasoning,
        "prompt_tokens_details": {
            "cached_tokens": min(scenario.number("cached") or 0, prompt),
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": rejected,
        },
    }


def answer_chat(request: Json, scenario: Scenario) -> Answer:
    """The answer to a valid chat completion request."""
    messages: list[Json] = request["messages"]
    reasoning = " ".join(["think"] * (scenario.number("reasoning") or 0))
    calls = _tool_calls(request)
    if calls:
        return Answer(None, calls, "tool_calls", reasoning)
    text = _chat_text(request, messages, scenario)
    ceiling = None if scenario.has("unbounded") else request.get("max_completion_tokens", request.get("max_tokens"))
    text, finish_reason = shorten(text, request.get("stop"), ceiling)
    return Answer(text, (), finish_reason, reasoning)


def _chat_text(request: Json, messages: Sequence[Json], scenario: Scenario) -> str:
    last = messages[-1]
    asked = last_user_text(messages)
    response_format = request.get("response_format") or {}
    if scenario.has("long"):
        return long_text(scenario)
    if last.get("role") in ("tool", "function"):
        return f"Tool said: {message_text(last)}"
    if response_format.get("type") == "json_schema":
        schema = (response_format.get("json_schema") or {}).get("schema") or {}
        return json.dumps(example_of(schema, asked), ensure_ascii=False)
    if response_format.get("type") == "json_object":
        return json.dumps({"echo": asked}, ensure_ascii=False)
    images = count_images(messages)
    seen = f" [{images} image{'s' if images > 1 else ''}]" if images else ""
    return echo(asked, scenario) + seen


def echo(asked: str, scenario: Scenario) -> str:
    said = f"Echo: {asked}"
    return f"{MULTI_BYTE_TEXT} {said}" if scenario.has("bytes") else said


def long_text(scenario: Scenario) -> str:
    count = scenario.number("long") or 0
    return " ".join(f"word{index}" for index in range(1, count + 1))


def last_user_text(messages: Sequence[Json]) -> str:
    users = (message for message in reversed(messages) if message.get("role") == "user")
    return message_text(next(users, {}))


def shorten(text: str, stop: Any, ceiling: Any) -> tuple[str, str]:
    """`text` up to the first stop sequence and at most `ceiling` words, and why it ended."""
    stops = [stop] if isinstance(stop, str) else stop or []
    ends = [at for at in (text.find(sequence) for sequence in stops) if at >= 0]
    pieces = split_words(text[: min(ends)] if ends else text)
    if isinstance(ceiling, int) and len(pieces) > ceiling:
        return "".join(pieces[:ceiling]), "length"
    return "".join(pieces), "stop"


def _tool_calls(request: Json) -> list[Json]:
    """
    Tools are called when tool_choice demands it, or when the last message is the user's and has
    the word `tool`, `tools` or `call`, or the name of a function. `tools` calls all of them, else
    the first that is named, else the first.
    """
    choice = request.get("tool_choice", "auto")
    functions = [tool["function"] for tool in request.get("tools") or [] if "function" in tool]
    last = request["messages"][-1]
    if not functions or choice == "none":
        return []
    asked = message_text(last) if last.get("role") == "user" else ""
    said = set(re.findall(r"\w+", asked.lower()))
    named = [function for function in functions if function["name"].lower() in said]
    if isinstance(choice, dict):
        wanted = (choice.get("function") or {}).get("name")
        chosen = [function for function in functions if function["name"] == wanted]
    elif "tools" in said and request.get("parallel_tool_calls") is not False:
        chosen = functions
    elif named or said & {"tool", "tools", "call"} or choice == "required":
        chosen = (named or functions)[:1]
    else:
        chosen = []
    return [_tool_call(index, function, asked) for index, function in enumerate(chosen)]


def _tool_call(index: int, function: Json, asked: str) -> Json:
    arguments = json.dumps(example_of(function.get("parameters") or {}, asked), ensure_ascii=False)
    digest = hashlib.sha256(f"{index} {function['name']} {arguments}".encode()).hexdigest()
    return {
        "id": f"call_{digest[:24]}",
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }


def example_of(schema: Mapping[str, Any], asked: str) -> Any:
    """A value that fits a plain JSON schema; a string is the last word of `asked`."""
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties: Mapping[str, Any] = schema.get("properties") or {}
        return {name: example_of(inner, asked) for name, inner in properties.items()}
    if kind == "array":
        return [example_of(schema.get("items") or {"type": "string"}, asked)]
    last_word = (asked.split() or [""])[-1].strip(".,;:!?\"'")
    plain = {"string": last_word, "integer": 1, "number": 1.5, "boolean": True}
    return plain.get(kind)
