"""Carries a plan of outages out, by the clock."""

from __future__ import annotations

import asyncio
import signal
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
        self.stalls: list[str] = []
        self.deaths: list[str] = []  # of those that nobody killed

    async def run(self) -> None:
        """Returns when the last outage is over: everything has been started again, not more."""
        started_s = time.monotonic()
        steps: list[tuple[float, Callable[[Process], None], Process]] = []
        for outage in self._outages:
            process = self._processes[outage.name]
            steps.append((outage.at_s, self._stall if outage.is_stall else self._kill, process))
            steps.append((outage.end_s, self._wake if outage.is_stall else Process.start, process))
        try:
            for at_s, act, process in sorted(steps, key=lambda step: step[0]):
                await asyncio.sleep(max(0.0, started_s + at_s - time.monotonic()))
                await asyncio.to_thread(act, process)
        finally:
            for process in self._processes.values():
                self._wake(process)

    def _kill(self, process: Process) -> None:
        self.note_death(process)
        self.kills.append(Kill(process.name, time.monotonic()))
        process.kill()

    def _stall(self, process: Process) -> None:
        self.note_death(process)
        self.stalls.append(process.name)
        if process.is_running:
            process.send(signal.SIGSTOP)

    @staticmethod
    def _wake(process: Process) -> None:
        if process.is_running:
            process.send(signal.SIGCONT)

    def note_death(self, process: Process) -> None:
        """A process that should be running and is not has ended by itself, whatever was away."""
        if not process.is_running:
            self.deaths.append(f"{process.name} ended by itself; the end of its log:\n{process.tail(8)}")

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Kills and stalls by service."""
        kills, stalls = (Counter(name.removesuffix("-2") for name in names) for names in ([k.name for k in self.kills], self.stalls))
        return kills, stalls
