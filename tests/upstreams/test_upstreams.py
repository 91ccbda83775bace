"""
The OpenAI-dialect upstream over loopback. All tests of this folder, from tests/:

    python3 -m unittest discover -s upstreams -t .
"""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import struct
import sys
import unittest
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from upstreams.client import TIMEOUT_S, Client, Reply
from upstreams.openai import OpenAI
from upstreams.server import Server

KEY = {"authorization": "Bearer sk-upstream"}
CHAT = "/v1/chat/completions"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def chat(model: str = "gpt-4o", text: str = "hello big world", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def streamed(model: str, **more: Any) -> dict[str, Any]:
    return chat(model, stream=True, stream_options={"include_usage": True}, **more)


def spoken(reply: Reply) -> str:
    deltas = (choice["delta"] for chunk in reply.chunks_json() for choice in chunk["choices"])
    return "".join(delta.get("content") or "" for delta in deltas)


class UpstreamTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        app = OpenAI()
        self.server = Server(app.handle, on_stats_reset=app.player.attempts.clear)
        await self.server.start("127.0.0.1", 0)
        self.addAsyncCleanup(self.server.close)

    async def ask(self, body: Any, path: str = CHAT, method: str = "POST") -> Reply:
        async with Client(self.server.port) as client:
            return await client.ask(method, path, body, KEY)

    async def drained(self) -> None:
        await asyncio.wait_for(self.server.drained(), TIMEOUT_S)


class Answers(UpstreamTest):
    async def test_a_chat_echoes_and_counts_words(self) -> None:
        reply = await self.ask(chat())
        self.assertEqual(reply.status, 200)
        answer = reply.json()
        self.assertEqual(answer["choices"][0]["message"]["content"], "Echo: hello big world")
        self.assertEqual(answer["usage"]["prompt_tokens"], 3 + 3)
        self.assertEqual(answer["usage"]["completion_tokens"], 4)
        self.assertEqual(answer["usage"]["total_tokens"], 10)

    async def test_an_answer_carries_headers_that_must_not_get_through(self) -> None:
        headers = (await self.ask(chat())).headers
        for name in ("set-cookie", "x-ratelimit-limit-requests", "x-request-id"):
            self.assertIn(name, headers)

    async def test_stop_sequences_and_response_formats_are_obeyed(self) -> None:
        async def said(**more: Any) -> str:
            answer = (await self.ask(chat(**more))).json()
            return str(answer["choices"][0]["message"]["content"])

        self.assertEqual(await said(stop=["world", " big"]), "Echo: hello")
        as_object = await said(response_format={"type": "json_object"})
        self.assertEqual(json.loads(as_object), {"echo": "hello big world"})
        properties = {"word": {"type": "string"}, "count": {"type": "integer"}}
        schema = {"type": "object", "properties": properties}
        wanted = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}
        by_schema = await said(response_format=wanted)
        self.assertEqual(json.loads(by_schema), {"word": "world", "count": 1})

    async def test_cached_and_reasoning_tokens_come_from_the_name(self) -> None:
        used = (await self.ask(chat("cached-4+reasoning-5"))).json()["usage"]
        self.assertEqual(used["prompt_tokens_details"]["cached_tokens"], 4)
        self.assertEqual(used["completion_tokens_details"]["reasoning_tokens"], 5)
        self.assertEqual(used["completion_tokens"], 4 + 5)

    async def test_a_stream_says_the_same_as_the_json_answer(self) -> None:
        reply = await self.ask(streamed("gpt-4o"))
        self.assertEqual(spoken(reply), "Echo: hello big world")
        self.assertTrue(reply.done)
        *others, last = reply.chunks_json()
        self.assertEqual(last["choices"], [])
        self.assertEqual(last["usage"]["total_tokens"], 10)
        self.assertTrue(all(chunk["usage"] is None for chunk in others))

    async def test_usage_is_streamed_only_when_asked_for(self) -> None:
        reply = await self.ask(chat(stream=True))
        self.assertTrue(all("usage" not in chunk for chunk in reply.chunks_json()))

    async def test_a_ceiling_of_words_ends_in_length(self) -> None:
        for name in ("max_tokens", "max_completion_tokens"):
            with self.subTest(name):
                choice = (await self.ask({**chat(), name: 2})).json()["choices"][0]
                self.assertEqual(choice["message"]["content"], "Echo: hello")
                self.assertEqual(choice["finish_reason"], "length")

    async def test_n_choices_are_all_counted(self) -> None:
        answer = (await self.ask(chat(n=3))).json()
        self.assertEqual([choice["index"] for choice in answer["choices"]], [0, 1, 2])
        self.assertEqual(answer["usage"]["completion_tokens"], 12)
        reply = await self.ask(streamed("gpt-4o", n=2))
        self.assertEqual(reply.chunks_json()[-1]["usage"]["completion_tokens"], 8)

    async def test_images_are_seen_and_counted(self) -> None:
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
        parts = [{"type": "text", "text": "look here"}, image]
        message = {"role": "user", "content": parts}
        answer = (await self.ask({"model": "gpt-4o", "messages": [message]})).json()
        self.assertEqual(answer["choices"][0]["message"]["content"], "Echo: look here [1 image]")
        self.assertEqual(answer["usage"]["prompt_tokens"], 2 + 3 + 85)

    async def test_embeddings_agree_in_both_encodings(self) -> None:
        body = {"model": "text-embedding-3-small", "input": ["one two", "three"], "dimensions": 8}
        floats = (await self.ask(body, "/v1/embeddings")).json()
        coded = await self.ask({**body, "encoding_format": "base64"}, "/v1/embeddings")
        self.assertEqual(floats["usage"], {"prompt_tokens": 3, "total_tokens": 3})
        for plain, packed in zip(floats["data"], coded.json()["data"], strict=True):
            unpacked = struct.unpack("<8f", base64.b64decode(packed["embedding"]))
            self.assertEqual(plain["embedding"], list(unpacked))
            self.assertAlmostEqual(sum(value * value for value in unpacked), 1.0, places=5)

    async def test_a_list_of_token_ids_is_one_input(self) -> None:
        answer = await self.ask({"model": "e", "input": [1, 2, 3, 4]}, "/v1/embeddings")
        self.assertEqual(len(answer.json()["data"]), 1)
        self.assertEqual(answer.json()["usage"]["prompt_tokens"], 4)

    async def test_legacy_completions_answer_json_and_streams(self) -> None:
        body = {"model": "gpt-3.5-turbo-instruct", "prompt": ["a b", "c"], "echo": True}
        answer = (await self.ask(body, "/v1/completions")).json()
        texts = [choice["text"] for choice in answer["choices"]]
        self.assertEqual(texts, ["a bEcho: a b", "cEcho: c"])
        self.assertEqual(answer["usage"]["total_tokens"], 3 + 5)
        asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
        chunks = (await self.ask(asked, "/v1/completions")).chunks_json()
        said = "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])
        self.assertEqual(said, "".join(texts))
        self.assertEqual(chunks[-1]["usage"], answer["usage"])

    async def test_models_are_listed_and_found(self) -> None:
        listed = (await self.ask(None, "/v1/models", "GET")).json()["data"]
        self.assertIn("gpt-4o-mini", [model["id"] for model in listed])
        self.assertEqual((await self.ask(None, "/v1/models/gpt-4o", "GET")).status, 200)
        missing = await self.ask(None, "/v1/models/nothing", "GET")
        self.assertEqual(missing.status, 404)
        self.assertEqual(missing.json()["error"]["code"], "model_not_found")


