"""
What the scripted agents of librechat.py do, and the shapes LibreChat writes it in.

Usage: prompt_tokens = words of all message texts, completion_tokens = words of the answer.
A number at the end of a name (`agent_slow_50`) replaces the agent's own: milliseconds, events.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Iterable, Optional, Sequence

from upstreams.answers import Json, count_words, last_user_text, message_text, split_words

AGENTS = (
    "agent_echo", "agent_slow", "agent_tools", "agent_reason", "agent_nostream", "agent_fail_pre",
    "agent_fail_mid", "agent_cut", "agent_bigusage", "agent_gzip", "agent_notext", "agent_split",
    "agent_private",
)
# What a proxy in front of LibreChat does instead of its answer, as a mark of scenario.py; they are not listed.
FRONT_FAULTS = {
    "agent_reset": "fail-cut-head", "agent_stall": "fail-stall", "agent_garbage": "fail-garbage", "agent_html": "fail-html",
    "agent_length": "fail-length",
}
SLOW_PAUSE_MS = 300
EVENTS_BEFORE_CUT = 2
MULTI_BYTE_TEXT = "Grüße, 世界! 🙂"
PROVIDER_FAILURE = "An error occurred while processing the request: 500 upstream exploded"
SERVER_TOOL_CALL = {
    "index": 0,
    "id": "call_server_1",
    "type": "function",
    "function": {"name": "web_search", "arguments": '{"query":"weather"}'},
}


@dataclass(frozen=True)
class Run:
    """One run of an agent: what it says, and how that is delivered."""

    agent: str
    text: Optional[str]
    usage: Json
    reasoning: str = ""
    tool_calls: Sequence[Json] = ()
    finish_reason: str = "stop"
    named_events: bool = False
    json_only: bool = False
    pause_ms: int = 0
    cut_after: Optional[int] = None
    fail_status: Optional[int] = None
    fails_as_content: bool = False
    one_byte_writes: bool = False
    line_end: str = "\n"


@dataclass(frozen=True)
class Event:
    data: Any
    name: Optional[str] = None


def known_agent(model: str) -> Optional[tuple[str, Optional[int]]]:
    """(agent, number at the end of the name); None when there is no such agent."""
    match = re.fullmatch(r"(agent_[a-z_]+?)(?:_(\d{1,6}))?", model)
    if match is None or match[1] not in (*AGENTS, *FRONT_FAULTS):
        return None
    return match[1], int(match[2]) if match[2] else None


def run_of(body: Json) -> Run:
    """The run a valid request starts; its model is a known agent."""
    known = known_agent(body["model"])
    assert known is not None
    agent, number = known
    messages: list[Json] = body["messages"]
    text = f"Echo: {last_user_text(messages)} fields={','.join(body)}"
    prompt = sum(count_words(message_text(message)) for message in messages)

    def run(said: Optional[str] = text, **how: Any) -> Run:
        thought = count_words(how.get("reasoning", ""))
        how.setdefault("usage", usage(prompt, count_words(said or "") + thought))
        return Run(agent, said, **how)

    if agent == "agent_slow":
        return run(pause_ms=SLOW_PAUSE_MS if number is None else number)
    if agent == "agent_tools":
        return run(tool_calls=[SERVER_TOOL_CALL], named_events=True)
    if agent == "agent_reason":
        return run(reasoning="First I think, then I speak.")
    if agent == "agent_nostream":
        return run(json_only=True)
    if agent == "agent_fail_pre":
        return run(fail_status=number or 500)
    if agent == "agent_fail_mid":
        return run(fails_as_content=True, cut_after=number)
    if agent == "agent_cut":
        return run(cut_after=EVENTS_BEFORE_CUT if number is None else number)
    if agent == "agent_bigusage":
        return run(usage=big_usage())
    if agent == "agent_notext":
        return run(None, tool_calls=[SERVER_TOOL_CALL], finish_reason="tool_calls")
    if agent == "agent_split":
        return run(f"{MULTI_BYTE_TEXT} {text}", one_byte_writes=True, line_end="\r\n")
    return run()


def usage(prompt: int, completion: int) -> Json:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def big_usage() -> Json:
    """A tool loop of several model calls: far more than the visible text, with extra members."""
    return {
        **usage(120_000, 30_000),
        "prompt_tokens_details": {"cached_tokens": 100_000},
        "primary": usage(100_000, 20_000),
        "subagent": usage(20_000, 10_000),
    }


def completion(run: Run, model: str, id_: str, created: int) -> Json:
    message: Json = {"role": "assistant", "content": run.text}
    if run.reasoning:
        message["reasoning"] = run.reasoning
    if run.tool_calls:
        message["tool_calls"] = [
            {key: value for key, value in call.items() if key != "index"}
            for call in run.tool_calls
        ]
    return {
        "id": id_,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": run.finish_reason}],
        "usage": run.usage,
    }


def stream(run: Run, model: str, id_: str, created: int) -> Iterable[Event]:
    """The events of a run up to and without [DONE]: usage in the chunk with the finish reason."""
    head = {
        "id": id_, "object": "chat.completion.chunk", "created": created, "model": model,
    }

    def chunk(delta: Json, finish_reason: Optional[str] = None, **more: Any) -> Event:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return Event({**head, "choices": [choice], **more})

    yield chunk({"role": "assistant"})
    if run.named_events:
        yield Event({"summary": "", "agentId": run.agent}, "on_summarize_start")
        yield Event({"delta": {"summary": "so far"}}, "on_summarize_delta")
        yield Event({"summary": "so far"}, "on_summarize_complete")
    for piece in split_words(run.reasoning):
        yield chunk({"reasoning": piece})
    for call in run.tool_calls:
        yield chunk({"tool_calls": [call]})
        if run.named_events:
            yield Event({"type": "file", "toolCallId": call["id"]}, "attachment")
    pieces = split_words(run.text or "")
    for piece in pieces[: run.cut_after] if run.fails_as_content else pieces:
        yield chunk({"content": piece})
    if run.fails_as_content:
        yield chunk({"content": f"\n\nError: {PROVIDER_FAILURE}"}, "stop")
    else:
        yield chunk({}, run.finish_reason, usage=run.usage)
