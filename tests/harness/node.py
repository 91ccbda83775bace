"""Programs of tests/clients that are made with the official SDKs for Node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.certificates import authority
from harness.ports import PATIENCE
from harness.suite import TOP, Suite

PACKAGES = TOP / "build/node"


def require_node(package: str) -> None:
    """Skips where the machine has no Node, or `./dev test` could not install the SDK."""
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    if not (PACKAGES / "node_modules" / package).is_dir():
        pytest.skip(f"{package} for Node is not in build/node: ./dev test installs it where npm and node are new enough")


def environment(suite: Suite, key: str, trusted: bool = True) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name.lower() not in ("http_proxy", "https_proxy", "node_extra_ca_certs")}
    if suite.tls and trusted:
        env["NODE_EXTRA_CA_CERTS"] = str(authority().file)
    return {**env, "RELAY_URL": suite.relay_url, "API_KEY": key, "NODE_CLIENT": str(PACKAGES)}


def run_node(script: Path, suite: Suite, key: str, *scenarios: str, trusted: bool = True) -> subprocess.CompletedProcess[str]:
    env = environment(suite, key, trusted)
    return subprocess.run(["node", str(script), *scenarios], env=env, capture_output=True, text=True, timeout=120 * PATIENCE)


def results_of(script: Path, suite: Suite, key: str, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """What each scenario of the script printed, all in one process."""
    names = [line.split()[1].partition("(")[0] for line in script.read_text().splitlines() if line.startswith("  async ")]
    done = run_node(script, suite, key, *(name for name in names if name not in without))
    assert done.returncode == 0, done.stdout + done.stderr
    return {line["name"]: line["result"] for line in map(json.loads, done.stdout.splitlines())}
