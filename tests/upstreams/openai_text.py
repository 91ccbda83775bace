"""
Legacy completions: prompts in, text out. The answer to a prompt is `Echo: <prompt>`; `echo` puts
the prompt before it. A prompt of token ids counts as that many tokens and reads `<k tokens>`.
"""

from __future__ import annotations

from typing import Any, Iterator

from upstreams.answers import Json, count_words, echo, long_text, shorten, split_words, usage
from upstreams.scenario import Scenario


def prompts_of(request: Json) -> list[str]:
    """The prompts as texts; empty when there is none."""
    prompt = request.get("prompt")
    if isinstance(prompt, list) and prompt and all(isinstance(part, int) for part in prompt):
        prompt = [prompt]
    several = prompt if isinstance(prompt, list) else [prompt]
    return [text for text in map(_prompt_text, several) if text]


def _prompt_text(prompt: Any) -> str:
    if isinstance(prompt, list):
        return f"<{len(prompt)} tokens>"
    return prompt if isinstance(prompt, str) else ""


def _answers(request: Json, scenario: Scenario) -> list[tuple[str, str]]:
    """(text, finish reason) of each choice: n for the first prompt, n for the next."""
    answers = []
    for prompt in prompts_of(request):
        said = long_text(scenario) if scenario.has("long") else echo(prompt, scenario)
        text, reason = shorten(said, request.get("stop"), request.get("max_tokens"))
        answers += [(text, reason)] * (request.get("n") or 1)
    return answers


def _usage(request: Json, scenario: Scenario) -> Json:
    tokens = request.get("prompt")
    if isinstance(tokens, list) and tokens and isinstance(tokens[0], (int, list)):
        flat = tokens if isinstance(tokens[0], int) else [id_ for part in tokens for id_ in part]
        prompt = len(flat)
    else:
        prompt = sum(map(count_words, prompts_of(request)))
    completion = sum(count_words(text) for text, _ in _answers(request, scenario))
    return usage(prompt, completion, scenario)


def _lead(request: Json, index: int) -> str:
    """What `echo` puts before choice `index`."""
    if not request.get("echo"):
        return ""
    return prompts_of(request)[index // (request.get("n") or 1)]


def _choice(index: int, text: str, finish_reason: Any) -> Json:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish_reason}


def text_completion(request: Json, scenario: Scenario, id_: str, created: int) -> Json:
    choices = [
        _choice(index, _lead(request, index) + text, reason)
        for index, (text, reason) in enumerate(_answers(request, scenario))
    ]
    completion: Json = {
        "id": id_,
        "object": "text_completion",
        "created": created,
        "model": request["model"],
        "choices": choices,
    }
    if not scenario.has("fail-no-usage"):
        completion["usage"] = _usage(request, scenario)
    return completion


def text_chunks(request: Json, scenario: Scenario, id_: str, created: int) -> Iterator[Json]:
    """Chunks: the words of each choice in turn; usage last, when asked for."""
    options = request.get("stream_options") or {}
    asked = bool(options.get("include_usage")) and not scenario.has("fail-no-usage")
    on_content, on_every = scenario.has("usage-on-content"), scenario.has("usage-every-chunk")
    total = _usage(request, scenario)
    head = {"id": id_, "object": "text_completion", "created": created, "model": request["model"]}
    answers = _answers(request, scenario)
    for index, (text, reason) in enumerate(answers):
        pieces = [_lead(request, index)] if request.get("echo") else []
        pieces += split_words(text)
        for number, piece in enumerate(pieces, start=1):
            ends = number == len(pieces)
            chunk: Json = {**head, "choices": [_choice(index, piece, reason if ends else None)]}
            if on_every or (on_content and ends and index == len(answers) - 1):
                chunk["usage"] = total
            elif asked:
                chunk["usage"] = None
            yield chunk
    if asked and not on_content and not on_every:
        yield {**head, "choices": [], "usage": total}
