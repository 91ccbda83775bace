"""What the client knows of its requests: the one witness that no fault touches."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNSENT = "unsent"  # no connection: nothing was sent
CUT = "cut"  # sent; the connection broke, or was closed, before the end of an answer
LEFT = "left"  # closed by the client itself before the end
ANSWERED = "answered"  # read to its end


@dataclass
class Entry:
    id: str  # the client's own, as X-Request-Id
    kind: str
    key_id: str  # "": of a key that nobody knows
    relay: str
    started_s: float  # of the monotonic clock, like ended_s
    ended_s: float = 0.0
    connected_s: float = 0.0  # since when its connection had been open
    end: str = UNSENT
    status: int = 0  # 0: no head was read
    request_id: str = ""  # the relay's
    error: str = ""  # error.code of the body, or of the stream's last event
    message: str = ""  # error.message
    is_stream: bool = False
    is_done: bool = False  # a stream that said [DONE]
    text_bytes: int = 0  # of content, ASCII
    usage: dict[str, Any] | None = None


class ClientLog:
    """Kept in memory for the verdict, and in a file for whoever looks for the cause."""

    def __init__(self, path: Path) -> None:
        self.entries: list[Entry] = []
        self._file = path.open("w")

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._file.write(json.dumps(dataclasses.asdict(entry)) + "\n")

    def close(self) -> None:
        self._file.close()
