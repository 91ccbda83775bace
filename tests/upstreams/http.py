"""
HTTP/1.1 for scripted upstreams: keep-alive, both body framings, and raw access to the socket.

A handler gets a parsed `Request` and the `Connection` it came on. It answers with `respond` or
`start_stream`, or leaves HTTP behind with `send`, `cut` and `stall`. One connection runs one
request at a time; everything happens on one asyncio loop.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Iterable, Optional

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024

Headers = Iterable[tuple[str, str]]

REASONS = {
    100: "Continue", 200: "OK", 201: "Created", 204: "No Content", 302: "Found",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict",
    413: "Content Too Large", 422: "Unprocessable Content", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout", 529: "Overloaded",
}


class ClientGone(Exception):
    """The client closed its connection before the answer was complete."""


class BadRequest(Exception):
    """What arrived is not HTTP/1.x, or too large. Answered with `status`, then closed."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: str
    version: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> Optional[str]:
        """The first value of `name` (any case), or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def json(self) -> Any:
        """The body as JSON; None when it is not."""
        try:
            return json.loads(self.body)
        except ValueError:  # of JSON or of UTF-8
            return None


class RequestReader(asyncio.StreamReader):
    """A stream reader that tells when the peer left, even while nobody is reading."""

    def __init__(self) -> None:
        super().__init__(limit=MAX_HEAD_BYTES)
        self.peer_left = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.peer_left.set()

    def set_exception(self, exc: BaseException) -> None:
        super().set_exception(exc)  # type: ignore[arg-type]
        self.peer_left.set()


class Connection:
    """
    The answering side of one TCP connection. Every method raises ClientGone once the client left.

    `one_byte_writes` sends each byte in a write of its own, and each byte of a stream in a chunk
    of its own. `default_headers` go into every head. `keep_alive` false ends the connection after
    the current answer.
    """

    def __init__(self, reader: RequestReader, writer: asyncio.StreamWriter, number: int) -> None:
        self._reader = reader
        self._writer = writer
        self._chunked = False
        self.number = number
        self.keep_alive = True
        self.http_1_0 = False
        self.one_byte_writes = False
        self.default_headers: list[tuple[str, str]] = []

    @property
    def gone(self) -> bool:
        return self._reader.peer_left.is_set() or self._writer.is_closing()

    async def send(self, data: bytes) -> None:
        """Raw bytes. A client that only half-closed still gets them."""
        step = 1 if self.one_byte_writes else max(len(data), 1)
        for start in range(0, len(data), step):
            if self._writer.is_closing():
                raise ClientGone
            self._writer.write(data[start : start + step])
            try:
                await self._writer.drain()
            except ConnectionError:
                raise ClientGone from None
            await asyncio.sleep(0)  # drain() does not yield: let the loop see that the peer left

    def head(self, status: int, headers: Headers) -> bytes:
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Scripted')}"]
        lines += [f"{name}: {value}" for name, value in (*headers, *self.default_headers)]
        if not self.keep_alive:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def respond(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = "application/json",
        headers: Headers = (),
        *,
        declared_length: Optional[int] = None,
        trailing: bytes = b"",
    ) -> None:
        """A whole answer. `declared_length` may lie; `trailing` follows in the same write."""
        length = len(body) if declared_length is None else declared_length
        framing = [("content-type", content_type), ("content-length", str(length))]
        await self.send(self.head(status, [*framing, *headers]) + body + trailing)

    async def respond_json(self, status: int, value: Any, headers: Headers = ()) -> None:
        await self.respond(status, to_json(value), headers=headers)

    async def start_stream(
        self, content_type: str = "text/event-stream", headers: Headers = ()
    ) -> None:
        """A 200 whose body follows by send_part(); chunked, or until close for HTTP/1.0."""
        self._chunked = not self.http_1_0
        framing = [("content-type", content_type), ("cache-control", "no-cache")]
        if self._chunked:
            framing.append(("transfer-encoding", "chunked"))
        await self.send(self.head(200, [*framing, *headers]))

    async def send_part(self, data: bytes) -> None:
        if self.gone:
            raise ClientGone
        if not self._chunked:
            await self.send(data)
        elif self.one_byte_writes:
            for byte in data:
                await self.send(b"1\r\n%c\r\n" % byte)
        elif data:
            await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def finish_stream(self) -> None:
        if self._chunked:
            await self.send(b"0\r\n\r\n")

    async def pause(self, seconds: float) -> None:
        """Waits, but not for a client that leaves meanwhile."""
        try:
            await asyncio.wait_for(self._reader.peer_left.wait(), seconds)
        except asyncio.TimeoutError:
            return
        raise ClientGone

    async def stall(self) -> None:
        """Silence until the client leaves; always raises ClientGone."""
        await self._reader.peer_left.wait()
        raise ClientGone

    async def cut(self) -> None:
        """Sends what is buffered, then closes."""
        self.keep_alive = False
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass

    async def read_request(self) -> Optional[Request]:
        """The next request, or None when the client is done or left in the middle of one."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            method, target, version, headers = _parse_head(head)
            path, _, query = target.partition("?")
            request = Request(method, path, query, version, headers, b"")
            if (request.header("expect") or "").lower() == "100-continue":
                await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await self._read_body(request)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except asyncio.LimitOverrunError:
            raise BadRequest(431, "the head is too large") from None
        wants_close = "close" in (request.header("connection") or "").lower()
        self.http_1_0 = version == "HTTP/1.0"
        self.keep_alive = not (wants_close or self.http_1_0)
        self.one_byte_writes = False
        self.default_headers = []
        return Request(method, path, query, version, headers, body)

    async def _read_body(self, request: Request) -> bytes:
        if request.header("transfer-encoding") is not None:
            return await self._read_chunks()
        length = request.header("content-length") or "0"
        if not (length.isascii() and length.isdigit()):
            raise BadRequest(400, f"content-length is {length!r}")
        if int(length) > MAX_BODY_BYTES:
            raise BadRequest(413, "the body is too large")
        return await self._reader.readexactly(int(length))

    async def _read_chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = await self._reader.readuntil(b"\r\n")
            try:
                size = int(line.split(b";")[0].strip(), 16)
            except ValueError:
                raise BadRequest(400, "a chunk size is not hexadecimal") from None
            if not 0 <= size <= MAX_BODY_BYTES - len(body):
                raise BadRequest(413, "the body is too large")
            if size == 0:
                break
            body += await self._reader.readexactly(size)
            if await self._reader.readexactly(2) != b"\r\n":
                raise BadRequest(400, "a chunk is longer than its size")
        while await self._reader.readuntil(b"\r\n") != b"\r\n":
            pass  # trailers
        return bytes(body)


def _parse_head(head: bytes) -> tuple[str, str, str, list[tuple[str, str]]]:
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest(400, "the request line is malformed")
    headers = []
    for line in lines[1:-2]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(400, "a header line is malformed")
        headers.append((name, value.strip()))
    return parts[0], parts[1], parts[2], headers


def to_json(value: Any) -> bytes:
    """As providers write it: UTF-8 text, not \\u escapes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
