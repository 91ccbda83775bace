"""The documentation says what the code says."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.rpc import schema
from harness.suite import SERVICES, TOP

BIN = Path(os.environ.get("BUILD_DIR", TOP / "build" / "dev")) / "bin"
API_PAGES = ("api-auth.md", "api-relay.md", "api-usage.md")
HAND_WRITTEN = [TOP / "README.md", TOP / "CONTRIBUTING.md", *sorted((TOP / "docs").glob("*.md"))]


def read(path: str) -> str:
    return (TOP / path).read_text()


@pytest.mark.parametrize("service", SERVICES)
def test_the_generated_page_is_what_the_binary_prints(service: str) -> None:
    command = [str(BIN / service), "--print-docs"]
    printed = subprocess.run(command, env={}, check=True, capture_output=True, text=True, timeout=120).stdout
    assert read(f"docs/generated/{service}.md") == printed, "run ./dev docs"


def test_the_api_pages_are_what_the_protos_say(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(TOP / "scripts/api_docs.py"), str(tmp_path)], check=True, timeout=120)
    pages = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert pages == {name: read(f"docs/generated/{name}") for name in API_PAGES}, "run ./dev docs"


def test_every_rpc_and_every_link_of_the_api_pages_leads_somewhere() -> None:
    text = {name: read(f"docs/generated/{name}") for name in API_PAGES}
    anchors = {name: {heading.lower().replace(".", "") for heading in re.findall(r"^##+ ([\w.]+)$", page, re.M)} for name, page in text.items()}
    broken = [
        link for name, page in text.items() for link in re.findall(r"\]\(([\w-]*(?:\.md)?#\w+)\)", page)
        if link.partition("#")[2] not in anchors[link.partition("#")[0] or name]
    ]
    assert broken == []
    for method in schema().methods():
        page = text[f"api-{method.full_name.split('.')[1]}.md"]
        row = re.search(rf"^\| `{method.name}` \|.* \| (.*) \| (.*) \|$", page, re.M)
        assert row and all(row.groups()), f"{method.full_name}: who may call it, and what it does"


def test_no_generated_page_is_of_nothing() -> None:
    pages = {f"{service}.md" for service in SERVICES} | set(API_PAGES)
    assert {path.name for path in (TOP / "docs/generated").iterdir()} == pages


def test_the_settings_file_that_is_shown_is_taken(tmp_path: Path) -> None:
    [shown] = re.findall(r"^```yaml\n(.*?)^```$", read("docs/configure.md"), re.M | re.S)
    file = tmp_path / "auth.yaml"
    file.write_text(shown)
    command = [str(BIN / "auth"), "--config", str(file), "--print-config", "--log-level", "error"]
    done = subprocess.run(command, env={"AUTH_GRPC_LISTEN": "127.0.0.1:1"}, capture_output=True, text=True, timeout=120)
    printed = done.stdout + done.stderr
    assert "mongodb://mongo:27017/" in printed, "the file beats the default"
    assert "127.0.0.1:1" in printed and "0.0.0.0:9101" not in printed, "the environment beats the file"
    assert re.search(r"log.level\W+error", printed) and not re.search(r"log.level\W+warn", printed), "a flag beats them"


def test_every_metric_is_explained() -> None:
    page = read("docs/operate.md")
    tables = [*(TOP / "services").glob("*/*_metrics.def"), TOP / "libs/rpc/metrics.def"]
    names = {name for table in tables for name in re.findall(r"^METRIC\(\w+, (\w+)", table.read_text(), re.M)}
    assert names, "no metric was found"
    assert {name for name in names if f"`{name}`" not in page} == set()
    assert set(re.findall(r"`((?:auth|relay|usage|admin_gw|rpc)_\w+_(?:total|seconds|events|bytes))`", page)) - names == set()


def test_every_route_of_the_admin_rest_is_listed() -> None:
    page = read("docs/api.md")
    protos = "".join(path.read_text() for path in (TOP / "proto/apirelay").rglob("*.proto"))
    routes = set(re.findall(r'\b(?:get|post|put|patch|delete): "([^"]+)"', protos))
    assert routes, "no route was found"
    camel = {re.sub(r"_(\w)", lambda m: m[1].upper(), route) for route in routes}
    assert {route for route in camel if f"`{route}`" not in page} == set()


def test_every_error_code_that_the_client_api_lists_exists() -> None:
    page = read("docs/api.md")
    client_api = page[page.index("## Client API") : page.index("## Admin REST")]
    rows = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", client_api, re.M)
    table = re.findall(r'^GW_ERR\(\w+, *\w+, *(\d+), *"\w+", *"(\w+)"', read("libs/core/err.def"), re.M)
    listed = {(status, code) for status, cell in rows for code in re.findall(r"`(\w+)`", cell)}
    assert len(listed) > 20
    assert listed - set(table) == set()


def test_every_link_of_a_page_leads_somewhere() -> None:
    def anchors(page: Path) -> set[str]:
        headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
        return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    broken = []
    for page in HAND_WRITTEN:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_every_file_that_a_page_names_exists() -> None:
    tracked = subprocess.run(["git", "-C", str(TOP), "ls-files"], capture_output=True, text=True, timeout=120).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    missing = []
    for page in HAND_WRITTEN:
        for name in re.findall(r"`([\w./*-]+\.(?:c|h|def|proto|py|sh|md))`", page.read_text()):
            if not any(fnmatch.fnmatch(f"/{path}", f"*/{name}") for path in tracked):
                missing.append(f"{page.name}: {name}")
    assert missing == []
