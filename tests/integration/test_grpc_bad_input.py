"""What a gRPC port makes of bytes that no client sends: it answers or hangs up, holds little, and goes on for the others."""

from __future__ import annotations

import contextlib
import gzip
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from harness import raw_http2 as h2
from harness.ports import eventually
from harness.raw_http2 import Http2Client, frame, message, request_head
from harness.suite import NO_TLS, Suite

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECT = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
GET = "/apirelay.auth.v1.ApiKeyService/GetApiKey"
LIST_SERVICES = b"\x3a\x00"  # ServerReflectionRequest.list_services: ""
ENHANCE_YOUR_CALM = 11
HELD_MAX = 256 << 20  # what bad callers may make a server hold: 10,000 calls, transport buffers and all
HANDSHAKE_SECONDS = 10
WINDOW = 65535  # what a client may send before it is told more


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("bad-grpc")).start(only=("mongo", "redis", "auth"))
    yield suite
    assert suite.stop()["auth"] == 0


@pytest.fixture
def port(stack: Suite) -> Iterator[int]:
    """The port of auth, which holds no more afterwards than it may, and still answers."""
    before = resident_bytes(stack)
    yield stack.port["auth_grpc"]
    assert resident_bytes(stack) - before < HELD_MAX
    with stack.rpc("auth", stack.admin_key) as client:
        client.call("apirelay.auth.v1.ApiKeyService/ListApiKeys")
    eventually(lambda: in_flight(stack) == 0, "no call in flight is left")


def resident_bytes(stack: Suite) -> int:
    status = Path(f"/proc/{stack.processes['auth'].pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def metric_sum(stack: Suite, name: str, label: str = "") -> float:
    text = httpx.get(stack.ops_url("auth", "/metrics"), timeout=30, verify=NO_TLS).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + "{") and label in line)


def in_flight(stack: Suite) -> float:
    return metric_sum(stack, "rpc_server_calls_in_flight")


BAD_CONNECTIONS = {
    "no preface": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "half a preface and other bytes": h2.PREFACE[:10] + b"\0" * 100,
    "no settings first": h2.PREFACE + frame(h2.HEADERS, 5, 1, request_head(CHECK)),
    "settings of a wrong length": h2.PREFACE + frame(h2.SETTINGS, 0, 0, b"\0" * 5),
}


@pytest.mark.parametrize("name", BAD_CONNECTIONS)
def test_a_connection_that_does_not_begin_well_is_closed(port: int, name: str) -> None:
    with Http2Client(port, preface=b"") as client:
        client.send(BAD_CONNECTIONS[name])
        assert client.until() is None


