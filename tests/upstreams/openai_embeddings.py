"""
Embeddings: unit vectors drawn from a hash of the input, so equal inputs are equal and others
nearly orthogonal. Tokens are the words of a text, or the length of a list of token ids.
"""

from __future__ import annotations

import array
import base64
import hashlib
import json
import math
import sys
from typing import Any

from upstreams.answers import Json, count_words
from upstreams.scenario import Scenario

DEFAULT_DIMENSIONS = 1536
LARGE_DIMENSIONS = 3072


def embeddings(request: Json, scenario: Scenario) -> Json:
    inputs = inputs_of(request["input"])
    default = LARGE_DIMENSIONS if "large" in request["model"] else DEFAULT_DIMENSIONS
    dimensions = request.get("dimensions") or default
    as_base64 = request.get("encoding_format") == "base64"
    data = []
    for index, text_or_ids in enumerate(inputs):
        vector = vector_of(text_or_ids, dimensions)
        embedding = _base64(vector) if as_base64 else vector.tolist()
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    answer: Json = {"object": "list", "data": data, "model": request["model"]}
    if not scenario.has("fail-no-usage"):
        tokens = sum(count_tokens(part) for part in inputs)
        answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return answer


def inputs_of(given: Any) -> list[Any]:
    """One input or several: a text, a list of ids, or a list of either."""
    one_list_of_ids = isinstance(given, list) and all(isinstance(part, int) for part in given)
    return given if isinstance(given, list) and not one_list_of_ids else [given]


def count_tokens(text_or_ids: Any) -> int:
    if isinstance(text_or_ids, str):
        return count_words(text_or_ids)
    return len(text_or_ids) if isinstance(text_or_ids, list) else 1


def vector_of(text_or_ids: Any, dimensions: int) -> array.array[float]:
    seed = json.dumps(text_or_ids, ensure_ascii=False).encode()
    drawn = array.array("i", hashlib.shake_256(seed).digest(4 * dimensions))
    if sys.byteorder == "big":
        drawn.byteswap()
    length = math.sqrt(sum(float(value) ** 2 for value in drawn))
    return array.array("f", (value / length for value in drawn))


def _base64(vector: array.array[float]) -> str:
    """Little-endian float32, as the SDKs read it."""
    little = array.array("f", vector)
    if sys.byteorder == "big":
        little.byteswap()
    return base64.b64encode(little.tobytes()).decode()
