"""TLS at the edges of real binaries: public listeners, Redis, certificates that change under load, files that are wrong."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import openai
import pytest
from harness.certificates import SERVER_NAMES, Authority
from harness.ports import eventually, free_ports
from harness.process import Process
from harness.suite import Suite

KEYS = "apirelay.auth.v1.ApiKeyService"
PARTS = ("mongo", "redis", "openai", "librechat", "auth", "relay", "admin-gw")


class Provider(BaseHTTPRequestHandler):
    """Answers every request alike, and says whom the client's certificate names."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.connection, ssl.SSLSocket)
        certificate = self.connection.getpeercert()
        name = certificate["subjectAltName"][0][1] if certificate else "nobody"
        message = {"role": "assistant", "content": f"Hello {name}"}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "secure", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        body = json.dumps({**answer, "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class TlsSuite(Suite):
    """The relay and admin-gw speak HTTPS, Redis nothing but TLS; a provider asks for the relay's certificate."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, tls=False)
        self.authority = Authority(folder / "authority")
        for name in ("relay", "admin-gw", "redis", "provider"):
            self.authority.issue(self.cert(name), self.key_file(name))
        self.authority.issue(self.cert("upstream"), self.key_file("upstream"), "DNS:relay.test")
        for setting, path in (("CA", self.authority.file), ("CERT", self.cert("upstream")), ("KEY", self.key_file("upstream"))):
            self.processes["relay"].env[f"RELAY_UPSTREAM_{setting}_FILE"] = str(path)
        self.provider = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
        asks = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.authority.file))
        asks.verify_mode = ssl.CERT_REQUIRED
        asks.load_cert_chain(self.cert("provider"), self.key_file("provider"))
        self.provider.socket = asks.wrap_socket(self.provider.socket, server_side=True)
        threading.Thread(target=self.provider.serve_forever, daemon=True).start()
        credential = "env:RELAY_CREDENTIAL_SCRIPTED"
        secure = f"https://localhost:{self.provider.server_port}/v1"
        self.write_relay_config(
            providers=[
                {"name": "scripted", "kind": "openai", "baseUrl": f"{self.upstream_url}/v1", "credential": credential},
                {"name": "secure", "kind": "openai", "baseUrl": secure, "credential": credential},
            ],
            models=[
                {"model": "gpt-*", "targets": [{"provider": "scripted"}], "listedModels": ["gpt-4o"]},
                {"model": "secure", "targets": [{"provider": "secure"}]},
            ],
        )
        for name in ("relay", "admin-gw"):
            prefix = name.upper().replace("-", "_") + "_LISTEN_TLS_"
            self.processes[name].env[prefix + "CERT_FILE"] = str(self.cert(name))
            self.processes[name].env[prefix + "KEY_FILE"] = str(self.key_file(name))
        redis = self.processes["redis"].command
        redis[redis.index("--port")] = "--tls-port"
        redis += ["--port", "0", "--tls-auth-clients", "no", "--tls-ca-cert-file", str(self.authority.file)]
        redis += ["--tls-cert-file", str(self.cert("redis")), "--tls-key-file", str(self.key_file("redis"))]
        self.processes["auth"].env["AUTH_REDIS_URL"] = f"rediss://127.0.0.1:{self.port['redis']}"
        self.processes["auth"].env["AUTH_REDIS_CA_FILE"] = str(self.authority.file)

    def cert(self, name: str) -> Path:
        return self.path(f"{name}-cert.pem")

    def key_file(self, name: str) -> Path:
        return self.path(f"{name}-key.pem")

    @property
    def relay_url(self) -> str:
        return f"https://127.0.0.1:{self.port['relay']}"

    @property
    def admin_url(self) -> str:
        return f"https://127.0.0.1:{self.port['admin']}"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsSuite]:
    suite = TlsSuite(tmp_path_factory.mktemp("tls"))
    suite.start(only=PARTS)
    yield suite
    statuses = suite.stop()
    suite.provider.shutdown()
    suite.provider.server_close()
    assert not any(statuses[name] for name in ("auth", "relay", "admin-gw"))


@pytest.fixture(scope="module")
def key(stack: TlsSuite) -> str:
    with stack.rpc("auth", stack.admin_key) as auth:
        return str(auth.call(f"{KEYS}/CreateApiKey", {"apiKey": {"name": "a key"}}).key)


def client(stack: TlsSuite) -> httpx.Client:
    return httpx.Client(verify=stack.authority.context(), timeout=30)


def serial(stack: TlsSuite, port: str) -> str:
    """Of the certificate that a new connection is shown; it must hold."""
    with socket.create_connection(("127.0.0.1", stack.port[port]), 10) as raw:
        with stack.authority.context().wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            certificate = tls.getpeercert()
    assert certificate
    return str(certificate["serialNumber"])


def test_the_official_sdk_streams_over_tls(stack: TlsSuite, key: str) -> None:
    with client(stack) as http, openai.OpenAI(base_url=f"{stack.relay_url}/v1", api_key=key, max_retries=0, http_client=http) as sdk:
        chunks = list(sdk.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        large = "word " * 200_000
        answer = sdk.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": large}])
        assert answer.choices[0].message.content


def test_a_client_that_does_not_know_the_authority_is_told_nothing(stack: TlsSuite) -> None:
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(f"{stack.relay_url}/v1/models", verify=ssl.create_default_context(), timeout=30)


def test_plain_http_is_told_to_use_https(stack: TlsSuite) -> None:
    for port in ("relay", "admin"):
        answer = httpx.get(f"http://127.0.0.1:{stack.port[port]}/", timeout=30)
        assert answer.status_code == 400 and "https://" in answer.text


def test_sessions_live_in_redis_over_tls_and_their_cookie_is_the_secure_one(stack: TlsSuite) -> None:
    with client(stack) as http:
        answer = http.post(f"{stack.admin_url}/admin/session", json={"username": "admin", "password": stack.owner_password})
        assert answer.status_code == 200, answer.text
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-session=") and "; Secure" in cookie
        token = cookie.split(";")[0]
        assert http.get(f"{stack.admin_url}/admin/session", headers={"Cookie": token}).status_code == 200


def test_a_provider_of_our_own_authority_sees_the_relays_certificate(stack: TlsSuite, key: str) -> None:
    with client(stack) as http:
        request = {"model": "secure", "messages": [{"role": "user", "content": "Who am I?"}]}
        answer = http.post(f"{stack.relay_url}/v1/chat/completions", json=request, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "Hello relay.test"


def test_a_certificate_changes_under_load_and_no_request_fails(stack: TlsSuite, key: str) -> None:
    before = serial(stack, "relay")
    over, failures, answered = threading.Event(), [], [0]

    def ask(http: httpx.Client) -> None:
        answer = http.get(f"{stack.relay_url}/v1/models", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.text
        answered[0] += 1

    def load(is_kept: bool) -> None:
        try:
            with client(stack) as kept:
                while not over.is_set():
                    if is_kept:
                        ask(kept)
                    else:
                        with client(stack) as fresh:
                            ask(fresh)
        except Exception as e:  # noqa: BLE001
            failures.append(repr(e))

    threads = [threading.Thread(target=load, args=(is_kept,)) for is_kept in (True, True, False)]
    for thread in threads:
        thread.start()
    try:
        stack.authority.issue(stack.cert("relay"), stack.key_file("relay"))
        after = eventually(lambda: serial(stack, "relay") != before and serial(stack, "relay"), "the new certificate")
        seen = answered[0]
        eventually(lambda: answered[0] > seen + 20 or failures, "requests after the change")

        # Half of a swap, and then nonsense: what is in force stays.
        refusals = stack.processes["relay"].text().count("tls_files_refused")
        stack.key_file("relay").write_text("no key at all")
        eventually(lambda: stack.processes["relay"].text().count("tls_files_refused") > refusals, "the refusal")
        assert serial(stack, "relay") == after
        assert "no key at all" not in stack.processes["relay"].text()
        stack.authority.issue(stack.cert("relay"), stack.key_file("relay"))
        eventually(lambda: serial(stack, "relay") not in (before, after), "a good one again")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failures, failures


def test_an_ops_listener_shows_the_services_own_certificate(stack: TlsSuite, tmp_path: Path) -> None:
    cert, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    stack.authority.issue(cert, key_file, f"DNS:admin-gw,{SERVER_NAMES}")
    stack.port["ops_alone"], stack.port["alone"] = free_ports(2)
    settings = {"OPS_TLS": "true", "TLS_CERT_FILE": cert, "TLS_KEY_FILE": key_file, "TLS_CA_FILE": stack.authority.file}
    addresses = {"OPS_LISTEN": f"127.0.0.1:{stack.port['ops_alone']}", "LISTEN": f"127.0.0.1:{stack.port['alone']}"}
    env = {f"ADMIN_GW_{k}": str(v) for k, v in {**settings, **addresses}.items()}
    alone = Process("alone", stack.processes["admin-gw"].command, tmp_path / "log", {**stack.processes["admin-gw"].env, **env})
    alone.start()
    try:
        with client(stack) as http:
            health = f"https://127.0.0.1:{stack.port['ops_alone']}/healthz"
            eventually(lambda: http.get(health).status_code == 200, "the ops listener")
        before = serial(stack, "ops_alone")
        stack.authority.issue(cert, key_file, f"DNS:admin-gw,{SERVER_NAMES}")
        alone.send(signal.SIGHUP)
        eventually(lambda: serial(stack, "ops_alone") != before, "the new certificate")
    finally:
        assert alone.stop() == 0


def test_a_start_with_files_that_do_not_do_says_all_that_is_wrong(stack: TlsSuite, tmp_path: Path) -> None:
    relay = stack.processes["relay"]
    cert, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    stack.authority.issue(cert, key_file)

    def start(**settings: str) -> subprocess.CompletedProcess[str]:
        names = {f"RELAY_{k.upper()}": v for k, v in settings.items()}
        places = {"RELAY_SPOOL_DIR": str(tmp_path / "spool"), "RELAY_STATE_DIR": str(tmp_path / "state")}
        ports = {f"RELAY_{k}LISTEN": "127.0.0.1:0" for k in ("", "GRPC_", "OPS_")}
        return subprocess.run(relay.command, env={**relay.env, **ports, **places, **names}, capture_output=True, text=True, timeout=120)

    half = start(listen_tls_key_file="", ops_tls="true", upstream_cert_file="")
    assert half.returncode == 2
    assert "upstream_key_file: needs upstream_cert_file" in half.stderr
    assert "listen_tls_cert_file: needs listen_tls_key_file" in half.stderr and "ops_tls: needs tls_cert_file" in half.stderr

    strange = start(listen_tls_cert_file=str(cert))
    assert strange.returncode == 1 and "does not fit the certificate" in strange.stderr

    away = start(listen_tls_cert_file="/nonexistent/cert.pem", upstream_ca_file="/nonexistent/ca.pem")
    assert away.returncode == 2 and "/nonexistent/ca.pem" in away.stderr and "/nonexistent/cert.pem" in away.stderr
