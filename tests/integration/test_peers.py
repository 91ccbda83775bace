"""Services know each other by certificates: who is let in, who is not, and certificates that change under load."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from harness.certificates import EXPIRED, SERVER_NAMES, Authority, authority, self_signed
from harness.ports import eventually
from harness.rpc import RpcClient, schema
from harness.suite import Suite

TAG_KEYS = "apirelay.auth.v1.KeyAccessService/GetTagKeys"  # the relay's
CREATE_SESSION = "apirelay.auth.v1.SessionService/CreateSession"  # admin-gw's
KEYS = "apirelay.auth.v1.ApiKeyService"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("peers"), tls=True)
    suite.processes["auth"].env["AUTH_TLS_PEERS"] = "relay=relay,relay=spiffe://apirelay/relay,admin-gw=admin-gw,usage=usage"
    suite.start(only=("mongo", "redis", "openai", "librechat", "auth", "relay", "usage"))
    yield suite
    statuses = suite.stop()
    assert not any(statuses[name] for name in ("auth", "relay", "usage"))


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "another authority")


def refusal(call: RpcClient, rpc: str = TAG_KEYS, credential: str = "") -> tuple[grpc.StatusCode, str]:
    with call as client, pytest.raises(grpc.RpcError) as e:
        client.call(rpc, credential=credential, timeout=60)
    return e.value.code(), e.value.details() or ""  # type: ignore[attr-defined]


def test_a_listed_name_is_let_in_as_its_service(stack: Suite) -> None:
    for names in (("relay",), ("RELAY",), ("somebody", "spiffe://apirelay/relay")):
        with stack.rpc("auth", identity=authority().identity(*names)) as client:
            client.call(TAG_KEYS)


def test_a_certificate_that_does_not_hold_gets_no_connection(stack: Suite, other_authority: Authority, tmp_path: Path) -> None:
    bad = {
        "expired": authority().identity("relay", days=EXPIRED),
        "by another authority": other_authority.identity("relay"),
        "self-signed": self_signed(tmp_path, "relay"),
    }
    for what, identity in bad.items():
        assert refusal(stack.rpc("auth", identity=identity))[0] == grpc.StatusCode.UNAVAILABLE, what
        # an admin's credential does not help
        assert refusal(stack.rpc("auth", identity=identity), f"{KEYS}/ListApiKeys", stack.admin_key)[0] == grpc.StatusCode.UNAVAILABLE, what


def test_a_good_certificate_of_nobody_on_the_list_is_told_so(stack: Suite) -> None:
    for names in (("stranger",), ("relay.evil.example",), ("*.relay",), ("spiffe://other/relay",), ("127.0.0.1",)):
        code, text = refusal(stack.rpc("auth", identity=authority().identity(*names)))
        assert code == grpc.StatusCode.UNAUTHENTICATED and "tls_peers" in text, names
    assert refusal(stack.rpc("auth"))[0] == grpc.StatusCode.UNAUTHENTICATED


def test_a_service_may_call_what_is_its_own_only(stack: Suite) -> None:
    relay, gateway = authority().identity("relay"), authority().identity("admin-gw")
    assert refusal(stack.rpc("auth", identity=gateway))[0] == grpc.StatusCode.PERMISSION_DENIED
    assert refusal(stack.rpc("auth", identity=relay), CREATE_SESSION)[0] == grpc.StatusCode.PERMISSION_DENIED
    # nobody's request that a gateway forwards is nobody's, though its certificate is good
    assert refusal(stack.rpc("auth", identity=gateway), f"{KEYS}/ListApiKeys")[0] == grpc.StatusCode.UNAUTHENTICATED


def test_service_tokens_do_not_count_over_tls(stack: Suite) -> None:
    for identity in (None, authority().identity("relay")):
        code, text = refusal(stack.rpc("auth", identity=identity), TAG_KEYS, stack.tokens["relay"])
        assert code == grpc.StatusCode.UNAUTHENTICATED and "TLS" in text


def test_people_and_their_tools_need_no_certificate(stack: Suite) -> None:
    with stack.rpc("auth", stack.admin_key) as client:
        client.call(f"{KEYS}/ListApiKeys")
        rpc = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        request_class = schema().message_class(schema().method(rpc).input_type)
        answer = next(iter(client.converse(rpc, iter([request_class(list_services="*")]), credential="")))
        assert KEYS in {s.name for s in answer.list_services_response.service}
    with RpcClient(stack.grpc_target("auth"), stack.admin_key) as plain, pytest.raises(grpc.RpcError):
        plain.call(f"{KEYS}/ListApiKeys", timeout=5)


def test_a_server_with_a_certificate_for_another_name_is_not_called(stack: Suite) -> None:
    """usage cannot ask auth who calls, says so, and can again with the right one."""
    paths = stack.certificate_paths("auth")
    loads = lambda: stack.processes["auth"].text().count("tls_files_loaded")  # noqa: E731
    with stack.rpc("usage", stack.admin_key) as client:
        client.call("apirelay.usage.v1.UsageService/GetUsage")
        before = loads()
        authority().issue(*paths, san="DNS:auth,DNS:localhost,IP:127.0.0.9")
        eventually(lambda: loads() > before, "auth has the files")
        # connections there are stay; a new one is made after a restart
        stack.processes["usage"].stop()
        stack.processes["usage"].start()
        stack.await_ready("usage")
    with stack.rpc("usage", stack.admin_key) as client:
        def code() -> grpc.StatusCode:
            try:
                client.call("apirelay.usage.v1.UsageService/GetUsage", timeout=60)
                return grpc.StatusCode.OK
            except grpc.RpcError as e:
                return e.code()  # type: ignore[attr-defined, no-any-return]

        assert code() == grpc.StatusCode.UNAVAILABLE
        authority().issue(*paths, san=f"DNS:auth,{SERVER_NAMES}")
        eventually(lambda: code() == grpc.StatusCode.OK, "usage calls auth again")


def test_certificates_change_under_load_without_a_failed_call(stack: Suite) -> None:
    """Those of auth, usage and the relay, over and over, while requests need all three and callers come and go."""
    with stack.rpc("auth", stack.admin_key) as auth:
        key = auth.call(f"{KEYS}/CreateApiKey", {"apiKey": {"name": "load"}}).key
    over, failures, answered = threading.Event(), [], [0]

    def ask_auth(client: RpcClient) -> None:
        client.call(f"{KEYS}/ListApiKeys")

    def kept() -> None:
        with stack.rpc("auth", stack.admin_key, authority().identity("somebody")) as client:
            while not over.is_set():
                ask_auth(client)
                answered[0] += 1

    def fresh() -> None:
        while not over.is_set():
            with stack.rpc("auth", stack.admin_key) as client:
                ask_auth(client)
                answered[0] += 1

    def requests() -> None:
        with httpx.Client(base_url=stack.relay_url, verify=stack.verify, headers={"Authorization": f"Bearer {key}"}, timeout=30) as http:
            while not over.is_set():
                for path in ("/v1/models", "/v1/usage"):  # the latter asks usage, which asks auth
                    answer = http.get(path)
                    assert answer.status_code == 200, (path, answer.text)
                    answered[0] += 1

    def guarded(body: object) -> None:
        try:
            body()  # type: ignore[operator]
        except Exception as e:  # noqa: BLE001
            failures.append(repr(e))

    threads = [threading.Thread(target=guarded, args=(body,)) for body in (kept, fresh, requests, requests)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            for service in ("auth", "usage", "relay"):
                seen, before = answered[0], stack.processes[service].text().count("tls_files_loaded")
                authority().issue(*stack.certificate_paths(service), san=f"DNS:{service},{SERVER_NAMES}")
                eventually(lambda: stack.processes[service].text().count("tls_files_loaded") > before, "the new files")
                eventually(lambda: answered[0] > seen + 50 or failures, "calls after the change")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failures, failures


def test_a_start_says_all_that_is_missing(stack: Suite) -> None:
    """Without TLS the tokens, with TLS what they were also good for, in one go with everything else that is wrong."""
    usage = stack.processes["usage"]

    def mistakes(**settings: str) -> str:
        env = {k: v for k, v in usage.env.items() if not k.startswith(("USAGE_TLS_", "USAGE_CURSOR"))}
        env |= {f"USAGE_{k.upper()}": v for k, v in settings.items()}
        done = subprocess.run(usage.command, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2
        return done.stderr

    plain = mistakes(log_level="loud")
    assert "service_tokens_file: is required where TLS is off" in plain and "log_level" in plain
    half = mistakes(tls_cert_file="cert.pem", tls_peers="relay=relay,auth=*.example")
    assert "tls_cert_file: needs tls_key_file" in half and "tls_cert_file: needs tls_ca_file" in half
    assert "cursor_key_file: is required" in half and "auth=*.example" in half and "service_tokens_file" not in half.split("cursor_key_file")[0]
    assert "tls_ca_file: needs tls_cert_file" in mistakes(tls_ca_file="ca.pem")


def test_a_cursor_key_has_to_be_long_enough(stack: Suite, tmp_path: Path) -> None:
    usage, short = stack.processes["usage"], tmp_path / "cursor-key"
    short.write_text("too short")
    env = {**usage.env, "USAGE_CURSOR_KEY_FILE": str(short), "USAGE_OPS_LISTEN": "127.0.0.1:0", "USAGE_GRPC_LISTEN": "127.0.0.1:0"}
    done = subprocess.run(usage.command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "start_failed" in done.stderr and "fewer than 32 bytes" in done.stderr
    assert "too short" not in done.stderr