class Tools(UpstreamTest):
    async def test_tool_calls_stream_as_pieces_that_join_to_the_json_answer(self) -> None:
        body = chat(text="call get_weather in Paris", tools=[WEATHER])
        whole = (await self.ask(body)).json()["choices"][0]
        self.assertEqual(whole["finish_reason"], "tool_calls")
        function = whole["message"]["tool_calls"][0]["function"]
        self.assertEqual(json.loads(function["arguments"]), {"city": "Paris"})
        chunks = (await self.ask({**body, "stream": True})).chunks_json()
        calls = [call for chunk in chunks for choice in chunk["choices"]
                 for call in choice["delta"].get("tool_calls", [])]
        names = [call["function"]["name"] for call in calls if "id" in call]
        self.assertEqual(names, ["get_weather"])
        joined = "".join(call["function"]["arguments"] for call in calls)
        self.assertEqual(joined, function["arguments"])

    async def test_tools_are_left_alone_unless_the_text_or_the_choice_says_so(self) -> None:
        cases: list[tuple[str, Any, str]] = [
            ("hello", "auto", "stop"),
            ("hello", "required", "tool_calls"),
            ("use a tool", "none", "stop"),
            ("hello", {"type": "function", "function": {"name": "get_weather"}}, "tool_calls"),
        ]
        for text, choice, reason in cases:
            with self.subTest(text=text, choice=choice):
                reply = await self.ask(chat(text=text, tools=[WEATHER], tool_choice=choice))
                self.assertEqual(reply.json()["choices"][0]["finish_reason"], reason)

    async def test_a_tool_result_is_answered_with_text(self) -> None:
        body = chat(text="use a tool", tools=[WEATHER])
        message = (await self.ask(body)).json()["choices"][0]["message"]
        call_id = message["tool_calls"][0]["id"]
        result = {"role": "tool", "tool_call_id": call_id, "content": "sunny"}
        body["messages"] += [message, result]
        choice = (await self.ask(body)).json()["choices"][0]
        self.assertEqual(choice["message"]["content"], "Tool said: sunny")


