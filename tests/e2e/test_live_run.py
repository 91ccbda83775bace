"""The live run (tests/live) as it is with keys, against the scripted upstreams, and as it is without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from harness.ports import PATIENCE
from harness.suite import TOP, Suite

VARIABLES = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "LIBRECHAT_URL", "LIBRECHAT_API_KEY", "LIVE_LOCAL_KEY")


@pytest.fixture(scope="module")
def upstreams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """Nothing but the scripted upstreams of a suite."""
    stack = Suite(tmp_path_factory.mktemp("upstreams"))
    for name in ("openai", "anthropic", "google", "librechat"):
        stack.processes[name].start()
    yield stack
    stack.stop()


def run_live(tmp: object, **variables: str) -> str:
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES and not name.startswith(("LIVE_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-rs", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", "tests/pytest.ini", "--rootdir", "tests"]
    command += ["--basetemp", str(tmp), "tests/live"]
    done = subprocess.run(command, cwd=TOP, env={**env, **variables}, capture_output=True, text=True, timeout=280 * PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(300 * PATIENCE)
def test_with_keys_every_provider_is_asked(upstreams: Suite, tmp_path: object) -> None:
    said = run_live(
        tmp_path,
        OPENAI_API_KEY="sk-live", LIVE_OPENAI_URL=f"{upstreams.upstream_url}/v1",
        ANTHROPIC_API_KEY="sk-ant-live", LIVE_ANTHROPIC_URL=upstreams.url_of("anthropic"),
        GOOGLE_API_KEY="AIza-live", LIVE_GOOGLE_URL=upstreams.url_of("google"),
        LIBRECHAT_URL=upstreams.librechat_url, LIBRECHAT_API_KEY="sk-librechat-live", LIVE_LIBRECHAT_MODEL="agent_echo",
        LIVE_LOCAL_URL=upstreams.upstream_url, LIVE_LOCAL_MODEL="llama-3", LIVE_LOCAL_KEY="sk-local-live",
    )
    assert "skipped" not in said and " passed" in said, said


def test_without_keys_each_is_skipped_by_its_name(tmp_path: object) -> None:
    said = run_live(tmp_path)
    assert " passed" not in said, said
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "LIBRECHAT_URL", "LIVE_LOCAL_URL"):
        assert name in said
