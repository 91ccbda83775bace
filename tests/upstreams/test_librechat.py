"""The scripted LibreChat over loopback: its keys, errors, agents and run counters."""

from __future__ import annotations

import asyncio
import gzip
import sys
import unittest
from pathlib import Path
from typing import Any, Optional

TESTS = Path(__file__).resolve().parent.parent
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from upstreams.client import TIMEOUT_S, Client, Reply
from upstreams.librechat import API, LibreChat
from upstreams.server import Server

KEY = "sk-" + "a" * 64
CHAT = f"{API}/chat/completions"


def chat(model: str = "agent_echo", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello agent"}], **more}


class LibreChatTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        await self.start(LibreChat())

    async def start(self, app: LibreChat) -> None:
        self.app = app
        self.server = Server(app.handle, lambda: {"runs": vars(app.runs)}, app.reset)
        await self.server.start("127.0.0.1", 0)
        self.addAsyncCleanup(self.server.close)

    async def ask(
        self, body: Any = None, path: str = CHAT, method: str = "POST",
        key: Optional[str] = KEY, **headers: str,
    ) -> Reply:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        async with Client(self.server.port) as client:
            return await client.ask(method, path, body, sent)


class Errors(LibreChatTest):
    async def test_keys_are_refused_in_each_shape(self) -> None:
        cases: list[tuple[Optional[str], int, Any]] = [
            (None, 401, "missing_api_key"),
            ("nonsense", 401, "invalid_api_key"),
            ("sk-invalid", 401, "invalid_api_key"),
            ("sk-oidc", 401, "Unauthorized"),
            ("sk-norole", 403, "Forbidden: Insufficient permissions"),
            ("sk-noacl", 403, "access_denied"),
        ]
        for key, status, expected in cases:
            with self.subTest(key):
                reply = await self.ask(chat(), key=key)
                body = reply.json()
                error = body.get("error", body.get("message"))
                self.assertEqual(reply.status, status)
                self.assertEqual(error["code"] if isinstance(error, dict) else error, expected)

    async def test_a_tenant_header_is_a_clash(self) -> None:
        reply = await self.ask(chat(), X_Tenant_Id="other")
        self.assertEqual((reply.status, reply.json()), (401, {"error": "Unauthorized"}))

    async def test_bad_requests_are_refused_as_by_the_real_one(self) -> None:
        user = [{"role": "user", "content": "hi"}]
        cases: list[tuple[str, Any, int, Any]] = [
            ("no model", {"messages": user}, 400, "missing_model"),
            ("an unknown agent", chat("agent_nobody"), 404, "model_not_found"),
            ("a private agent", chat("agent_private"), 403, "access_denied"),
            ("no messages", chat(messages=[]), 400, None),
            ("developer", chat(messages=[{"role": "developer", "content": "x"}]), 400, None),
            ("a conversation that is a number", chat(conversation_id=1), 400, None),
            ("an unknown conversation", chat(conversation_id="other"), 404, None),
        ]
        for name, body, status, code in cases:
            with self.subTest(name):
                reply = await self.ask(body)
                self.assertEqual((reply.status, reply.json()["error"]["code"]), (status, code))
        self.assertEqual((await self.ask(chat(conversation_id="conversation-1"))).status, 200)

    async def test_bodies_that_express_refuses(self) -> None:
        broken = await self.ask(b"{", key=None)
        self.assertEqual((broken.status, broken.json()["error"]), (400, "Invalid JSON format"))
        large = await self.ask(b" " * (3 * 1024 * 1024 + 1))
        self.assertEqual((large.status, large.body), (500, b"An unknown error occurred."))

    async def test_paths_outside(self) -> None:
        unknown = await self.ask(path="/api/nothing")
        self.assertEqual((unknown.status, unknown.json()), (404, {"message": "Endpoint not found"}))
        page = await self.ask(path="/v1/chat/completions")
        self.assertEqual((page.status, page.headers["content-type"][:9]), (200, "text/html"))

    async def test_it_is_ready_after_its_time(self) -> None:
        self.assertEqual((await self.ask(path="/readyz", method="GET")).status, 200)
        self.assertEqual((await self.ask(path="/health", method="GET")).body, b"OK")
        await self.start(LibreChat(not_ready_s=3600))
        reply = await self.ask(path="/readyz", method="GET")
        self.assertEqual((reply.status, reply.body), (503, b"NOT_READY"))


class Agents(LibreChatTest):
    async def test_models_are_the_agents_one_may_use(self) -> None:
        listed = (await self.ask(path=f"{API}/models", method="GET")).json()["data"]
        ids = [model["id"] for model in listed]
        self.assertIn("agent_echo", ids)
        self.assertNotIn("agent_private", ids)
        one = await self.ask(path=f"{API}/models/agent_echo", method="GET")
        self.assertEqual(one.json()["id"], "agent_echo")
        none = await self.ask(path=f"{API}/models", method="GET", key="sk-noacl")
        self.assertEqual(none.json()["data"], [])

    async def test_echo_names_the_members_that_arrived(self) -> None:
        answer = (await self.ask(chat(stream=False, temperature=1))).json()
        text = answer["choices"][0]["message"]["content"]
        self.assertEqual(text, "Echo: hello agent fields=model,messages,stream,temperature")
        self.assertEqual(answer["usage"]["completion_tokens"], 4)

    async def test_the_last_chunk_has_the_finish_reason_and_the_usage(self) -> None:
        reply = await self.ask(chat(stream=True))
        chunks = reply.chunks_json()
        self.assertTrue(reply.done)
        self.assertEqual(chunks[0]["choices"][0]["delta"], {"role": "assistant"})
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "stop")
        self.assertEqual(chunks[-1]["usage"]["total_tokens"], 2 + 4)

    async def test_named_events_stand_between_the_chunks(self) -> None:
        reply = await self.ask(chat("agent_tools", stream=True))
        names = [name for name, _ in reply.events() if name]
        self.assertEqual(names, ["on_summarize_start", "on_summarize_delta",
                                 "on_summarize_complete", "attachment"])
        self.assertTrue(any("tool_calls" in chunk["choices"][0]["delta"]
                            for chunk in reply.chunks_json()))

    async def test_agents_answer_in_their_own_shapes(self) -> None:
        whole = (await self.ask(chat("agent_nostream", stream=True))).json()
        self.assertEqual(whole["object"], "chat.completion")
        silent = (await self.ask(chat("agent_notext"))).json()["choices"][0]
        self.assertIsNone(silent["message"]["content"])
        self.assertEqual(silent["finish_reason"], "tool_calls")
        big = (await self.ask(chat("agent_bigusage"))).json()["usage"]
        self.assertEqual(big["total_tokens"], 150_000)
        self.assertIn("subagent", big)
        thinking = (await self.ask(chat("agent_reason", stream=True))).chunks_json()
        self.assertTrue(any("reasoning" in chunk["choices"][0]["delta"] for chunk in thinking))

    async def test_split_cuts_characters_and_ends_lines_in_crlf(self) -> None:
        reply = await self.ask(chat("agent_split", stream=True))
        self.assertTrue(all(len(chunk) == 1 for chunk in reply.chunks))
        self.assertIn(b"\r\n\r\n", reply.body)
        self.assertIn("世界", reply.body.decode())

    async def test_gzip_only_for_those_who_accept_it(self) -> None:
        plain = await self.ask(chat("agent_gzip", stream=True))
        self.assertNotIn("content-encoding", plain.headers)
        packed = await self.ask(chat("agent_gzip", stream=True), Accept_Encoding="gzip, br")
        self.assertEqual(packed.headers["content-encoding"], "gzip")
        self.assertTrue(gzip.decompress(packed.body).endswith(b"data: [DONE]\n\n"))

    async def test_failures_before_within_and_by_a_cut(self) -> None:
        for status in (400, 429, 500, 503):
            reply = await self.ask(chat(f"agent_fail_pre_{status}", stream=True))
            self.assertEqual(reply.status, status)
        hidden = await self.ask(chat("agent_fail_mid_1", stream=True))
        *_, before, last = [chunk["choices"][0] for chunk in hidden.chunks_json()]
        self.assertEqual(before["delta"], {"content": "Echo:"})
        self.assertTrue(last["delta"]["content"].startswith("\n\nError: "))
        self.assertEqual(last["finish_reason"], "stop")
        self.assertTrue(hidden.done)
        self.assertFalse(any("usage" in chunk for chunk in hidden.chunks_json()))
        self.assertEqual((await self.ask(chat("agent_fail_mid"))).status, 500)
        self.assertFalse((await self.ask(chat("agent_cut", stream=True))).complete)
        self.assertFalse((await self.ask(chat("agent_cut"))).complete)
        self.assertEqual(self.app.runs.failed, self.app.runs.started)