class Refusals(UpstreamTest):
    async def test_bad_requests_get_openai_errors(self) -> None:
        cases: list[tuple[str, Any, int]] = [
            ("not JSON", b'{"model":', 400),
            ("no model", {"messages": []}, 400),
            ("no messages", {"model": "m"}, 400),
            ("an unknown role", {"model": "m", "messages": [{"role": "king"}]}, 400),
            ("n is zero", chat(n=0), 400),
        ]
        for name, body, status in cases:
            with self.subTest(name):
                reply = await self.ask(body)
                self.assertEqual(reply.status, status)
                self.assertIn("message", reply.json()["error"])
        self.assertEqual((await self.ask(None, "/v1/nothing")).status, 404)
        self.assertEqual((await self.ask(None, CHAT, "GET")).status, 405)

    async def test_a_key_is_needed_and_may_have_to_be_the_right_one(self) -> None:
        strict = Server(OpenAI("right").handle)
        await strict.start("127.0.0.1", 0)
        self.addAsyncCleanup(strict.close)
        async with Client(strict.port) as client:
            for value, status in (("", 401), ("Bearer wrong", 401), ("Bearer right", 200)):
                reply = await client.ask("GET", "/v1/models", headers={"authorization": value})
                self.assertEqual(reply.status, status)
        async with Client(self.server.port) as client:
            self.assertEqual((await client.ask("GET", "/v1/models")).status, 401)

    async def test_what_is_not_http_is_400_and_closed(self) -> None:
        async with Client(self.server.port) as client:
            client.writer.write(b"hello there\r\n\r\n")
            self.assertEqual((await client.read_reply()).status, 400)
            self.assertEqual(await client.reader.read(), b"")


class Programs(unittest.IsolatedAsyncioTestCase):
    async def test_both_programs_start_both_ways_and_end_on_sigterm(self) -> None:
        for arguments in (
            ["-m", "upstreams.openai"],
            ["-m", "upstreams.librechat"],
            ["upstreams/openai.py"],
            ["upstreams/librechat.py"],
        ):
            with self.subTest(arguments):
                program = await asyncio.create_subprocess_exec(
                    sys.executable, *arguments, "--port", "0",
                    cwd=TESTS, stdout=asyncio.subprocess.PIPE,
                )
                assert program.stdout is not None
                line = (await asyncio.wait_for(program.stdout.readline(), TIMEOUT_S)).decode()
                self.assertRegex(line, r"^listening on http://127\.0\.0\.1:\d+\n$")
                async with Client(int(line.rsplit(":", 1)[1])) as client:
                    self.assertEqual((await client.ask("GET", "/_stats")).status, 200)
                    program.send_signal(signal.SIGTERM)  # with a connection still open
                    self.assertEqual(await asyncio.wait_for(program.wait(), TIMEOUT_S), 0)


if __name__ == "__main__":
    unittest.main()
