"""An HTTP/1.1 client that tells exactly how far an answer was read when its connection broke."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

from faults.client_log import ANSWERED, CUT, LEFT, Entry
from harness.raw_http import request_bytes

PIECE_BYTES = 65536


class Left(Exception):
    """The client has read as much as it wanted."""


class Connection:
    """One connection of one caller; opened again when it is needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._opened_s = 0.0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    def close(self) -> None:
        if self._writer:
            self._writer.close()
        self._reader = self._writer = None

    async def ask(self, entry: Entry, method: str, path: str, headers: dict[str, str], body: Any, leave_after: int | None) -> None:
        """Fills in the entry. `leave_after`: bytes of the body after which the client closes; 0: right after sending."""
        try:
            if not self._writer:
                self._opened_s = time.monotonic()
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return
        assert self._reader and self._writer
        entry.end, entry.connected_s = CUT, self._opened_s
        answer = bytearray()
        try:
            self._writer.write(request_bytes(method, path, {**headers, "X-Request-Id": entry.id}, body))
            await self._writer.drain()
            if leave_after == 0:
                raise Left
            await self._read(entry, answer, leave_after)
            entry.end = ANSWERED
        except Left:
            entry.end = LEFT
        except (OSError, asyncio.IncompleteReadError):
            pass
        if entry.end != ANSWERED:
            self.close()
        understand(entry, bytes(answer))

    async def _read(self, entry: Entry, answer: bytearray, leave_after: int | None) -> None:
        assert self._reader
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        entry.status = int(head[0].split()[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        entry.request_id = headers.get("x-request-id", "")
        entry.is_stream = headers.get("content-type", "").startswith("text/event-stream")
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                await self._take(answer, size, leave_after)
                await self._reader.readexactly(2)
            await self._reader.readexactly(2)
        else:
            await self._take(answer, int(headers.get("content-length", "0")), leave_after)
        if headers.get("connection", "").lower() == "close":
            self.close()

    async def _take(self, answer: bytearray, count: int, leave_after: int | None) -> None:
        assert self._reader
        while count:
            piece = await self._reader.read(min(count, PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", count)
            answer += piece
            count -= len(piece)
            if leave_after is not None and len(answer) >= leave_after:
                raise Left


def understand(entry: Entry, answer: bytes) -> None:
    for document in events_of(answer) if entry.is_stream else whole_of(answer):
        if document == "[DONE]":
            entry.is_done = True
            continue
        error = document.get("error") or {}
        entry.error = str(error.get("code") or entry.error)
        entry.message = str(error.get("message") or entry.message)
        entry.usage = document.get("usage") or entry.usage
        for choice in document.get("choices", []):
            entry.text_bytes += len(((choice.get("delta") or choice.get("message") or {}).get("content")) or "")


def events_of(answer: bytes) -> Iterator[Any]:
    """Of whole events only: what follows the last blank line was cut."""
    for event in answer.decode(errors="replace").split("\n\n")[:-1]:
        data = event.removeprefix("data: ")
        if data != event:
            yield data if data == "[DONE]" else json.loads(data)


def whole_of(answer: bytes) -> Iterator[Any]:
    try:
        document = json.loads(answer)
    except ValueError:
        return
    if isinstance(document, dict):
        yield document
