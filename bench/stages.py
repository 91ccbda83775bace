"""
./dev bench stages: what each part of a request costs, in instructions of the relay's loop thread, by callgrind.

Instructions do not depend on what else the machine does, so they show what an optimisation saves where time is noise. What
the kernel does is not in them.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path

from lab import Lab

SECONDS = 10
CONNECTIONS = 8
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


def run_stages(lab: Lab) -> None:
    relay = lab.suite.processes["relay"]
    profile = lab.folder / "callgrind"
    relay.stop()
    relay.command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", f"--callgrind-out-file={profile}", *relay.command[3:]]
    relay.start()
    lab.suite.await_ready("relay")
    variant = lab.variants["relay"]
    lab.load("unary", variant, connections=CONNECTIONS, seconds=2)
    _control(relay.pid, "--instr=on")
    requests = lab.load("unary", variant, connections=CONNECTIONS, seconds=SECONDS)["sent"]
    _control(relay.pid, "--instr=off")
    _control(relay.pid, "--dump")
    costs = _inclusive(max(lab.folder.glob("callgrind*-01"), key=lambda path: path.stat().st_size))
    print(f"instructions a request, of {requests} (with every function called)")
    for title, function in PARTS:
        print(f"  {costs.get(function, 0) / requests:>8.0f}  {title}")


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
