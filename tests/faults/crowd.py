"""Many callers of one key at once, on several relays: each asks again and again, refused or not, and notes what it got."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from faults.client_log import Entry
from faults.http import Connection
from harness.suite import Suite
from harness.three_relays import RELAYS, port_of

CHAT = "/v1/chat/completions"
BACK_S = 0.1  # a caller that was refused, or has lost its relay, comes again after it
HUNG_S = 60.0


@dataclass(frozen=True)
class Body:
    """What is asked; `leave_after`: bytes of the answer after which the caller is gone."""

    request: dict[str, Any]
    leave_after: int | None = None


def chat(model: str, leave_after: int | None = None, text: str = "Hello there", **members: Any) -> Body:
    return Body({"model": model, "messages": [{"role": "user", "content": text}], **members}, leave_after)


@dataclass
class Crowd:
    """Callers are spread over the relays; the n-th request of each is the next of `bodies`, every caller begins at another."""

    suite: Suite
    key: dict[str, Any]
    bodies: Sequence[Body]
    relays: Sequence[str] = RELAYS
    callers: int = 200
    entries: list[Entry] = field(default_factory=list)
    served: int = field(default=0, init=False)

    def run(self, is_enough: Callable[["Crowd"], bool], seconds: float, meanwhile: Callable[["Crowd"], None] | None = None) -> "Crowd":
        """
        Until `is_enough`, which is asked after answers and does not wait, or so many seconds are over; what is under way is read to its
        end. `meanwhile` in a thread.
        """
        asyncio.run(self._run(is_enough, seconds, meanwhile))
        return self

    @property
    def statuses(self) -> Counter[int]:
        """0: no answer came, or the caller did not wait for one."""
        return Counter(entry.status for entry in self.entries)

    def silent_s(self, now_s: float) -> float:
        """For how long nobody has been served."""
        return now_s - self._served_s

    def is_used_up(self, seconds: float = 4.0) -> bool:
        return self.silent_s(time.monotonic()) > seconds

    async def _until(self, is_enough: Callable[["Crowd"], bool]) -> None:
        while not is_enough(self):
            await self._answered.wait()
            self._answered.clear()

    async def _run(self, is_enough: Callable[["Crowd"], bool], seconds: float, meanwhile: Callable[["Crowd"], None] | None) -> None:
        self._served_s = time.monotonic()  # that somebody was, last
        self._answered = asyncio.Event()
        self._ends = False
        tasks = [asyncio.create_task(self._caller(i)) for i in range(self.callers)]
        act = asyncio.create_task(asyncio.to_thread(meanwhile, self)) if meanwhile else None
        with suppress(TimeoutError):
            await asyncio.wait_for(self._until(is_enough), seconds)
        self._ends = True
        await asyncio.gather(*tasks)
        if act:
            await act

    def _note(self, entry: Entry) -> None:
        self.entries.append(entry)
        if entry.status == 200:
            self.served += 1
            self._served_s = entry.ended_s
        self._answered.set()

    async def _caller(self, number: int) -> None:
        relay = self.relays[number % len(self.relays)]
        connection = Connection(port_of(self.suite, relay))
        count = 0
        while not self._ends:
            body = self.bodies[(number // len(self.relays) + count) % len(self.bodies)]
            count += 1
            entry = Entry(f"caller{number}-{count}", "", self.key["keyId"], relay, time.monotonic())
            headers = {"Authorization": f"Bearer {self.key['key']}"}
            await asyncio.wait_for(connection.ask(entry, "POST", CHAT, headers, body.request, body.leave_after), HUNG_S)
            entry.ended_s = time.monotonic()
            self._note(entry)
            if entry.status != 200:
                await asyncio.sleep(BACK_S)
        connection.close()