BAD_FRAMES = {
    "a frame larger than allowed": frame(h2.DATA, 0, 1, b"", length=(1 << 24) - 1) + b"x" * 70000,
    "headers on stream 0": frame(h2.HEADERS, 5, 0, request_head(CHECK)),
    "headers on a stream of ours": frame(h2.HEADERS, 5, 2, request_head(CHECK)),
    "an index that no table has": frame(h2.HEADERS, 5, 1, b"\xff\xff\xff\xff\x0f"),
    "an integer without end": frame(h2.HEADERS, 5, 1, b"\xff" + b"\xff" * 64),
    "continuation without headers": frame(h2.CONTINUATION, 4, 1, request_head(CHECK)),
    "another frame amid headers": frame(h2.HEADERS, 0, 1, request_head(CHECK)) + frame(h2.PING, 0, 0, b"\0" * 8),
    "a window that overflows": frame(h2.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 3,
    "a ping of a wrong length": frame(h2.PING, 0, 0, b"\0" * 7),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_frame_ends_its_connection_or_its_call_alone(port: int, name: str) -> None:
    with Http2Client(port) as client, Http2Client(port) as other:
        client.send(BAD_FRAMES[name])
        other.start(1, CHECK)
        other.send(frame(h2.DATA, h2.END_STREAM, 1, message(b"")))
        assert other.until(h2.DATA) is not None


BAD_MESSAGES = {
    "longer than it is": message(b"\x0a\x01x", length=1000),
    "as long as can be": message(b"", length=0xFFFFFFFF),
    "a bit over the most": message(b"", length=(4 << 20) + 1),
    "cut in its prefix": b"\0\0\0",
    "compressed, but how": message(b"\x0a\x01x", flags=1),
    "a prefix of another kind": message(b"\x0a\x01x", flags=0xFE),
    "no protobuf": message(b"\xff" * 20),
    "nested deeply": message(b"\x0a\x7f" * 60),
    "two where one belongs": message(b"") * 2,
    "none at all": b"",
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_a_bad_message_ends_its_call(stack: Suite, port: int, name: str) -> None:
    credential = [("authorization", f"Bearer {stack.admin_key}")]
    with Http2Client(port) as client:
        client.start(1, GET, credential)
        client.send(frame(h2.DATA, h2.END_STREAM, 1, BAD_MESSAGES[name]))
        ended = client.until(h2.HEADERS, h2.RST_STREAM, h2.GOAWAY)
        assert ended is not None and ended[2] in (0, 1)


def test_a_compressed_bomb_is_not_opened(stack: Suite, port: int) -> None:
    bomb = gzip.compress(b"\0" * (256 << 20), 9)
    assert len(bomb) < 1 << 20
    more = [("authorization", f"Bearer {stack.admin_key}"), ("grpc-encoding", "gzip")]
    with Http2Client(port) as client:
        client.start(1, GET, more)
        data = message(bomb, flags=1)
        for at in range(0, len(data), 16000):
            if not client.send(frame(h2.DATA, h2.END_STREAM if at + 16000 >= len(data) else 0, 1, data[at : at + 16000])):
                break
        assert client.until(h2.HEADERS, h2.RST_STREAM, h2.GOAWAY) is not None


def refusal(call: grpc.UnaryUnaryMultiCallable, request: bytes, metadata: list[tuple[str, str]]) -> grpc.StatusCode:
    """How a call ends. On a starved machine the server was seen to hang up once, we do not know why; then the call is made again, twice at most."""
    for _ in range(3):
        with pytest.raises(grpc.RpcError) as failure:
            call(request, metadata=metadata, timeout=20)
        if failure.value.code() != grpc.StatusCode.UNAVAILABLE:
            break
    return failure.value.code()


def test_messages_and_metadata_over_the_bounds_are_refused(stack: Suite, port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(GET)
        credential = ("authorization", f"Bearer {stack.admin_key}")
        for request, metadata in (
            (b"\x0a" + b"\x80\x80\x80\x03" + b"x" * (6 << 20), [credential]),
            (b"", [credential, ("x-large", "v" * (20 << 10))]),
            (b"", [credential, *((f"x-{i}", "v") for i in range(600))]),
        ):
            assert refusal(call, request, metadata) == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal(call, b"\x0a\x03abc", [credential, credential]) == grpc.StatusCode.UNAUTHENTICATED


def test_headers_without_end_are_not_kept(port: int) -> None:
    """A field larger than any bound, then continuations of it, 4 MiB in all."""
    with Http2Client(port) as client:
        client.send(frame(h2.HEADERS, 0, 1, request_head(CHECK) + b"\0\x01x\x7f" + b"\xff\xff\xff\x7f"))
        piece = frame(h2.CONTINUATION, 0, 1, b"v" * 16384)
        for _ in range(256):
            if not client.send(piece):
                break


def test_a_message_without_end_is_cut_by_flow_control_and_its_deadline(stack: Suite, port: int) -> None:
    more = [("authorization", f"Bearer {stack.admin_key}"), ("grpc-timeout", "300m")]
    with Http2Client(port) as client:
        client.start(1, GET, more)
        client.send(frame(h2.DATA, 0, 1, message(b"", length=4 << 20)))
        assert client.until(h2.HEADERS, h2.RST_STREAM) is not None


def test_pings_without_pause_are_told_off(port: int) -> None:
    with Http2Client(port) as client:
        client.send(frame(h2.PING, 0, 0, b"\0" * 8) * 100)
        code, why = client.goaway()
        assert code == ENHANCE_YOUR_CALM and why == b"too_many_pings"


def test_streams_that_are_reset_at_once_cost_nothing_lasting(port: int) -> None:
    with Http2Client(port) as client:
        for stream in range(1, 20000, 2):
            head = frame(h2.HEADERS, h2.END_HEADERS, stream, request_head(WATCH))
            if not client.send(head + frame(h2.DATA, h2.END_STREAM, stream, message(b"")) + frame(h2.RST_STREAM, 0, stream, b"\0\0\0\x08")):
                break


def test_thousands_of_streams_are_held_or_refused(stack: Suite, port: int) -> None:
    """Three connections of 4,000 watches each: no more than 10,000 calls at once, the others end RESOURCE_EXHAUSTED."""
    refused = ("rpc_server_calls_total", 'code="RESOURCE_EXHAUSTED"')
    before = metric_sum(stack, *refused)
    with contextlib.ExitStack() as clients:
        for _ in range(3):
            client = clients.enter_context(Http2Client(port))
            for stream in range(1, 8000, 2):
                head = frame(h2.HEADERS, h2.END_HEADERS, stream, request_head(WATCH))
                client.send(head + frame(h2.DATA, h2.END_STREAM, stream, message(b"")))
        eventually(lambda: metric_sum(stack, *refused) >= before + 1900, "2,000 calls too many end")
        assert in_flight(stack) <= 10000


@pytest.mark.parametrize("path", [WATCH, REFLECT])
def test_a_reader_that_opens_no_window_is_held_within_bounds(stack: Suite, port: int, path: str) -> None:
    no_window = h2.INITIAL_WINDOW_SIZE.to_bytes(2, "big") + b"\0\0\0\0"
    with Http2Client(port, settings=no_window) as client:
        client.start(1, path)
        for _ in range(WINDOW // (10 * len(message(LIST_SERVICES)))):
            assert client.send(frame(h2.DATA, 0, 1, message(LIST_SERVICES) * 10))


def test_being_out_of_descriptors_closes_connections_and_not_the_listener(stack: Suite, port: int) -> None:
    pid = stack.processes["auth"].pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    room = len(list(Path(f"/proc/{pid}/fd").iterdir())) + 20
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (room, before[1]))
    try:
        sockets = [socket.create_connection(("127.0.0.1", port), timeout=h2.TIMEOUT_S) for _ in range(100)]
        refused = sockets[-1]
        with contextlib.suppress(ConnectionResetError):
            assert refused.recv(1) == b""
        for s in sockets:
            s.close()
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def test_connections_that_say_nothing_are_closed(stack: Suite, port: int) -> None:
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=3 * HANDSHAKE_SECONDS) for _ in range(200)]
    try:
        for number, s in enumerate(sockets):
            s.sendall(h2.PREFACE[: number % 24])
        for s in sockets:
            with contextlib.suppress(ConnectionResetError):
                while s.recv(4096):
                    pass
    finally:
        for s in sockets:
            s.close()
