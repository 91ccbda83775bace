"""
The server under every scripted upstream: it accepts, logs, counts and shuts down.

Every server built on this also answers for its tests:

    GET    /_log     JSON list of the last 1,000 requests, newest last. Each has: method, path,
                     query, headers (list of [name, value] as sent), body (text, first 1 MiB),
                     body_bytes (its whole length), connection (its number, from 1).
    DELETE /_log     empties it
    GET    /_stats   connections (that carried a request), open_connections, requests,
                     in_flight (being answered), most_in_flight (at once),
                     cancelled (the client left before its answer was complete), and what the
                     server adds
    GET    /_stats?<counter>=<n>
                     waits until that counter is at least n, 10 s at most, then answers;
                     a counter inside another is written `runs.finished`
    DELETE /_stats   sets the counters to zero

Requests for these are in neither the log nor the counters.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import traceback
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Optional

from upstreams.http import BadRequest, ClientGone, Connection, Request, RequestReader, to_json

MAX_LOGGED_REQUESTS = 1000
MAX_LOGGED_BODY_BYTES = 1024 * 1024
MAX_WAIT_S = 10.0

Handler = Callable[[Request, Connection], Awaitable[None]]


@dataclass
class Stats:
    connections: int = 0
    open_connections: int = 0
    requests: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    cancelled: int = 0


@dataclass
class Server:
    """Accepts connections, keeps the log and the counters, and hands requests to `handler`."""

    handler: Handler
    more_stats: Callable[[], dict[str, Any]] = dict
    on_stats_reset: Callable[[], None] = lambda: None
    stats: Stats = field(default_factory=Stats)
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MAX_LOGGED_REQUESTS))
    port: int = 0
    _accepted: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _counted: asyncio.Event = field(default_factory=asyncio.Event)
    _listener: Optional[asyncio.AbstractServer] = None

    async def start(self, host: str, port: int) -> None:
        """Listens; `self.port` then is the real port. OSError when it is taken."""
        loop = asyncio.get_running_loop()

        def accept() -> asyncio.StreamReaderProtocol:
            reader = RequestReader()
            return asyncio.StreamReaderProtocol(
                reader, lambda _, writer: self._connected(reader, writer)
            )

        self._listener = await loop.create_server(accept, host, port, backlog=1024)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def drained(self) -> None:
        """Waits until every connection of now is closed and counted."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: RequestReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        connection = Connection(reader, writer, self._accepted)
        task = asyncio.get_running_loop().create_task(self._serve(connection, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection, writer: asyncio.StreamWriter) -> None:
        self.stats.open_connections += 1
        counted = False
        try:
            while connection.keep_alive:
                request = await connection.read_request()
                if request is None:
                    break
                if request.path in ("/_log", "/_stats"):
                    await self._answer_control(request, connection)
                    continue
                self.stats.connections += not counted
                counted = True
                await self._answer(request, connection)
        except BadRequest as bad:
            connection.keep_alive = False
            body = to_json({"error": {"message": str(bad), "type": "invalid_request_error"}})
            await _quietly(connection.respond(bad.status, body))
        except ClientGone:
            self.stats.cancelled += 1
        except Exception:  # a bug of a script must not look like one of its failures
            traceback.print_exc()
        finally:
            self.stats.open_connections -= 1
            self._wake_waiters()
            writer.close()

    async def _answer(self, request: Request, connection: Connection) -> None:
        self.stats.requests += 1
        self.log.append({
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": [list(pair) for pair in request.headers],
            "body": request.body[:MAX_LOGGED_BODY_BYTES].decode("utf-8", "replace"),
            "body_bytes": len(request.body),
            "connection": connection.number,
        })
        self.stats.in_flight += 1
        self.stats.most_in_flight = max(self.stats.most_in_flight, self.stats.in_flight)
        self._wake_waiters()
        try:
            await self.handler(request, connection)
        finally:
            self.stats.in_flight -= 1
        self._wake_waiters()

    async def _answer_control(self, request: Request, connection: Connection) -> None:
        if request.method == "DELETE":
            if request.path == "/_log":
                self.log.clear()
            else:
                self.stats = Stats(
                    open_connections=self.stats.open_connections,
                    in_flight=self.stats.in_flight,
                    most_in_flight=self.stats.in_flight,
                )
                self.on_stats_reset()
            await connection.respond_json(200, {})
        elif request.method != "GET":
            await connection.respond_json(405, {"error": {"message": "GET or DELETE"}})
        elif request.path == "/_log":
            await connection.respond_json(200, list(self.log))
        else:
            await self._reached(request.query)
            await connection.respond_json(200, self._counters())

    def _counters(self) -> dict[str, Any]:
        return {**vars(self.stats), **self.more_stats()}

    async def _reached(self, query: str) -> None:
        """Waits for what `<counter>=<n>` asks; returns at once for anything else."""
        name, _, wanted = query.partition("=")
        if not wanted.isdigit():
            return
        deadline = asyncio.get_running_loop().time() + MAX_WAIT_S
        while _counter(self._counters(), name) < int(wanted):
            left = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self._counted.wait(), left)
            except asyncio.TimeoutError:
                return

    def _wake_waiters(self) -> None:
        """Every waiter looks again; those that come later wait on a new event."""
        self._counted.set()
        self._counted = asyncio.Event()


def _counter(counters: dict[str, Any], name: str) -> float:
    """The counter of that dotted name; infinite when there is none, so nobody waits for it."""
    value: Any = counters
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, int) else float("inf")


async def _quietly(answer: Awaitable[None]) -> None:
    try:
        await answer
    except ClientGone:
        pass


def run(server: Server, host: str, port: int) -> int:
    """Serves until SIGTERM or SIGINT; the ready line goes to stdout. Returns the exit status."""

    async def main() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            await server.start(host, port)
        except OSError as error:
            print(f"cannot listen on {host}:{port}: {error.strerror}", file=sys.stderr)
            return 1
        print(f"listening on http://{host}:{server.port}", flush=True)
        await stop.wait()
        await server.close()
        return 0

    return asyncio.run(main())
