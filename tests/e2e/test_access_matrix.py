"""Every rpc as every kind of caller: what the access option says is what happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.descriptor import MethodDescriptor
from harness.certificates import authority
from harness.rpc import ACCESS_FIELD, RpcClient, schema
from harness.suite import SERVICES, Suite, base62

ROLES = {"viewer": 1, "admin": 2, "owner": 3}
# what an allowed call may end with: an empty request is often refused, but not for who sent it
REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
METHODS = sorted(schema().methods(), key=lambda m: m.name == "DeleteSession")  # which ends the session that asks


def full_name(method: MethodDescriptor) -> str:
    return f"{method.containing_service.full_name}/{method.name}"


def service_of(method: MethodDescriptor) -> str:
    return method.containing_service.full_name.split(".")[1]


def sign_in(suite: Suite, username: str, password: str) -> str:
    answer = httpx.post(f"{suite.admin_url}/admin/session", json={"username": username, "password": password}, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.cookies[suite.session_cookie])


@pytest.fixture(scope="module")
def callers(suite: Suite) -> dict[str, str]:
    """Credentials by kind of caller. Where TLS is on, a service has none: its certificate tells."""
    found = {f"service {name}": "" if suite.tls else token for name, token in suite.tokens.items()}
    for role in ROLES:
        made = suite.admin("POST", "/admin/admin-keys", json={"name": f"matrix {role}", "role": role})
        assert made.status_code == 200, made.text
        found[f"admin key {role}"] = made.json()["key"]
        user = {"username": f"matrix-{role}", "password": base62(20), "role": role}
        assert suite.admin("POST", "/admin/users", json=user).status_code == 200
        found[f"session {role}"] = sign_in(suite, user["username"], user["password"])
    revoked = suite.admin("POST", "/admin/admin-keys", json={"name": "revoked", "role": "owner"}).json()
    assert suite.admin("DELETE", f"/admin/admin-keys/{revoked['adminKey']['id']}").status_code == 200
    suspended = suite.make_key()
    suite.admin("POST", f"/admin/api-keys/{suspended['id']}/suspend", json={})
    return found | {
        "api key": suite.make_key()["key"],
        "nobody": "",
        **({"token of a service": suite.tokens["relay"]} if suite.tls else {}),
        "revoked admin key": revoked["key"],
        "suspended api key": suspended["key"],
        "made-up admin key": f"lcadm_{base62(44)}",
        "made-up session": f"lcses_{base62(43)}",
        "made-up service": f"lcsvc_{base62(40)}",
        "made-up api key": f"lc_prod_{base62(50)}",
        "another scheme": "sk-" + base62(48),
    }


GRPC_SERVICES = ("auth", "relay", "usage")


@pytest.fixture(scope="module")
def channels(suite: Suite) -> Iterator[dict[str, RpcClient]]:
    clients = {name: suite.rpc(name) for name in GRPC_SERVICES}
    yield clients
    for client in clients.values():
        client.__exit__()


@pytest.fixture(scope="module")
def identified(suite: Suite) -> Iterator[dict[tuple[str, str], RpcClient]]:
    """Channels by kind of caller and service, of callers that have a certificate."""
    if not suite.tls:
        yield {}
        return
    names = {f"service {caller}": caller for caller in SERVICES} | {"certificate of a stranger": "stranger"}
    clients = {(kind, service): suite.rpc(service, "", authority().identity(name)) for kind, name in names.items() for service in GRPC_SERVICES}
    yield clients
    for client in clients.values():
        client.__exit__()


def is_allowed(access: Any, caller: str) -> bool:
    kind, _, name = caller.rpartition(" ")
    if access.anyone:
        return True
    if kind == "service":
        return name in access.services
    if kind in ("admin key", "session"):
        return 0 < access.admin <= ROLES[name]
    return caller == "api key" and bool(access.api_key)


def expected(access: Any, caller: str, has_certificate: bool) -> set[grpc.StatusCode] | None:
    """The statuses a refusal has; None when the caller is let in."""
    if is_allowed(access, caller):
        return None
    if caller.startswith("service") and has_certificate and not access.services:
        return {grpc.StatusCode.UNAUTHENTICATED}  # it wants somebody's credential, whoever brings it
    recognised = caller == "api key" or caller.split()[0] in ("service", "session") or caller.startswith("admin key")
    if caller == "suspended api key":
        return REFUSED
    return {grpc.StatusCode.PERMISSION_DENIED if recognised else grpc.StatusCode.UNAUTHENTICATED}


def test_every_rpc_says_who_may_call_it() -> None:
    for method in METHODS:
        access = schema().option(method, ACCESS_FIELD)
        assert access.services or access.admin or access.api_key or access.anyone, full_name(method)
        assert set(access.services) <= set(SERVICES)


@pytest.mark.parametrize("method", METHODS, ids=full_name)
def test_each_caller_gets_what_the_option_says(
    callers: dict[str, str], channels: dict[str, RpcClient], identified: dict[tuple[str, str], RpcClient], method: MethodDescriptor
) -> None:
    access = schema().option(method, ACCESS_FIELD)
    wrong = {}
    for caller in [*callers, *{kind for kind, _ in identified if kind not in callers}]:
        certified = identified.get((caller, service_of(method)))
        client = certified or channels[service_of(method)]
        status = client.outcome(full_name(method), callers.get(caller, ""))
        refusal = expected(access, caller, certified is not None)
        fine = status not in REFUSED if refusal is None else status in refusal
        # an rpc may itself judge a credential inside its (here empty) request
        if not fine:
            wrong[caller] = status.name
    assert not wrong


def test_health_and_reflection_are_open_to_anyone(channels: dict[str, RpcClient]) -> None:
    for name, client in channels.items():
        for service in ("", *{m.containing_service.full_name for m in METHODS if service_of(m) == name}):
            answer = client.call("grpc.health.v1.Health/Check", {"service": service}, credential="")
            assert answer.status == 1, (name, service)  # SERVING
        listed = {s.name for s in _reflected_services(client)}
        assert {m.containing_service.full_name for m in METHODS if service_of(m) == name} <= listed


def _reflected_services(client: RpcClient) -> Any:
    rpc = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    request_class = schema().message_class(schema().method(rpc).input_type)
    call = client.converse(rpc, iter([request_class(list_services="*")]), credential="")
    return next(iter(call)).list_services_response.service


def test_an_unknown_rpc_and_a_malformed_message_are_told_apart(suite: Suite) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    target = suite.grpc_target("auth")
    with grpc.secure_channel(target, authority().grpc_credentials(), options) if suite.tls else grpc.insecure_channel(target, options) as channel:
        metadata = [("authorization", f"Bearer {suite.admin_key}")]
        for path, data, code in (
            ("/apirelay.auth.v1.ApiKeyService/Nothing", b"", grpc.StatusCode.UNIMPLEMENTED),
            ("/nonsense", b"", grpc.StatusCode.UNIMPLEMENTED),
            ("/apirelay.auth.v1.ApiKeyService/GetApiKey", b"\x0a\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
            ("/apirelay.auth.v1.ApiKeyService/GetApiKey", b"\x0a\x02\xc3\x28", grpc.StatusCode.INVALID_ARGUMENT),
            ("/apirelay.auth.v1.ApiKeyService/GetApiKey", b"\x0a\x03a\x00b", grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.RpcError) as e:
                channel.unary_unary(path)(data, metadata=metadata, timeout=60)
            assert e.value.code() == code, (path, data)  # type: ignore[attr-defined]
