"""What ./dev bench can be asked for. It needs nothing beside Python: what is wrong is said before anything is built."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
SPEED = (
    "unary", "large", "tls", "curl", "keys", "limits", "scale", "translate", "churn", "sse", "sse9000", "sse-tls", "bad", "idle",
    "recorder", "ingest", "overview", "rpc", "fresh",
)  # fmt: skip
BESIDE = ("soak", "stages", "training")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is no time in seconds from 0.1 on")
    return seconds


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="./dev bench", description="The relay beside a plain nginx proxy, in the same run. docs/performance.md says what is measured and how.")
    p.add_argument("names", nargs="*", metavar="name", help=f"what to run: {', '.join(SPEED + BESIDE)}; all of speed when none is given")
    p.add_argument("--smoke", action="store_true", help="a minute: every variant answers and every counter adds up; no figures")
    p.add_argument("--table", type=Path, metavar="FILE", help="show the table of an earlier run, and measure nothing")
    p.add_argument("--rounds", type=_count, default=5)
    p.add_argument("--seconds", type=_seconds, default=4.0, help="that count, of each measurement")
    p.add_argument("--soak-seconds", type=_seconds, default=300.0)
    p.add_argument("--accept-busy", action="store_true", help="do not repeat what was measured while the machine was busy")
    p.add_argument("--build", type=Path, default=TOP / "build" / "trained", help=argparse.SUPPRESS)
    p.add_argument("--nginx", default="nginx", help=argparse.SUPPRESS)
    options = p.parse_args(argv)
    unknown = [name for name in options.names if name not in SPEED + BESIDE]
    if unknown:
        p.error(f"no test is called {', '.join(unknown)}")
    if options.smoke + bool(options.table) + bool(options.names) > 1:
        p.error("names, --smoke and --table are three different things to do")
    options.names = list(dict.fromkeys(options.names))
    if options.table and not options.table.is_file():
        p.error(f"there is no file {options.table}")
    return options


if __name__ == "__main__":
    arguments()
