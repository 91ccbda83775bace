"""The examples of README.md and docs/ that call the suite with curl or an SDK, run as they stand there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.certificates import authority
from harness.snippets import environment, run, shell
from harness.suite import TOP, Suite

PAGES = ("README.md", "docs/api.md", "docs/configure.md", "docs/signing.md")


def examples(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (TOP / page).read_text(), re.M | re.S)


CALLS = [(page, number, script) for page in PAGES for number, script in enumerate(examples(page, "sh")) if re.search(r"^curl |\(curl ", script, re.M)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """One of their own: they change what keys get, and limits."""
    s = Suite(tmp_path_factory.mktemp("suite")).start()
    yield s
    s.stop()


@pytest.fixture(scope="module")
def api_key(own: Suite) -> str:
    """Made before the examples change what keys get."""
    return str(own.make_key()["key"])


@pytest.fixture
def env(own: Suite, api_key: str) -> dict[str, str]:
    """What the pages say to have at hand: what `./dev up` writes, and of a key that was made its id and etag."""
    key = own.make_key(name="of the examples")
    ca = {name: str(authority().file) for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE") if own.tls}
    admin = {"ADMIN_USER": "admin", "ADMIN_PASSWORD": own.owner_password, "ID": key["id"], "ETAG": key["etag"]}
    admin["LIBRECHAT_KEY"] = "sk-" + 32 * "ab"
    headers = {"A": f"Authorization: Bearer {own.admin_key}", "J": "Content-Type: application/json"}
    return environment(own, api_key, **admin, **headers, **ca)


@pytest.fixture
def folder(tmp_path: Path, env: dict[str, str]) -> Path:
    """With .run/env, and a curl that fails when it is refused."""
    (tmp_path / ".run").mkdir()
    names = ("RELAY_URL", "ADMIN_URL", "API_KEY", "ADMIN_KEY")
    (tmp_path / ".run/env").write_text("".join(f"{name}={env[name]}\n" for name in names))
    (tmp_path / "bin").mkdir()
    curl = tmp_path / "bin/curl"
    curl.write_text(f'#!/bin/sh\nexec {shutil.which("curl")} --fail-with-body "$@"\n')
    curl.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(("page", "number", "script"), CALLS, ids=[f"{page}-{number}" for page, number, _ in CALLS])
def test_the_calls_that_a_page_shows_are_answered(folder: Path, env: dict[str, str], page: str, number: int, script: str) -> None:
    shell(script, folder, {**env, "PATH": f"{folder / 'bin'}:{env['PATH']}"})


def test_the_sdk_of_the_readme_gets_its_answers(folder: Path, env: dict[str, str]) -> None:
    [script] = examples("README.md", "python")
    said = run(["python3", "-c", script], folder, env)
    assert "Say hello" in said and "Hello, agent" in said
