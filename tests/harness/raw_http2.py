"""HTTP/2 written by hand: exactly the frames a test wants to send, and what came back."""

from __future__ import annotations

import socket
import struct

TIMEOUT_S = 30.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _integer(value: int, bits: int, first: int = 0) -> bytes:
    """RFC 7541 §5.1."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    out, value = bytearray([first | limit]), value - limit
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes([*out, value])


def header(name: str, value: str) -> bytes:
    """A literal field that enters no table, without Huffman."""
    return b"\0" + _integer(len(name), 7) + name.encode() + _integer(len(value), 7) + value.encode()


def request_head(path: str, more: list[tuple[str, str]] | None = None) -> bytes:
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test"), ("te", "trailers")]
    fields += [("content-type", "application/grpc"), *(more or [])]
    return b"".join(header(name, value) for name, value in fields)


def message(body: bytes, flags: int = 0, length: int | None = None) -> bytes:
    """gRPC's prefix before a message."""
    return struct.pack(">BI", flags, len(body) if length is None else length) + body


class Http2Client:
    """One connection. `frames` ends when the peer closes."""

    def __init__(self, port: int, settings: bytes = b"", host: str = "127.0.0.1", preface: bytes = PREFACE) -> None:
        self._socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self._pending = b""
        self.is_closed = False
        self.send(preface + frame(SETTINGS, 0, 0, settings) if preface else b"")

    def __enter__(self) -> "Http2Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> bool:
        """False when the peer has closed."""
        try:
            self._socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def start(self, stream: int, path: str, more: list[tuple[str, str]] | None = None, end: bool = False) -> bool:
        return self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, request_head(path, more)))

    def _read(self, count: int) -> bytes | None:
        while len(self._pending) < count:
            try:
                more = self._socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                self.is_closed = True
                return None
            self._pending += more
        data, self._pending = self._pending[:count], self._pending[count:]
        return data

    def next_frame(self) -> tuple[int, int, int, bytes] | None:
        """Kind, flags, stream and payload; None at the end. Settings and pings are acknowledged."""
        head = self._read(9)
        if head is None:
            return None
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        stream = int.from_bytes(head[5:], "big")
        payload = self._read(length)
        if payload is None:
            return None
        if kind in (SETTINGS, PING) and not flags & ACK:
            self.send(frame(kind, ACK, 0, b"" if kind == SETTINGS else payload))
        return kind, flags, stream, payload

    def until(self, *kinds: int) -> tuple[int, int, int, bytes] | None:
        """The next frame of one of these kinds; None when the connection ends before."""
        while True:
            got = self.next_frame()
            if got is None or got[0] in kinds:
                return got

    def goaway(self) -> tuple[int, bytes]:
        """Error code and debug data of the GOAWAY that has to come."""
        got = self.until(GOAWAY)
        assert got is not None, "the connection ended without GOAWAY"
        return int.from_bytes(got[3][4:8], "big"), got[3][8:]
