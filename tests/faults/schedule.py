"""When which process is killed or stalled, where, and for how long: all of it known before the first request, from the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

INTERVAL_S = (0.5, 5.0)
DOWN_S = (0.05, 4.0)
UP_S = (0.5, 8.0)  # at least this long until the next outage of the same: less than some need to start, too
SEVERAL = 0.2  # how often two go at once
AGAIN = 0.25  # how often one is killed once more in the middle of its start,
AGAIN_S = (0.0, 0.6)  # so long after it began
STALL = 0.2  # how often one that may be is stalled instead
STALLED_S = (0.5, 20.0)
AMBUSH = 0.3  # how often one that has fault points is killed at one of them
AMBUSHED_S = (2.0, 8.0)
NTH = (1, 4)  # time that it comes by
# Where a service is about to do what must not be done twice, or has just done it (libs/core/fault.h).
POINTS = {
    "relay": ("event.opened", "event.done", "spool.commit", "spool.committed", "slot.freed", "frame.sent", "ack.taken"),
    "usage": (
        "claim.made_up", "claim.answered", "rows.written", "keys.written", "hours.written", "finish.begun",
        "finish.answered",
        "resume.read", "resume.confirmed", "day.read", "hours.read", "day.written",
    ),
}


class How(Enum):
    KILL = "from kill -9 to the new start"
    STALL = "from SIGSTOP to SIGCONT"
    AMBUSH = "killed and started, to be killed at a fault point; to the next start"


@dataclass(frozen=True)
class Outage:
    """Seconds from the beginning of the run."""

    name: str
    at_s: float
    down_s: float
    how: How = How.KILL
    fault: str = ""  # of an ambush, as GW_FAULT has it

    @property
    def end_s(self) -> float:
        return self.at_s + self.down_s


def plan(seed: int, seconds: float, names: Sequence[str], stalled: Sequence[str] = ()) -> list[Outage]:
    """`names`: what is killed; `stalled`: which of them wake up, at times, as if nothing had happened."""
    dice = random.Random(seed)
    outages: list[Outage] = []
    usable_from = dict.fromkeys(names, 0.0)
    at_s = dice.uniform(*INTERVAL_S)
    while at_s < seconds:
        running = [name for name in names if usable_from[name] <= at_s]
        count = 2 if dice.random() < SEVERAL else 1
        for name in dice.sample(running, min(count, len(running))):
            outages += outages_of(dice, name, at_s, name in stalled)
            usable_from[name] = outages[-1].end_s + dice.uniform(*UP_S)
        at_s += dice.uniform(*INTERVAL_S)
    return outages


def outages_of(dice: random.Random, name: str, at_s: float, may_stall: bool) -> Iterator[Outage]:
    points = POINTS.get(name.removesuffix("-2"))
    if may_stall and dice.random() < STALL:
        yield Outage(name, at_s, dice.uniform(*STALLED_S), How.STALL)
        return
    if points and dice.random() < AMBUSH:
        yield Outage(name, at_s, dice.uniform(*AMBUSHED_S), How.AMBUSH, f"{dice.choice(points)}:kill:{dice.randint(*NTH)}")
        return
    outage = Outage(name, at_s, dice.uniform(*DOWN_S))
    yield outage
    if dice.random() < AGAIN:
        yield Outage(name, outage.end_s + dice.uniform(*AGAIN_S), dice.uniform(*DOWN_S))