class Runs(LibreChatTest):
    def assert_runs(self, **expected: int) -> None:
        self.assertEqual({k: v for k, v in vars(self.app.runs).items() if v}, expected)

    async def leave_in_the_middle(self, pause_ms: int) -> None:
        async with Client(self.server.port) as client:
            body = chat(f"agent_slow_{pause_ms}", stream=True)
            await client.send("POST", CHAT, body, {"authorization": f"Bearer {KEY}"})
            await client.reader.readuntil(b'"role":"assistant"')
        await asyncio.wait_for(self.server.drained(), TIMEOUT_S)

    async def test_an_old_run_goes_on_without_its_client(self) -> None:
        await self.leave_in_the_middle(pause_ms=20)
        self.assert_runs(started=1, finished=1)
        self.assertEqual(self.server.stats.cancelled, 1)

    async def test_a_new_run_stops_with_its_client(self) -> None:
        await self.start(LibreChat(abort_new=True))
        await self.leave_in_the_middle(pause_ms=600_000)
        self.assert_runs(started=1, aborted=1)

    async def test_runs_stand_in_the_stats_and_can_be_waited_for(self) -> None:
        await self.ask(chat(stream=True))
        stats = await self.ask(path="/_stats?runs.finished=1", method="GET")
        self.assertEqual(stats.json()["runs"]["finished"], 1)


if __name__ == "__main__":
    unittest.main()
