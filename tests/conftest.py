from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.suite import SERVICES, Suite  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folder says the kind."""
    for item in items:
        for kind in ("integration", "e2e"):
            if kind in Path(item.path).parts:
                item.add_marker(kind)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """What the services said belongs to a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for suite in (value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Suite)):
            for name in SERVICES:
                report.sections.append((f"log of {name}", suite.processes[name].tail(25)))


def _assert_all_ended_well(statuses: dict[str, int]) -> None:
    failed = {name: status for name, status in statuses.items() if name in SERVICES and status}
    assert not failed, f"services have to end with status 0: {failed}"


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """One suite for all tests that leave it as they found it. Every service has to end with status 0."""
    s = Suite(tmp_path_factory.mktemp("suite")).start()
    yield s
    _assert_all_ended_well(s.stop())


@pytest.fixture(scope="session")
def shared_key(suite: Suite) -> str:
    """An API key that may do everything, for tests that count nothing by key."""
    return str(suite.make_key(name="shared")["key"])


@pytest.fixture
def client(suite: Suite, shared_key: str) -> Iterator[openai.OpenAI]:
    """The official SDK as an app has it, but for its own retries: they would hide errors."""
    with openai.OpenAI(base_url=f"{suite.relay_url}/v1", api_key=shared_key, max_retries=0, timeout=30) as sdk:
        yield sdk
