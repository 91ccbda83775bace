"""HTTP/1.1 written by hand: exactly the bytes a test wants to send, and what came back as it came."""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class RawAnswer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        return json.loads(self.body)


class RawClient:
    """One connection. Reading past its end gives None, so that "closed" can be asserted."""

    def __init__(self, port: int, timeout: float = TIMEOUT_S, tls: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        if tls:
            self._socket = tls.wrap_socket(self._socket, server_hostname="127.0.0.1")
        self._pending = b""

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """A peer that refuses early may have closed already: what it said is still to be read."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            pass

    def end_sending(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def receive(self) -> bytes:
        """The next bytes; b"" at the end."""
        try:
            return self._socket.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            return b""

    def _until(self, end: bytes) -> bytes | None:
        while end not in self._pending:
            more = self.receive()
            if not more:
                return None
            self._pending += more
        taken, _, self._pending = self._pending.partition(end)
        return taken

    def _exactly(self, count: int) -> bytes:
        while len(self._pending) < count:
            more = self.receive()
            if not more:
                raise ConnectionError("closed in the middle of an answer")
            self._pending += more
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def answer(self, head_only: bool = False) -> RawAnswer | None:
        """The next whole answer; None when the connection ends before it."""
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        answer = RawAnswer(int(first.split()[1]), headers, b"")
        if head_only or answer.status < 200 or answer.status in (204, 304):
            return answer
        return RawAnswer(answer.status, headers, self._body(answer))

    def _body(self, answer: RawAnswer) -> bytes:
        if answer.header("transfer-encoding") == "chunked":
            parts = []
            while True:
                line = self._until(b"\r\n")
                if line is None:
                    raise ConnectionError("closed in the middle of a chunked answer")
                size = int(line.split(b";")[0], 16)
                part = self._exactly(size + 2)[:-2]
                if size == 0:
                    return b"".join(parts)
                parts.append(part)
        return self._exactly(int(answer.header("content-length") or 0))

    def is_closed(self) -> bool:
        """Waits for the peer to close; anything it still says means it did not."""
        if self._pending:
            return False
        try:
            return self.receive() == b""
        except TimeoutError:
            return False


def request_bytes(
    method: str, target: str, headers: dict[str, str] | None = None, body: bytes | str | Any = b"", host: str = "127.0.0.1"
) -> bytes:
    """A well-formed request; `body` other than bytes and str is sent as JSON."""
    if isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes):
        body = json.dumps(body).encode()
    fields = {"Host": host, **(headers or {})}
    if body:
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **fields}
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return head.encode("latin-1") + b"\r\n" + body
