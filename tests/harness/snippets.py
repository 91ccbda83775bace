"""The examples of a page, as they stand there, for tests that run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from harness.certificates import authority
from harness.ports import PATIENCE
from harness.suite import TOP, Suite

GO_TOOLS = TOP / "build/tools"


def section(page: str, heading: str) -> str:
    """What stands under "## heading", up to the next of its kind."""
    text = (TOP / page).read_text()
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, f"{page} has no section {heading}"
    return found[1]


def blocks(page: str, heading: str, language: str) -> list[str]:
    """The code blocks of a language in one section, in order."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", section(page, heading), re.M | re.S)
    assert found, f"{page}, {heading}: no {language}"
    return found


def tools() -> dict[str, str]:
    """The environment of a command: python3 is the one of the tests, build/tools has what ./dev made of Go."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GRPC_", "PYTHON"))}
    return {**env, "PATH": f"{Path(sys.executable).parent}:{GO_TOOLS}:{env['PATH']}"}


def environment(suite: Suite, api_key: str, **more: str) -> dict[str, str]:
    """That, and what `./dev up` writes into .run/env, of this suite."""
    targets = {f"{service.upper()}_GRPC": suite.grpc_target(service) for service in ("auth", "relay", "usage")}
    urls = {"RELAY_URL": suite.relay_url, "ADMIN_URL": suite.admin_url}
    ca = str(authority().file) if suite.tls else ""
    return {**tools(), **targets, **urls, "API_KEY": api_key, "ADMIN_KEY": suite.admin_key, "CA_FILE": ca, **more}


def run(command: list[str], folder: Path, env: dict[str, str], seconds: float = 30) -> str:
    """What a command printed; when it fails, that is the error."""
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=seconds * PATIENCE)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def shell(script: str, folder: Path, env: dict[str, str], seconds: float = 30) -> str:
    return run(["bash", "-euo", "pipefail", "-c", script], folder, env, seconds)
