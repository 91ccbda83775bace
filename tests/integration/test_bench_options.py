"""./dev bench says what is wrong with what it is asked for before it builds or measures anything."""

from __future__ import annotations

import subprocess
import sys

import pytest
from harness.suite import TOP


def ask(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-S", str(TOP / "bench" / "options.py"), *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nonsense"], "no test is called nonsense"),
        (["unary", "--rounds", "0"], "'0' is no whole number from 1 on"),
        (["--rounds", "2.5"], "'2.5' is no whole number from 1 on"),
        (["--seconds", "0"], "'0' is no time"),
        (["--seconds", "nan"], "'nan' is no time"),
        (["--soak-seconds", "inf"], "'inf' is no time"),
        (["--soak-seconds=-5"], "'-5' is no time"),
        (["unary", "--smoke"], "different things to do"),
        (["--smoke", "--table", __file__], "different things to do"),
        (["--table", "/nowhere/at-all.jsonl"], "there is no file /nowhere/at-all.jsonl"),
        (["--quickly"], "unrecognized arguments: --quickly"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_measured_is_refused_with_its_reason(arguments: list[str], why: str) -> None:
    asked = ask(*arguments)
    assert asked.returncode == 2 and why in asked.stderr and not asked.stdout, asked


def test_help_names_every_test_and_needs_nothing_installed() -> None:
    told = ask("--help")
    assert told.returncode == 0
    for name in ("unary", "sse9000", "soak", "stages", "--smoke", "--rounds"):
        assert name in told.stdout
