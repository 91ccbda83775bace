"""Fixtures shared by all tests that run the real binaries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.suite import Suite  # noqa: E402


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """One suite for all tests that leave it as they found it. Every service has to end with status 0."""
    s = Suite(tmp_path_factory.mktemp("suite")).start()
    yield s
    statuses = s.stop()
    failed = {name: status for name, status in statuses.items() if name in ("auth", "usage", "relay", "admin-gw") and status}
    assert not failed, failed


@pytest.fixture
def own_suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """A suite for one test that breaks things."""
    s = Suite(tmp_path_factory.mktemp("own")).start()
    yield s
    s.stop()
