"""When which process is killed, and for how long: all of it known before the first request, from the seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

INTERVAL_S = (0.5, 5.0)
DOWN_S = (0.05, 4.0)
UP_S = (0.5, 8.0)  # at least this long between two kills of the same: less than some need to start, too
SEVERAL = 0.2  # how often two go at once


@dataclass(frozen=True)
class Outage:
    """From kill -9 to the new start; seconds from the beginning of the run."""

    name: str
    at_s: float
    down_s: float


def plan(seed: int, seconds: float, names: Sequence[str]) -> list[Outage]:
    dice = random.Random(seed)
    outages: list[Outage] = []
    killable_from = dict.fromkeys(names, 0.0)
    at_s = dice.uniform(*INTERVAL_S)
    while at_s < seconds:
        running = [name for name in names if killable_from[name] <= at_s]
        count = 2 if dice.random() < SEVERAL else 1
        for name in dice.sample(running, min(count, len(running))):
            outage = Outage(name, at_s, dice.uniform(*DOWN_S))
            outages.append(outage)
            killable_from[name] = at_s + outage.down_s + dice.uniform(*UP_S)
        at_s += dice.uniform(*INTERVAL_S)
    return outages
