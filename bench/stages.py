"""
./dev bench stages: what each part of a request costs, and each event of a stream, also of one that is translated, in instructions of
the relay's loop thread, by callgrind.

Instructions do not depend on what else the machine does, so they show what an optimisation saves where time is noise. What
the kernel does is not in them.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab import Lab, Variant

SECONDS = 10
CONNECTIONS = 8
STREAMS, EVENTS_PER_S, EVENTS = 20, 20, 120  # of each stream
# Functions by the stage they are, in the order of a request; "of which" lines are parts of the one above.
PARTS = (
    ("head, body: parse", "request_read_head"),
    ("  of which the stages begun by it", "on_head"),
    ("AUTHENTICATE", "authenticate_enter"),
    ("AUTHORIZE", "authorize_enter"),
    ("ADMIT", "admit_enter"),
    ("FORWARD", "forward_enter"),
    ("  of which the event, OPEN", "relay_request_open_event"),
    ("  of which sending", "gw_http_send"),
    ("STREAM: tap of an answer", "usage_tap_answer"),
    ("SETTLE", "settle_enter"),
    ("RECORD", "record_enter"),
    ("  of which the event, DONE", "relay_request_write_event"),
    ("  of which the log line", "gw_log_write"),
    ("FINISH", "finish_enter"),
    ("all reads of callers (with the stages that they lead to)", "server_connection.c:on_read"),
    ("all reads of the upstream (likewise)", "client_connection.c:on_read"),
)


# The same of an event: who translates it is named after its kind.
EVENT_PARTS = (
    ("reading it, with all that follows", "client_connection.c:on_read"),
    ("  of which the adapter, with what it emits", "{kind}_on_event"),
    ("  of which writing to the caller", "gw_exchange_write"),
)


def run_stages(lab: Lab) -> None:
    relay = lab.suite.processes["relay"]
    profile = lab.folder / "callgrind"
    relay.stop()
    relay.command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", f"--callgrind-out-file={profile}", *relay.command[3:]]
    relay.start()
    lab.suite.await_ready("relay")
    variant = lab.variants["relay"]
    lab.load("unary", variant, connections=CONNECTIONS, seconds=2)
    row, costs = _profile(lab, relay.pid, "unary", variant, connections=CONNECTIONS, seconds=SECONDS)
    _show(f"instructions a request, of {row['sent']} (with every function called)", costs, PARTS, row["sent"])
    for kind, translated in {"openai": variant, **lab.translated}.items():
        before = lab.upstream_stats()["chunks"]
        flags = {"connections": STREAMS, "streams": True, "model": f"{translated.model}+sse-{EVENTS}-{EVENTS_PER_S}"}
        _, costs = _profile(lab, relay.pid, "sse", translated, seconds=EVENTS / EVENTS_PER_S / 2, warmup=0, **flags)
        events = lab.upstream_stats()["chunks"] - before
        parts = [(title, function.format(kind=kind)) for title, function in EVENT_PARTS]
        _show(f"instructions an event of {kind}, of {events} (their streams' beginnings and ends with them)", costs, parts, events)


def _show(title: str, costs: dict[str, int], parts: Iterable[tuple[str, str]], units: int) -> None:
    print(title)
    for part, function in parts:
        print(f"  {costs.get(function, 0) / units:>8.0f}  {part}")


def _profile(lab: Lab, pid: int, kind: str, variant: Variant, **flags: Any) -> tuple[dict[str, Any], dict[str, int]]:
    """The load's own figures, and instructions by function."""
    known = set(lab.folder.glob("callgrind*"))
    _control(pid, "--zero")
    _control(pid, "--instr=on")
    row = lab.load(kind, variant, **flags)
    _control(pid, "--instr=off")
    _control(pid, "--dump")
    dumps = set(lab.folder.glob("callgrind*-01")) - known
    return row, _inclusive(max(dumps, key=lambda path: path.stat().st_size))


def _control(pid: int, flag: str) -> None:
    subprocess.run(["callgrind_control", flag, str(pid)], check=True, capture_output=True)


def _inclusive(dump: Path) -> dict[str, int]:
    """Instructions by function, those of what it calls included; also as "file.c:function"."""
    text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", str(dump)], check=True, capture_output=True, text=True).stdout
    costs: dict[str, int] = defaultdict(int)
    for line in text.splitlines():
        found = re.match(r"\s*([\d,]+) \(.*?\)\s+(\S*?)([^/:\s]+):(\w+)", line)
        if found:
            cost = int(found[1].replace(",", ""))
            for name in (found[4], f"{found[3]}:{found[4]}"):
                costs[name] = max(costs[name], cost)
    return costs
