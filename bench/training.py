"""What a build is trained with: the load of the tests of speed, each for some seconds, so that the compiler sees what is done often."""

from __future__ import annotations

from typing import Any

from lab import ALL_LIMITS, HOT_KEYS, Lab

SECONDS = 3.0
STREAMS, EVENTS = 300, 10  # of a second each


def run_training(lab: Lab) -> None:
    """The process that serves most is the one that `relay` names; all of them write down what they did when they end."""
    with lab.running("relay-tls"):
        _run(lab)


def _run(lab: Lab) -> None:
    relay = lab.variants["relay"]
    keys = lab.import_keys(HOT_KEYS, ALL_LIMITS, owned=True)
    own: dict[str, Any] = {"connections": 64, "seconds": SECONDS, "warmup": 1.0}
    streams = {"streams": True, "connections": STREAMS, "ramp": 1000, "warmup": 1.0, "seconds": SECONDS}
    for flags in ({}, {"rate": 3000}, {"keys": keys}):
        lab.load("unary", relay, **own, **flags)
    for variant in (lab.to_tls["relay"], lab.all_tls["relay"], *lab.translated.values()):
        lab.load("unary", variant, **own)
    for variant in (relay, *lab.translated.values()):
        lab.load("sse", variant, model=f"{variant.model}+sse-{int(EVENTS * (SECONDS + 3))}-{EVENTS}", **streams)
