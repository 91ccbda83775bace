"""Carries a plan of outages out, by the clock."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from faults.schedule import Outage
from harness.process import Process


@dataclass(frozen=True)
class Kill:
    name: str
    at_s: float  # of the monotonic clock, before the signal


class Chaos:
    def __init__(self, processes: Mapping[str, Process], outages: Sequence[Outage]) -> None:
        self._processes = processes
        self._outages = outages
        self.kills: list[Kill] = []
        self.deaths: list[str] = []  # of those that nobody killed

    async def run(self) -> None:
        """Returns when the last outage is over: everything has been started again, not more."""
        started_s = time.monotonic()
        steps: list[tuple[float, Callable[[Process], None], str]] = []
        for outage in self._outages:
            steps.append((outage.at_s, self._kill, outage.name))
            steps.append((outage.at_s + outage.down_s, self._start, outage.name))
        for at_s, act, name in sorted(steps, key=lambda step: step[0]):
            await asyncio.sleep(max(0.0, started_s + at_s - time.monotonic()))
            await asyncio.to_thread(act, self._processes[name])

    def _kill(self, process: Process) -> None:
        self.note_death(process)
        self.kills.append(Kill(process.name, time.monotonic()))
        process.kill()

    @staticmethod
    def _start(process: Process) -> None:
        process.start()

    def note_death(self, process: Process) -> None:
        """A process that should be running and is not has ended by itself, whatever was away."""
        if not process.is_running:
            self.deaths.append(f"{process.name} ended by itself; the end of its log:\n{process.tail(8)}")

    def counts(self) -> Counter[str]:
        return Counter(kill.name.removesuffix("-2") for kill in self.kills)
