"""Each scripted failure as a client meets it, and what the server counts and logs of it."""

from __future__ import annotations

import asyncio
import json
import sys
import unittest
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from upstreams.client import TIMEOUT_S, Client
from upstreams.scenario import BROKEN_JSON, Scenario
from upstreams.test_upstreams import CHAT, KEY, UpstreamTest, chat, spoken, streamed


class Names(unittest.TestCase):
    def test_marks_and_numbers_are_read_from_a_name(self) -> None:
        scenario = Scenario.of("slow-20+fail-cut+long-500")
        self.assertEqual(scenario.marks, {"slow": 20, "fail-cut": None, "long": 500})
        self.assertEqual(scenario.events_before("fail-cut"), 2)
        self.assertIsNone(scenario.events_before("fail-stall"))
        self.assertEqual(Scenario.of("gpt-4o-mini").marks, {"gpt-4o-mini": None})


class InsteadOfAnAnswer(UpstreamTest):
    async def test_statuses_come_with_their_error_objects(self) -> None:
        for status, code in ((400, None), (401, "invalid_api_key"), (404, "model_not_found"),
                             (429, "rate_limit_exceeded"), (500, None),
                             (503, "server_is_overloaded"), (529, None)):
            with self.subTest(status):
                reply = await self.ask(streamed(f"fail-status-{status}"))
                self.assertEqual(reply.status, status)
                self.assertEqual(reply.json()["error"]["code"], code)
                self.assertEqual(reply.headers.get("retry-after"), "1" if status == 429 else None)

    async def test_an_empty_quota_and_a_leaking_message(self) -> None:
        quota = await self.ask(chat("fail-quota"))
        self.assertEqual((quota.status, quota.json()["error"]["type"]), (429, "insufficient_quota"))
        leak = await self.ask(chat("fail-leak"))
        self.assertIn(KEY["authorization"], leak.json()["error"]["message"])

    async def test_the_first_requests_fail_and_later_ones_work(self) -> None:
        statuses = [(await self.ask(chat("fail-first-2"))).status for _ in range(3)]
        self.assertEqual(statuses, [503, 503, 200])
        self.assertEqual((await self.ask(chat("fail-first-2+other"))).status, 503)

    async def test_no_head_at_all(self) -> None:
        for model in ("fail-cut-head", "fail-garbage"):
            with self.subTest(model):
                self.assertEqual((await self.ask(chat(model))).status, 0)

    async def test_wrong_content(self) -> None:
        html = await self.ask(chat("fail-html"))
        self.assertEqual((html.status, html.headers["content-type"][:9]), (200, "text/html"))
        broken = await self.ask(chat("fail-garbage-json"))
        self.assertEqual((broken.body, broken.complete), (BROKEN_JSON, True))
        for body in (chat("fail-content-type"), streamed("fail-content-type")):
            reply = await self.ask(body)
            self.assertEqual((reply.status, reply.headers["content-type"]), (200, "text/plain"))
        redirect = await self.ask(chat("fail-redirect"))
        self.assertEqual(redirect.status, 302)
        self.assertTrue(redirect.headers["location"].endswith("/v1/elsewhere"))

    async def test_heads_that_no_strict_client_accepts(self) -> None:
        async def raw(model: str) -> bytes:
            async with Client(self.server.port) as client:
                await client.send("POST", CHAT, chat(model), KEY)
                return await asyncio.wait_for(client.reader.read(-1), TIMEOUT_S)

        self.assertEqual((await raw("fail-two-lengths")).count(b"content-length"), 2)
        self.assertIn(b"transfer-encoding: chunked", await raw("fail-length-and-chunked"))
        self.assertGreater(len(await raw("fail-head-flood")), 500_000)


