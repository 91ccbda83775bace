"""A scripted relay: its spool, and its stream to usage frame by frame."""

from __future__ import annotations

import queue
import secrets
import time
from typing import Any

from bson import ObjectId

from harness.rpc import RpcClient, schema

STREAM = "apirelay.usage.v1.IngestService/Stream"


def message(name: str, **fields: Any) -> Any:
    return schema().message_class(schema().pool.FindMessageTypeByName(f"apirelay.usage.v1.{name}"))(**fields)


class Spool:
    """What a relay has on its disk: an id, a boot and events in order."""

    def __init__(self) -> None:
        self.id, self.boot = secrets.token_bytes(5), secrets.token_bytes(16)
        self.api_key_id = ObjectId()
        self.events: list[bytes] = []
        self._counter = 0

    def add(self, count: int = 1, **fields: Any) -> None:
        for _ in range(count):
            self._counter += 1
            event_id = int(time.time()).to_bytes(4, "big") + self.id + self._counter.to_bytes(3, "big")
            values: dict[str, Any] = {
                "event_id": event_id, "timestamp_ms": int(time.time() * 1000), "api_key_id": self.api_key_id.binary, "key_id": "k" * 12,
                "request_id": f"req_{event_id.hex()}", "endpoint": "/v1/chat/completions", "model": "gpt-4o", "route": "gpt-*", "provider": "p",
                "status_code": 200, "duration_ms": 100, "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost_nano_usd": 1000,
                "method": "POST", "attempts": 1, "billing_basis": "reported", "outcome": "complete", "ip": "127.0.0.1", "upstream_accepted": True,
            }
            self.events.append(message("UsageEvent", **{**values, **fields}).SerializeToString())


class Stream:
    """One ingest stream, frame by frame."""

    def __init__(self, relay: RpcClient, spool: Spool, **hello: Any) -> None:
        self._frames: queue.Queue[Any] = queue.Queue()
        self._call = relay.converse(STREAM, iter(self._frames.get, None), timeout=60)
        self.spool = spool
        fields = {"spool_id": spool.id, "boot": spool.boot, "format": 1, "host": "test", "tail": len(spool.events), **hello}
        self.send(hello=message("Hello", **fields))

    def send(self, **frame: Any) -> None:
        self._frames.put(message("StreamRequest", **frame))

    def events(self, first: int, count: int) -> None:
        self.send(events=message("Events", first_seq=first, events=self.spool.events[first - 1 : first - 1 + count]))

    def receive(self) -> Any:
        return next(self._call)

    def welcome(self) -> Any:
        answer = self.receive()
        assert answer.WhichOneof("frame") == "welcome", answer
        return answer.welcome

    def acked(self, n: int) -> None:
        while True:
            answer = self.receive()
            assert answer.WhichOneof("frame") == "ack", answer
            if answer.ack.n >= n:
                assert answer.ack.n == n
                return

    def error(self) -> int:
        while True:
            answer = self.receive()
            if answer.WhichOneof("frame") == "error":
                return int(answer.error.code)

    def close(self) -> None:
        self._frames.put(None)
        self._call.cancel()
