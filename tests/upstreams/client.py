"""
A plain HTTP client for the tests of the scripted upstreams. It hides nothing: a cut answer is a
Reply that is not complete, and bytes left over stay readable on the connection.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Optional

from upstreams.http import to_json

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Reply:
    """One answer. `status` 0: not even a head came."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool
    chunks: tuple[bytes, ...] = ()

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[tuple[Optional[str], str]]:
        """(event name, data) of each server-sent event; comments are skipped."""
        text = self.body.decode().replace("\r\n", "\n").replace("\r", "\n")
        events = []
        for block in text.split("\n\n"):
            fields = [line.partition(": ") for line in block.split("\n") if line]
            named = next((value for name, _, value in fields if name == "event"), None)
            data = [value for name, _, value in fields if name == "data"]
            if data:
                events.append((named, "\n".join(data)))
        return events

    def chunks_json(self) -> list[Any]:
        """The unnamed events as JSON, without [DONE]."""
        return [json.loads(data) for name, data in self.events() if not name and data != "[DONE]"]

    @property
    def done(self) -> bool:
        events = self.events()
        return bool(events) and events[-1][1] == "[DONE]"


class Client:
    """One connection; `async with Client(port)`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass

    async def send(
        self, method: str, path: str, body: Any = None, headers: Optional[dict[str, str]] = None
    ) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else to_json(body)
        lines = [f"{method} {path} HTTP/1.1", "host: upstream.test"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines.append(f"content-length: {len(data)}")
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + data)
        await self.writer.drain()

    async def ask(
        self, method: str, path: str, body: Any = None, headers: Optional[dict[str, str]] = None
    ) -> Reply:
        await self.send(method, path, body, headers)
        return await asyncio.wait_for(self.read_reply(), TIMEOUT_S)

    async def read_reply(self) -> Reply:
        try:
            status, headers = await self.read_head()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            return Reply(0, {}, b"", False)
        if headers.get("transfer-encoding") == "chunked":
            chunks, complete = await self._read_chunks()
            return Reply(status, headers, b"".join(chunks), complete, tuple(chunks))
        try:
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        except asyncio.IncompleteReadError as cut:
            return Reply(status, headers, cut.partial, False)
        return Reply(status, headers, body, True)

    async def read_head(self) -> tuple[int, dict[str, str]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        if not first.startswith("HTTP/1.1 "):
            raise ValueError("this is not HTTP")
        pairs = (line.partition(": ") for line in lines)
        return int(first.split(" ")[1]), {name.lower(): value for name, _, value in pairs}

    async def _read_chunks(self) -> tuple[list[bytes], bool]:
        chunks: list[bytes] = []
        try:
            while True:
                size = int(await self.reader.readuntil(b"\r\n"), 16)
                chunk = (await self.reader.readexactly(size + 2))[:size]
                if size == 0:
                    return chunks, True
                chunks.append(chunk)
        except (asyncio.IncompleteReadError, ConnectionError):
            return chunks, False
