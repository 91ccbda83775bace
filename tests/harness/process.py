"""One child process: started with exactly the environment given, logged to a file, ended without leaving anything behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from harness.ports import eventually

STOP_SECONDS = 20


class Process:
    def __init__(self, name: str, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.name = name
        self.command = command
        self.log = log
        sanitizers = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}
        self.env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **sanitizers, **(env or {})}
        self._popen: subprocess.Popen[bytes] | None = None
        self._is_told_to_end = False

    def start(self) -> None:
        assert not self.is_running, f"{self.name} runs already"
        self._is_told_to_end = False
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def is_running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def has_ended(self) -> bool:
        """By itself: nobody told it to."""
        return self._popen is not None and not self._is_told_to_end and not self.is_running

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def send(self, number: int) -> None:
        """A signal; SIGSTOP has taken effect then."""
        os.kill(self.pid, number)
        if number == signal.SIGSTOP:
            eventually(lambda: self.is_frozen, f"{self.name} stands still")

    @property
    def is_frozen(self) -> bool:
        """Stopped by a signal (proc_pid_stat(5))."""
        return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"

    def kill(self) -> None:
        """kill -9: no chance to clean up."""
        self._is_told_to_end = True
        if self.is_running:
            os.killpg(self.pid, signal.SIGKILL)
            assert self._popen is not None
            self._popen.wait(STOP_SECONDS)

    def stop(self) -> int:
        """SIGTERM; returns the exit status. A process that does not end is killed and reported."""
        if self._popen is None:
            return 0
        self._is_told_to_end = True
        if self.is_running:
            os.killpg(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit status of a process that was told to end. One that does not is killed and reported."""
        assert self._popen is not None
        try:
            return self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end {STOP_SECONDS} s after SIGTERM; log: {self.tail()}") from None

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.text().splitlines()[-lines:])

    def events(self, action: str) -> list[dict[str, Any]]:
        """The lines of the log with this `event.action`, oldest first."""
        lines = (line for line in self.text().splitlines() if f'"event.action":"{action}"' in line)
        return [json.loads(line) for line in lines]
