"""
Chat completions as OpenAI writes them: the JSON answer, and the chunks of a stream.
"""

from __future__ import annotations

from typing import Any, Iterator, Optional

from upstreams.answers import Answer, Json, prompt_tokens, split_words, usage
from upstreams.scenario import Scenario

ARGUMENT_PIECE_CHARS = 7


def chat_usage(request: Json, answer: Answer, scenario: Scenario) -> Json:
    choices = request.get("n") or 1
    return usage(prompt_tokens(request["messages"]), answer.words * choices, scenario)


def service_tier(request: Json, scenario: Scenario) -> str:
    """The tier that the answer states: the one asked for, unless a mark says otherwise."""
    for mark in ("tier-default", "tier-priority", "tier-scale"):
        if scenario.has(mark):
            return mark.removeprefix("tier-")
    asked = request.get("service_tier")
    return asked if asked not in (None, "auto") else "default"


def chat_completion(
    request: Json, answer: Answer, scenario: Scenario, id_: str, created: int
) -> Json:
    message: Json = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool_calls:
        message["tool_calls"] = answer.tool_calls
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    choice = {"message": message, "logprobs": None, "finish_reason": answer.finish_reason}
    completion: Json = {
        "id": id_,
        "object": "chat.completion",
        "created": created,
        "model": request["model"],
        "choices": [{"index": index, **choice} for index in range(request.get("n") or 1)],
        "service_tier": service_tier(request, scenario),
        "system_fingerprint": "fp_scripted",
    }
    if not scenario.has("fail-no-usage"):
        completion["usage"] = chat_usage(request, answer, scenario)
    return completion


def deltas(answer: Answer, merge_last: bool) -> Iterator[tuple[Json, Optional[str]]]:
    """
    (delta, finish_reason) of one choice. The finish reason comes in an empty delta of its own,
    or with `merge_last` on the last that says something.
    """
    said = list(_spoken_deltas(answer))
    if not merge_last:
        said.append({})
    for delta in said[:-1]:
        yield delta, None
    yield said[-1], answer.finish_reason


def _spoken_deltas(answer: Answer) -> Iterator[Json]:
    first_content = None if answer.tool_calls else ""
    yield {"role": "assistant", "content": first_content, "refusal": None}
    for piece in split_words(answer.reasoning):
        yield {"reasoning_content": piece}
    for piece in split_words(answer.text or ""):
        yield {"content": piece}
    for index, call in enumerate(answer.tool_calls):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        opening = {"index": index, **call, "function": {"name": name, "arguments": ""}}
        yield {"tool_calls": [opening]}
        for start in range(0, len(arguments), ARGUMENT_PIECE_CHARS):
            piece = arguments[start : start + ARGUMENT_PIECE_CHARS]
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def chat_chunks(
    request: Json, answer: Answer, scenario: Scenario, id_: str, created: int
) -> Iterator[Json]:
    """
    The chunks of a stream. Usage is a last chunk without choices, when asked for; the marks
    usage-on-content, usage-every-chunk and fail-no-usage move, repeat or drop it.
    """
    options: dict[str, Any] = request.get("stream_options") or {}
    on_content = scenario.has("usage-on-content")
    on_every = scenario.has("usage-every-chunk")
    asked = bool(options.get("include_usage")) and not scenario.has("fail-no-usage")
    total = chat_usage(request, answer, scenario)
    choices = range(request.get("n") or 1)
    head = {
        "id": id_,
        "object": "chat.completion.chunk",
        "created": created,
        "model": request["model"],
        "service_tier": service_tier(request, scenario),
        "system_fingerprint": "fp_scripted",
    }
    spoken = 0
    for delta, finish_reason in deltas(answer, merge_last=on_content):
        spoken += "content" in delta and bool(delta["content"])
        for index in choices:
            choice = {
                "index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason
            }
            chunk: Json = {**head, "choices": [choice]}
            last = finish_reason is not None and index == choices[-1]
            if on_every:
                running = usage(total["prompt_tokens"], spoken * len(choices), scenario)
                chunk["usage"] = total if last else running
            elif on_content and last:
                chunk["usage"] = total
            elif asked:
                chunk["usage"] = None
            if options.get("include_obfuscation"):
                chunk["obfuscation"] = "x" * 8
            yield chunk
    if asked and not on_content and not on_every:
        yield {**head, "choices": [], "usage": total}
