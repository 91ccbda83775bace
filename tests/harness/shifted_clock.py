"""
Processes whose wall clock is wrong by as much as a test says.

Only what asks for the time: a thread that waits until a time of the wall clock, as those of gRPC may, waits by the true one. So
a service can be given a few seconds more, and nothing else; a Redis any time.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness.process import Process

SOURCE = Path(__file__).with_name("shifted_clock.c")


class ShiftedClock:
    def __init__(self, folder: Path) -> None:
        self._library = folder / "shifted_clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(SOURCE)], check=True)

    def give(self, process: Process, shift_ms: int) -> None:
        """From its next start on."""
        process.env |= {"LD_PRELOAD": str(self._library), "CLOCK_SHIFT_MS": str(shift_ms)}
        said = process.env.get("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", ""))
        process.env["ASAN_OPTIONS"] = ":".join(filter(None, (said, "verify_asan_link_order=0")))  # a sanitizer wants to be first
