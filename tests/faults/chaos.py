"""Carries a plan of outages out, by the clock."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faults.schedule import How, Outage
from harness.process import Process


@dataclass(frozen=True)
class Kill:
    """Between the two, of the monotonic clock; the first is read before the signal."""

    name: str
    at_s: float
    until_s: float


class Chaos:
    def __init__(self, processes: Mapping[str, Process], outages: Sequence[Outage]) -> None:
        self._processes = processes
        self._outages = outages
        self.kills: list[Kill] = []
        self.stalls: list[str] = []
        self._ambushed_s: dict[str, float] = {}
        self.ambushes = self.caught = 0  # of those at a fault point
        self.deaths: list[str] = []  # of those that nobody killed

    async def run(self) -> None:
        """Returns when the last outage is over: everything has been started again, not more."""
        started_s = time.monotonic()
        steps = [(outage.at_s, self._begin, outage) for outage in self._outages]
        steps += [(outage.end_s, self._end, outage) for outage in self._outages]
        try:
            for at_s, act, outage in sorted(steps, key=lambda step: step[0]):
                await asyncio.sleep(max(0.0, started_s + at_s - time.monotonic()))
                await asyncio.to_thread(act, outage)
        finally:
            for process in self._processes.values():
                self._signal(process, signal.SIGCONT)

    def _begin(self, outage: Outage) -> None:
        process = self._processes[outage.name]
        self.note_death(process)
        if outage.how == How.STALL:
            self.stalls.append(outage.name)
            self._signal(process, signal.SIGSTOP)
            return
        self._kill(process)
        if outage.how == How.AMBUSH:
            process.env["GW_FAULT"] = outage.fault
            process.start()
            del process.env["GW_FAULT"]
            self._ambushed_s[process.name] = time.monotonic()

    def _end(self, outage: Outage) -> None:
        process = self._processes[outage.name]
        if outage.how == How.STALL:
            self._signal(process, signal.SIGCONT)
            return
        if outage.how == How.AMBUSH:
            self._end_ambush(process)
        process.start()

    def _end_ambush(self, process: Process) -> None:
        self.ambushes += 1
        if process.is_running:
            self._kill(process)
        elif process.wait() == -signal.SIGKILL:
            self.caught += 1
            self.kills.append(Kill(process.name, self._ambushed_s[process.name], time.monotonic()))
        else:
            self.note_death(process)

    def _kill(self, process: Process) -> None:
        at_s = time.monotonic()
        process.kill()
        self.kills.append(Kill(process.name, at_s, time.monotonic()))

    @staticmethod
    def _signal(process: Process, number: int) -> None:
        if process.is_running:
            process.send(number)

    def note_death(self, process: Process) -> None:
        """A process that should be running and is not has ended by itself, whatever was away."""
        if not process.is_running:
            self.deaths.append(f"{process.name} ended by itself; the end of its log:\n{process.tail(8)}")

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Kills and stalls by service."""
        kills, stalls = (Counter(name.removesuffix("-2") for name in names) for names in ([k.name for k in self.kills], self.stalls))
        return kills, stalls
