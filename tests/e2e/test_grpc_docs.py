"""docs/grpc.md, run as it stands there: what an internal team copies has to work, plain and over TLS."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.certificates import authority, self_signed
from harness.rpc import schema
from harness.snippets import GO_TOOLS, blocks, environment, run, shell, tools
from harness.suite import TOP, Suite

PAGE = "docs/grpc.md"
ECHO = "Echo: Say hello"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our protos, as a team has it."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "proto").symlink_to(TOP / "proto")
    return folder


def said(text: str) -> dict[str, list[str]]:
    """The rest of each printed line, by its first word."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(rest)
    return found


def assert_billed(suite: Suite, cost_line: str) -> None:
    cost, _, request_id = cost_line.split()
    assert suite.row(request_id)["usage"]["costNanoUsd"] == int(cost) > 0


# ---- Python ----


@pytest.fixture(scope="module")
def python_client(checkout: Path) -> Path:
    """The stubs, and all blocks of the section as one script."""
    for script in blocks(PAGE, "Python", "sh"):
        shell(script, checkout, tools())
    (checkout / "client.py").write_text("\n".join(blocks(PAGE, "Python", "python")))
    return checkout / "client.py"


def run_python(suite: Suite, client: Path, api_key: str, **more: str) -> dict[str, list[str]]:
    return said(run(["python3", "-W", "error", str(client)], client.parent, environment(suite, api_key, **more)))


def test_the_python_client_does_what_it_says(suite: Suite, python_client: Path) -> None:
    key = suite.make_key()
    told = run_python(suite, python_client, key["key"])
    made = suite.shown("/admin/api-keys?q=monthly reports")["apiKeys"][0]
    assert told["made"] == [made["keyId"]] and told["renamed"] == ["monthly reports"]
    assert made["permissions"]["models"] == ["gpt-4o-mini"]
    assert len(told["INVALID_ARGUMENT"]) == len(told["ABORTED"]) == len(told["PERMISSION_DENIED"]) == 1
    assert all(reason.startswith("apirelay ") for reason in told["reason"]) and len(told["reason"]) == 3
    assert [field.split()[0] for field in told["field"]] == ["name", "etag"]
    assert told["answer"] == [ECHO] and told["streamed"] == [f"{ECHO} 8 complete"]
    assert told["too"] == ["late DEADLINE_EXCEEDED"]
    assert_billed(suite, told["cost"][0])
    assert len(told["used"]) == len(told["live"]) == 1
    suite.admin("DELETE", f"/admin/api-keys/{made['id']}")


def test_the_python_client_with_a_certificate_is_still_known_by_its_key(suite: Suite, python_client: Path, tmp_path: Path) -> None:
    if not suite.tls:
        pytest.skip("certificates need a suite over TLS")
    files = {"CLIENT_CERT_FILE": tmp_path / "team.pem", "CLIENT_KEY_FILE": tmp_path / "team.key"}
    authority().issue(*files.values(), san="DNS:reports.team.example")
    told = run_python(suite, python_client, str(suite.make_key()["key"]), **{name: str(path) for name, path in files.items()})
    assert told["answer"] == [ECHO] and len(told["PERMISSION_DENIED"]) == 1


def test_the_python_client_with_a_certificate_of_a_stranger_is_not_connected(suite: Suite, python_client: Path, tmp_path: Path) -> None:
    if not suite.tls:
        pytest.skip("certificates need a suite over TLS")
    stranger = self_signed(tmp_path, "relay")
    files = {"CLIENT_CERT_FILE": tmp_path / "team.pem", "CLIENT_KEY_FILE": tmp_path / "team.key"}
    for path, pem in zip(files.values(), (stranger.cert, stranger.key)):
        path.write_bytes(pem)
    with pytest.raises(AssertionError, match="StatusCode.UNAVAILABLE"):
        run_python(suite, python_client, "lc_prod_none", **{name: str(path) for name, path in files.items()})