class Endings(UpstreamTest):
    async def test_a_cut_stream_has_n_events_and_no_end(self) -> None:
        cases = (("fail-cut", 2), ("fail-cut-1", 1), ("fail-cut-0", 0), ("fail-cut-99", 7))
        for model, events in cases:
            with self.subTest(model):
                reply = await self.ask(streamed(model))
                self.assertEqual((len(reply.events()), reply.complete), (events, False))

    async def test_a_cut_json_answer_is_half_of_it(self) -> None:
        reply = await self.ask(chat("fail-cut"))
        self.assertEqual((reply.status, reply.complete), (200, False))
        self.assertEqual(len(reply.body), int(reply.headers["content-length"]) // 2)

    async def test_an_ended_stream_is_whole_http_without_done(self) -> None:
        reply = await self.ask(streamed("fail-end-3"))
        self.assertEqual((len(reply.events()), reply.complete, reply.done), (3, True, False))
        reply = await self.ask(streamed("no-done"))
        self.assertEqual((reply.complete, reply.done), (True, False))
        self.assertEqual(reply.chunks_json()[-1]["usage"]["total_tokens"], 10)

    async def test_a_stall_lasts_until_the_client_leaves_and_counts_as_cancelled(self) -> None:
        for body in (chat("fail-stall"), chat("fail-stall-1"), streamed("fail-stall-2")):
            with self.subTest(body["model"]):
                before = self.server.stats.cancelled
                async with Client(self.server.port) as client:
                    await client.send("POST", CHAT, body, KEY)
                    if body["model"] != "fail-stall":
                        self.assertEqual((await client.read_head())[0], 200)
                await self.drained()
                self.assertEqual(self.server.stats.cancelled, before + 1)

    async def test_an_error_in_the_stream_is_the_last_event(self) -> None:
        for model, name in (("fail-error-event", None), ("fail-error-named-1", "error")):
            with self.subTest(model):
                reply = await self.ask(streamed(model))
                self.assertEqual((reply.complete, reply.done), (True, False))
                last_name, data = reply.events()[-1]
                self.assertEqual(last_name, name)
                self.assertEqual(json.loads(data)["error"]["type"], "server_error")

    async def test_a_wrong_length_ends_early(self) -> None:
        for body in (chat("fail-length"), streamed("fail-length")):
            reply = await self.ask(body)
            self.assertFalse(reply.complete)
            self.assertEqual(len(reply.body), int(reply.headers["content-length"]) - 10)

    async def test_leftover_bytes_are_a_whole_second_answer(self) -> None:
        for body in (chat("fail-leftover"), streamed("fail-leftover")):
            async with Client(self.server.port) as client:
                self.assertTrue((await client.ask("POST", CHAT, body, KEY)).complete)
                poison = await client.read_reply()
                self.assertEqual(poison.json(), {"poisoned": True})
                self.assertEqual((await client.ask("POST", CHAT, chat(), KEY)).status, 200)

    async def test_connections_close_with_and_without_a_word(self) -> None:
        for model, header in (("fail-close", "close"), ("fail-stale", None)):
            with self.subTest(model):
                async with Client(self.server.port) as client:
                    reply = await client.ask("POST", CHAT, chat(model), KEY)
                    self.assertTrue(reply.complete)
                    self.assertEqual(reply.headers.get("connection"), header)
                    self.assertEqual(await client.reader.read(), b"")


class Streams(UpstreamTest):
    async def test_a_line_that_is_not_json_stands_among_good_ones(self) -> None:
        reply = await self.ask(streamed("fail-garbage-stream"))
        self.assertEqual(reply.events()[2][1], "{not json")
        self.assertTrue(reply.done)

    async def test_usage_can_be_missing_on_content_or_everywhere(self) -> None:
        none = await self.ask(streamed("fail-no-usage"))
        self.assertTrue(all(not chunk.get("usage") for chunk in none.chunks_json()))
        self.assertNotIn("usage", (await self.ask(chat("fail-no-usage"))).json())
        last = (await self.ask(streamed("usage-on-content"))).chunks_json()[-1]
        self.assertEqual(last["usage"]["total_tokens"], 10)
        self.assertEqual(last["choices"][0]["delta"], {"content": " world"})
        self.assertEqual(last["choices"][0]["finish_reason"], "stop")
        chunks = (await self.ask(streamed("usage-every-chunk"))).chunks_json()
        running = [chunk["usage"]["completion_tokens"] for chunk in chunks]
        self.assertEqual(running, [0, 1, 2, 3, 4, 4])

    async def test_line_ends_and_comments_change_no_event(self) -> None:
        plain = (await self.ask(streamed("gpt-4o"))).events()
        cases = (("crlf", b"\r\n\r\n"), ("cr", b"}\r\r"), ("comments", b": keep-alive"))
        for model, needle in cases:
            with self.subTest(model):
                reply = await self.ask(streamed(model))
                self.assertIn(needle, reply.body)
                self.assertEqual(len(reply.events()), len(plain))
                self.assertEqual(spoken(reply), "Echo: hello big world")

    async def test_single_bytes_cut_through_characters(self) -> None:
        reply = await self.ask(streamed("bytes-1"))
        self.assertTrue(all(len(chunk) == 1 for chunk in reply.chunks))
        self.assertEqual(spoken(reply), "Grüße, 世界! 🙂 Echo: hello big world")
        answer = (await self.ask(chat("bytes-1"))).json()
        self.assertEqual(answer["choices"][0]["message"]["content"], spoken(reply))

    async def test_long_and_slow_answers_stop_when_the_client_leaves(self) -> None:
        reply = await self.ask(streamed("long-300"))
        self.assertEqual(len(spoken(reply).split()), 300)
        async with Client(self.server.port) as client:
            await client.send("POST", CHAT, streamed("slow-600000+long-300"), KEY)
            await client.reader.readuntil(b'"role":"assistant"')
        await self.drained()
        self.assertEqual(self.server.stats.cancelled, 1)


class Control(UpstreamTest):
    async def test_the_log_has_each_request_as_it_came(self) -> None:
        async with Client(self.server.port) as client:
            await client.ask("POST", CHAT, chat(text="Grüße"), {**KEY, "X-Twice": "1"})
            await client.ask("GET", "/v1/models?limit=2", headers=KEY)
            first, second = (await client.ask("GET", "/_log")).json()
            self.assertEqual((first["method"], first["path"]), ("POST", CHAT))
            self.assertIn(["X-Twice", "1"], first["headers"])
            self.assertEqual(json.loads(first["body"]), chat(text="Grüße"))
            self.assertEqual((second["path"], second["query"]), ("/v1/models", "limit=2"))
            self.assertEqual(first["connection"], second["connection"])
            await client.ask("DELETE", "/_log")
            self.assertEqual((await client.ask("GET", "/_log")).json(), [])

    async def test_the_log_keeps_the_last_thousand(self) -> None:
        async with Client(self.server.port) as client:
            for number in range(1_003):
                await client.ask("GET", f"/v1/models?{number}", headers=KEY)
            log = (await client.ask("GET", "/_log")).json()
        self.assertEqual((len(log), log[0]["query"], log[-1]["query"]), (1_000, "3", "1002"))

    async def test_counters_leave_control_requests_out(self) -> None:
        async with Client(self.server.port) as control, Client(self.server.port) as client:
            await client.ask("GET", "/v1/models", headers=KEY)
            await client.ask("GET", "/v1/models", headers=KEY)
            stats = (await control.ask("GET", "/_stats")).json()
            self.assertEqual(
                stats,
                {"connections": 1, "open_connections": 2, "requests": 2, "in_flight": 0, "most_in_flight": 1, "cancelled": 0},
            )
            await control.ask("DELETE", "/_stats")
            self.assertEqual((await control.ask("GET", "/_stats")).json()["requests"], 0)

    async def test_a_waiting_stats_call_answers_when_its_counter_is_reached(self) -> None:
        async with Client(self.server.port) as control:
            async with Client(self.server.port) as client:
                await client.send("POST", CHAT, chat("fail-stall"), KEY)
                await control.ask("GET", "/_stats?requests=1")
            stats = (await control.ask("GET", "/_stats?cancelled=1")).json()
            self.assertEqual(stats["cancelled"], 1)

    async def test_a_chunked_body_and_an_expectation_are_understood(self) -> None:
        body = json.dumps(chat()).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: u\r\nauthorization: Bearer k\r\n".encode()
        framing = b"expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"
        async with Client(self.server.port) as client:
            client.writer.write(head + framing)
            self.assertEqual((await client.read_head())[0], 100)
            for piece in (body[:10], body[10:]):
                client.writer.write(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
            client.writer.write(b"0\r\ntrailer: x\r\n\r\n")
            self.assertEqual((await client.read_reply()).status, 200)


if __name__ == "__main__":
    unittest.main()