def test_the_page_has_repeated_only_what_may_be_repeated() -> None:
    source = "\n".join(blocks(PAGE, "Python", "python"))
    named = re.findall(r'^    \{"service": "([\w.]+)"(?:, "method": "(\w+)")?\},$', source, re.M)
    assert len(named) == 3
    for service, method in named:
        methods = [m for m in schema().methods() if m.containing_service.full_name == service and method in ("", m.name)]
        assert methods and all(m.GetOptions().idempotency_level for m in methods), (service, method)


# ---- Go ----


def go_environment(suite: Suite, api_key: str) -> dict[str, str]:
    if not shutil.which("go"):
        pytest.skip("go is not installed")
    for tool in ("protoc-gen-go", "protoc-gen-go-grpc"):
        if not (GO_TOOLS / tool).exists():
            pytest.skip(f"{tool} is not in build/tools: ./dev test installs it where Go's modules can be had")
    return environment(suite, api_key, GOFLAGS="-mod=mod -buildvcs=false")


@pytest.mark.timeout(900)
def test_the_go_client_builds_and_runs(suite: Suite, checkout: Path) -> None:
    """The first build of a machine compiles gRPC; Go keeps that."""
    env = go_environment(suite, str(suite.make_key()["key"]))
    generate, build = blocks(PAGE, "Go", "sh")[1:]
    try:
        shell(generate, checkout, env, 300)
    except AssertionError as e:
        if re.search(r"dial tcp|no such host|proxyconnect|i/o timeout", str(e)):
            pytest.skip("Go's modules cannot be had")
        raise
    (checkout / "build/go/main.go").write_text(blocks(PAGE, "Go", "go")[0])
    told = said(shell(build, checkout, env, 600))
    assert told["health"] == ["SERVING"]
    assert json.loads(told["answer"][0])["choices"][0]["message"]["content"] == ECHO
    assert told["streamed"] == ["8 complete"] and len(told["InvalidArgument"]) == 1
    assert told["reason"][0].startswith("apirelay ")
    assert_billed(suite, told["cost"][0])


# ---- C ----


def test_the_c_client_builds_and_runs(suite: Suite, checkout: Path) -> None:
    env = environment(suite, str(suite.make_key()["key"]))
    generate, build = blocks(PAGE, "C", "sh")
    shell(generate, checkout, env)
    (checkout / "build/c/chat.c").write_text(blocks(PAGE, "C", "c")[0])
    told = said(shell(build.replace("cc ", "cc -Werror ", 1), checkout, env, 120))
    assert json.loads(told["answer"][0])["choices"][0]["message"]["content"] == ECHO
    assert_billed(suite, told["cost"][0])
    refused = subprocess.run(["build/c/chat", "{}"], cwd=checkout, env=env, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 1 and refused.stderr.startswith("status 3: "), refused.stderr


# ---- grpcurl ----


def test_the_grpcurl_lines_answer(suite: Suite, tmp_path: Path) -> None:
    if not (GO_TOOLS / "grpcurl").exists():
        pytest.skip("grpcurl is not in build/tools: ./dev test installs it where Go and its modules can be had")
    text = shell(blocks(PAGE, "grpcurl", "sh")[1], tmp_path, environment(suite, str(suite.make_key()["key"])), 60)
    for expected in ("apirelay.auth.v1.ApiKeyService\n", "rpc GetApiKey (", '"status": "SERVING"', '"apiKeys": [', '"totals": {', '"chunkJson": "'):
        assert expected in text, expected
    assert text.rstrip().endswith("}") and '"outcome": "complete"' in text


def test_the_page_names_the_versions_that_are_installed() -> None:
    installed = (TOP / "scripts/install.sh").read_text()
    for package in re.findall(r"^go install (\S+)$", (TOP / PAGE).read_text(), re.M):
        assert package in installed, package
