"""The whole suite on free ports and in a folder of its own: stores, scripted upstreams, the four services."""

from __future__ import annotations

import base64
import functools
import json
import os
import secrets
import ssl
import string
import sys
from pathlib import Path
from typing import Any

import httpx
import pymongo
import redis

from harness.certificates import SERVER_NAMES, Identity, authority, client_context
from harness.ports import PATIENCE, eventually, free_ports
from harness.process import Process
from harness.raw_http import TIMEOUT_S, RawClient
from harness.rpc import RpcClient

TOP = Path(__file__).resolve().parents[2]
SERVICES = ("auth", "usage", "relay", "admin-gw")
STORES = ("mongo", "redis")
UPSTREAMS = ("openai", "librechat", "anthropic", "google")  # programs of tests/upstreams
LISTED_MODELS = ["gpt-4o", "gpt-4o-mini", "org/model/with-slashes", "text-embedding-3-small", "alias-gpt", "agent_echo"]
IMPATIENT_MS = 400
HEAD_TIMEOUT = f"{round(4000 * PATIENCE)}ms"
LEDGER_LEASE, LEDGER_QUARANTINE = "1s", "2s"
START_SECONDS = float(os.environ.get("SUITE_START_SECONDS", "30"))


def base62(count: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(count))


# httpx reads the system's authorities for each call, 15 ms.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Suite:
    """
    Addresses, credentials and processes. `start()` brings everything up, `stop()` leaves nothing running.

    With `tls` (by default what SUITE_TLS says) everything but the ops listeners and the scripted upstreams speaks TLS, the
    services among themselves mutually and without service tokens.
    """

    def __init__(
        self,
        folder: Path,
        build: Path | None = None,
        relay_settings: dict[str, str] | None = None,
        replicas: bool | tuple[str, ...] = False,
        tls: bool | None = None,
        books: bool = False,
    ) -> None:
        """
        `replicas`: these services (True: auth, usage and relay) twice, the second ones at 127.0.0.2 as "auth-2", …; the others
        call both. Never with TLS: a list of addresses has no name that a certificate could be for.
        `books`: the small LibreChat writes down what its runs cost, in a database of its own, and the services look into it.
        """
        self.tls = (os.environ.get("SUITE_TLS") == "1" if tls is None else tls) and not replicas
        self.folder = folder
        self.bin = (build or Path(os.environ.get("BUILD_DIR", TOP / "build" / "dev"))) / "bin"
        self.relay_settings = relay_settings or {}
        self.replicated = ("auth", "usage", "relay") if replicas is True else replicas or ()
        names = ["relay", "admin", "auth_grpc", "relay_grpc", "usage_grpc", "mongo", "redis", *UPSTREAMS, "nobody"]
        names += [f"ops_{service}" for service in SERVICES]
        names += [f"{kind}_{service}-2" for service in self.replicated for kind in ("grpc", "ops", "http")]
        self.port = dict(zip(names, free_ports(len(names))))
        self.mongo_uri = os.environ.get("MONGO_URI") or f"mongodb://127.0.0.1:{self.port['mongo']}"
        if self.tls and not os.environ.get("MONGO_URI"):
            self.mongo_uri += f"/?tls=true&tlsCAFile={authority().file}"
        self.database = f"apirelay_{base62(8)}"
        self.librechat_database = f"{self.database}_librechat" if books else None
        self.redis_url = f"{'rediss' if self.tls else 'redis'}://127.0.0.1:{self.port['redis']}"
        self.admin_key = f"lcadm_{base62(44)}"
        self.owner_password = base62(24)
        self.tokens = {service: f"lcsvc_{base62(40)}" for service in SERVICES}
        self.processes: dict[str, Process] = {}
        self._write_files()
        self._define_processes()

    # ---- addresses ----

    @property
    def _scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def relay_url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port['relay']}"

    @property
    def admin_url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port['admin']}"

    @property
    def upstream_url(self) -> str:
        return f"http://127.0.0.1:{self.port['openai']}"

    @property
    def librechat_url(self) -> str:
        return f"http://127.0.0.1:{self.port['librechat']}"

    def url_of(self, upstream: str) -> str:
        return f"http://127.0.0.1:{self.port[upstream]}"

    def grpc_target(self, service: str) -> str:
        return f"127.0.0.1:{self.port[service + '_grpc']}"

    def both_targets(self, service: str) -> str:
        """What other services call: every replica there is."""
        if service not in self.replicated:
            return self.grpc_target(service)
        return f"ipv4:{self.grpc_target(service)},127.0.0.2:{self.port[f'grpc_{service}-2']}"

    def ops_url(self, service: str, path: str = "/readyz") -> str:
        return f"http://127.0.0.1:{self.port['ops_' + service]}{path}"

    # ---- files and settings ----

    def metric(self, process: str, sample: str) -> float:
        """A sample of /metrics as it is written there, labels included; 0 when it is not there yet."""
        lines = httpx.get(self.ops_url(process, "/metrics"), timeout=30, verify=NO_TLS).text.splitlines()
        return next((float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name == sample), 0.0)

    def path(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)

    def certificate_paths(self, service: str) -> tuple[Path, Path]:
        """Certificate and key of a service, or of "mongo" and "redis"."""
        return self.path("tls", f"{service}.pem"), self.path("tls", f"{service}.key")

    def _write_certificates(self) -> None:
        self.path("tls").mkdir(mode=0o700)
        for name in (*SERVICES, "mongo", "redis"):
            authority().issue(*self.certificate_paths(name), san=f"DNS:{name},{SERVER_NAMES}")

    def _write(self, name: str, text: str) -> Path:
        path = self.path(name)
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def _write_files(self) -> None:
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        self._write("peppers", f"a {key}\n")
        self._write("master-keys", f"k1 {key}\n")
        self._write("cursor-key", base62(40))
        self._write("service-tokens", "".join(f"{name} {token}\n" for name, token in self.tokens.items()))
        self._write("owner-password", self.owner_password)
        self._write("admin-key", self.admin_key)
        for name in ("mongo", "redis", "spool", "relay-state", "log"):
            self.path(name).mkdir(exist_ok=True)
        self.write_relay_config()
        if self.tls:
            self._write_certificates()

    def write_relay_config(self, providers: list[dict[str, Any]] | None = None, models: list[dict[str, Any]] | None = None) -> None:
        """
        JSON is YAML. By default gpt-*, org/* and text-embedding-* go to the scripted upstream, curled+* too but over
        libcurl, impatient+* with short timeouts, refused-* to a port where nobody listens, agent_* to the small LibreChat, claude-* and
        gemini-* to the upstreams of those dialects (lenient-* with a route that drops), llama-* to the first one as a local server.
        What the upstream is to do wrong is added to the name, as in "gpt-4o-mini+fail-cut-3": such a name has a price.
        """
        scripted = {"kind": "openai", "baseUrl": f"{self.upstream_url}/v1", "credential": "env:RELAY_CREDENTIAL_SCRIPTED"}
        config = {
            "providers": providers
            or [
                {"name": "scripted", **scripted},
                {"name": "impatient", **scripted, "firstByteTimeoutMs": IMPATIENT_MS, "idleTimeoutMs": IMPATIENT_MS},
                {"name": "curled", **scripted, "transport": "curl"},
                {"name": "refused", **scripted, "baseUrl": f"http://127.0.0.1:{self.port['nobody']}/v1"},
                {"name": "local", **scripted, "kind": "local"},
                {"name": "anthropic", "kind": "anthropic", "baseUrl": self.url_of("anthropic"), "credential": "env:RELAY_CREDENTIAL_ANTHROPIC"},
                {"name": "google", "kind": "google", "baseUrl": self.url_of("google"), "credential": "env:RELAY_CREDENTIAL_GOOGLE"},
                {"name": "librechat", "kind": "librechat", "baseUrl": self.librechat_url, "credential": "env:RELAY_CREDENTIAL_LIBRECHAT"},
            ],
            "models": models
            or [
                {"model": "gpt-*", "targets": [{"provider": "scripted"}], "listedModels": ["gpt-4o", "gpt-4o-mini"]},
                {"model": "org/*", "targets": [{"provider": "scripted"}], "listedModels": ["org/model/with-slashes"]},
                {"model": "text-embedding-*", "targets": [{"provider": "scripted"}], "listedModels": ["text-embedding-3-small"]},
                {"model": "claude-*", "targets": [{"provider": "anthropic"}]},
                {"model": "lenient-*", "targets": [{"provider": "anthropic", "upstreamModel": "claude-sonnet-4-6"}], "unsupportedParams": "drop"},
                {"model": "gemini-*", "targets": [{"provider": "google"}]},
                {"model": "llama-*", "targets": [{"provider": "local"}]},
                {"model": "curled+*", "targets": [{"provider": "curled"}]},
                {"model": "impatient+*", "targets": [{"provider": "impatient"}]},
                {"model": "refused-*", "targets": [{"provider": "refused"}]},
                {"model": "alias-gpt", "targets": [{"provider": "scripted", "upstreamModel": "gpt-4o"}], "listedModels": ["alias-gpt"]},
                {"model": "agent_*", "targets": [{"provider": "librechat"}], "listedModels": ["agent_echo"]},
            ],
        }
        self._write("relay.yaml", json.dumps(config))

    def _service(self, name: str, settings: dict[str, str]) -> None:
        prefix = name.upper().replace("-", "_") + "_"
        common = {
            "OPS_LISTEN": f"127.0.0.1:{self.port['ops_' + name]}",
            "LOG_LEVEL": "debug",
            **(self._tls_settings(name) if self.tls else {"SERVICE_TOKENS_FILE": str(self.path("service-tokens"))}),
        }
        env = {prefix + k: v for k, v in {**common, **settings}.items()}
        self.processes[name] = Process(name, [str(self.bin / name)], self.path("log", f"{name}.log"), env)

    def _tls_settings(self, service: str) -> dict[str, str]:
        cert, key = (str(path) for path in self.certificate_paths(service))
        settings = {"TLS_CERT_FILE": cert, "TLS_KEY_FILE": key, "TLS_CA_FILE": str(authority().file)}
        if service in ("relay", "admin-gw"):
            settings |= {"LISTEN_TLS_CERT_FILE": cert, "LISTEN_TLS_KEY_FILE": key}
        if service in ("auth", "usage", "relay"):
            settings["REDIS_CA_FILE"] = str(authority().file)
        if service in ("relay", "usage"):
            settings["CURSOR_KEY_FILE"] = str(self.path("cursor-key"))
        return settings

    def _stores(self) -> dict[str, str]:
        return {"MONGO_URI": self.mongo_uri, "MONGO_DATABASE": self.database, "REDIS_URL": self.redis_url}

    def _redis_tls(self) -> list[str]:
        cert, key = (str(path) for path in self.certificate_paths("redis"))
        flags = ["--port", "0", "--tls-port", str(self.port["redis"]), "--tls-auth-clients", "no"]
        return [*flags, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", str(authority().file)]

    def _define_processes(self) -> None:
        log = self.path("log")
        if not os.environ.get("MONGO_URI"):
            command = [str(TOP / ".venv-mongo/bin/secantusd-py"), "--host", "127.0.0.1", "--port", str(self.port["mongo"])]
            command += ["--storage-path", str(self.path("mongo")), "--sync-on-commit"]
            if self.tls:
                cert, key = self.certificate_paths("mongo")
                command += ["--tls-cert-file", str(cert), "--tls-key-file", str(key)]
            self.processes["mongo"] = Process("mongo", command, log / "mongo.log")
        command = ["redis-server", "--bind", "127.0.0.1", "--dir", str(self.path("redis"))]
        command += self._redis_tls() if self.tls else ["--port", str(self.port["redis"])]
        self.processes["redis"] = Process("redis", [*command, "--save", "", "--appendonly", "yes"], log / "redis.log")
        for name in UPSTREAMS:
            script = str(TOP / "tests" / "upstreams" / f"{name}.py")
            command = [sys.executable, script, "--port", str(self.port[name])]
            if name == "librechat" and self.librechat_database:
                command += ["--mongo", self.mongo_uri, "--database", self.librechat_database]
            self.processes[name] = Process(name, command, log / f"{name}.log")
        auth, usage, relay = (self.both_targets(s) for s in ("auth", "usage", "relay"))
        self._service("auth", {
            **self._stores(),
            "GRPC_LISTEN": self.grpc_target("auth"),
            "PEPPERS_FILE": str(self.path("peppers")),
            "MASTER_KEYS_FILE": str(self.path("master-keys")),
            "OWNER_USERNAME": "admin",
            "OWNER_PASSWORD_FILE": str(self.path("owner-password")),
            "BOOTSTRAP_ADMIN_KEY_FILE": str(self.path("admin-key")),
        })
        books = {"LIBRECHAT_DATABASE": self.librechat_database} if self.librechat_database else {}
        self._service("usage", {**self._stores(), **books, "GRPC_LISTEN": self.grpc_target("usage"), "AUTH_TARGET": auth})
        self._service("relay", {
            **self._stores(),
            "LEDGER_LEASE": LEDGER_LEASE,
            "LEDGER_QUARANTINE": LEDGER_QUARANTINE,
            "LISTEN": f"127.0.0.1:{self.port['relay']}",
            "GRPC_LISTEN": self.grpc_target("relay"),
            "AUTH_TARGET": auth,
            "USAGE_TARGET": usage,
            "CONFIG_FILE": str(self.path("relay.yaml")),
            "MASTER_KEYS_FILE": str(self.path("master-keys")),
            "PRICE_BOOK_FILE": str(TOP / "deploy/config/prices.yaml"),
            "UPSTREAM_ALLOW_CIDRS": "127.0.0.0/8,::1/128",
            "SPOOL_DIR": str(self.path("spool")),
            "STATE_DIR": str(self.path("relay-state")),
            "HEAD_TIMEOUT": HEAD_TIMEOUT,
            "BODY_TIMEOUT": HEAD_TIMEOUT,
            "BODY_MAX": "4MiB",
            "SHUTDOWN_GRACE": "2s",
            **books,
            "BREAKER_FAILURES": "0",  # many tests ask for the same model that always fails; those of breakers say their own
            "MODEL_LIST_REFRESH": "0s",  # upstreams count what they are asked
            "CREDENTIAL_SCRIPTED": "sk-scripted-provider-key",
            "CREDENTIAL_LIBRECHAT": "sk-librechat-provider-key",
            "CREDENTIAL_ANTHROPIC": "sk-ant-provider-key",
            "CREDENTIAL_GOOGLE": "AIza-google-provider-key",
            **self.relay_settings,
        })
        self._service("admin-gw", {
            "LISTEN": f"127.0.0.1:{self.port['admin']}",
            "AUTH_TARGET": auth,
            "RELAY_TARGET": relay,
            "USAGE_TARGET": usage,
        })
        for service in self.replicated:
            self._second(service)

    def _second(self, service: str) -> None:
        """The same settings at another address; a relay has a spool of its own."""
        name, first = f"{service}-2", self.processes[service]
        prefix = service.upper() + "_"
        env = {
            **first.env,
            f"{prefix}GRPC_LISTEN": f"127.0.0.2:{self.port[f'grpc_{name}']}",
            f"{prefix}OPS_LISTEN": f"127.0.0.1:{self.port[f'ops_{name}']}",
        }
        if service == "relay":
            env["RELAY_LISTEN"] = f"127.0.0.1:{self.port[f'http_{name}']}"
            for setting in ("SPOOL_DIR", "STATE_DIR"):
                folder = self.path(f"{setting.lower()}-2")
                folder.mkdir(exist_ok=True)
                env[f"RELAY_{setting}"] = str(folder)
        self.processes[name] = Process(name, first.command, self.path("log", f"{name}.log"), env)

    # ---- life ----

    def start(self, without: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> "Suite":
        """
        Starts everything, or `only` what is named, and waits until its services are ready. Of `without` nothing is
        started, and then nothing is waited for.
        """
        try:
            for process in self.processes.values():
                if process.name not in without and (not only or process.name in only):
                    process.start()
            if not without:
                self.await_ready(*(name for name in only if name in SERVICES))
        except BaseException:
            self.stop()
            raise
        return self

    def await_ready(self, *services: str) -> None:
        for service in services or (*SERVICES, *(f"{name}-2" for name in self.replicated)):
            try:
                eventually(lambda: self._is_ready(service), f"{service} ready", START_SECONDS)
            except AssertionError as e:
                raise AssertionError(f"{e}; log:\n{self.processes[service].tail()}") from None

    def _is_ready(self, service: str) -> bool:
        process = self.processes[service]
        ended = [store for name in STORES if (store := self.processes.get(name)) and store.has_ended]
        ended += [] if process.is_running else [process]
        if ended:
            raise RuntimeError(f"{ended[0].name} ended before {service} was ready:\n{ended[0].tail()}")
        try:
            return httpx.get(self.ops_url(service), timeout=30, verify=NO_TLS).status_code == 200
        except httpx.HTTPError:
            return False

    def restart(self, name: str, *, kill: bool = False) -> None:
        process = self.processes[name]
        process.kill() if kill else process.stop()
        process.start()
        if name.removesuffix("-2").removesuffix("-3") in SERVICES:
            self.await_ready(name)

    def stop(self) -> dict[str, int]:
        """Exit statuses by name, services first; raises when one had to be killed."""
        failures, statuses = [], {}
        if "_mongo_client" in self.__dict__:
            self.__dict__.pop("_mongo_client").close()
        for process in reversed(list(self.processes.values())):
            try:
                statuses[process.name] = process.stop()
            except AssertionError as e:
                failures.append(str(e))
        assert not failures, "\n".join(failures)
        return statuses

    # ---- clients ----

    def admin(self, method: str, path: str, *, credential: str | None = None, **kwargs: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {credential or self.admin_key}", **kwargs.pop("headers", {})}
        return httpx.request(method, self.admin_url + path, headers=headers, timeout=30, verify=self.verify, **kwargs)

    def shown(self, path: str) -> Any:
        """What GET answers an admin, once the service behind is found again; anything but 200 fails with its text."""

        def found() -> httpx.Response | None:
            answer = self.admin("GET", path)
            return None if answer.status_code == 503 else answer  # it was restarted, and admin-gw's channel does not know yet

        answer = eventually(found, f"an answer to {path}")
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return answer.json()

    def make_key(self, **fields: Any) -> dict[str, Any]:
        """A new API key: the members of `apiKey` and, under "key", the key itself; under "signingSecret" that, if one was made."""

        def made() -> httpx.Response | None:
            answer = self.admin("POST", "/admin/api-keys", json={"name": "test key", **fields})
            return None if answer.status_code == 503 else answer  # auth is back, and admin-gw's channel does not know yet

        answer = eventually(made, "admin-gw reaches auth")
        assert answer is not None and answer.status_code == 200, answer
        body = answer.json()
        return {**body["apiKey"], **{name: body[name] for name in ("key", "signingSecret") if body.get(name)}}

    def chat(self, key: str, model: str = "gpt-4o", text: str = "Hello there", *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        """POST /v1/chat/completions without an SDK, read to its end."""
        request = {"model": model, "messages": [{"role": "user", "content": text}], **body}
        return self.post("/v1/chat/completions", key, json=request, headers=headers)

    def post(self, path: str, key: str, *, headers: dict[str, str] | None = None, **kwargs: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}", **(headers or {})}
        return httpx.post(self.relay_url + path, headers=headers, timeout=30, verify=self.verify, **kwargs)

    def get(self, path: str, key: str, **kwargs: Any) -> httpx.Response:
        return httpx.get(self.relay_url + path, headers={"Authorization": f"Bearer {key}"}, timeout=30, verify=self.verify, **kwargs)

    def rpc(self, service: str, credential: str | None = None, identity: Identity | None = None) -> RpcClient:
        """`identity`: the certificate of a caller that has one, where TLS is on."""
        tls = authority().grpc_credentials(identity) if self.tls else None
        return RpcClient(self.grpc_target(service), credential, tls)

    def rpc_as(self, caller: str, service: str) -> RpcClient:
        """As the service `caller`: by its certificate, where TLS is on, else by its token."""
        return self.rpc(service, None, authority().identity(caller)) if self.tls else self.rpc(service, self.tokens[caller])

    def raw(self, port: str, timeout: float = TIMEOUT_S) -> RawClient:
        """A connection to "relay" or "admin"."""
        return RawClient(self.port[port], timeout, client_context() if self.tls else None)

    @property
    def verify(self) -> ssl.SSLContext:
        return client_context() if self.tls else NO_TLS

    @property
    def session_cookie(self) -> str:
        return "__Host-session" if self.tls else "session"

    def upstream_log(self, librechat: bool = False, of: str = "") -> list[dict[str, Any]]:
        """`of`: one of UPSTREAMS."""
        return httpx.get(self.url_of(of or ("librechat" if librechat else "openai")) + "/_log", timeout=30).json()

    def upstream_stats(self, wait_for: str = "", librechat: bool = False) -> dict[str, Any]:
        """Counters; `wait_for` as "cancelled=3" waits until one is reached."""
        url = (self.librechat_url if librechat else self.upstream_url) + "/_stats"
        return httpx.get(f"{url}?{wait_for}", timeout=30).json()

    @functools.cached_property
    def _mongo_client(self) -> Any:
        return pymongo.MongoClient(self.mongo_uri, serverSelectionTimeoutMS=5000, tz_aware=True)

    def mongo(self) -> Any:
        return self._mongo_client[self.database]

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url, **({"ssl_ca_certs": str(authority().file)} if self.tls else {}))

    def rows(self, **filter: Any) -> list[dict[str, Any]]:
        return list(self.mongo()["api_usage"].find(filter))

    def row(self, request_id: str) -> dict[str, Any]:
        """The row of one request, as soon as it is there."""
        return eventually(lambda: self.rows(requestId=request_id), f"the row of {request_id}")[0]

    def rows_of(self, answers: dict[str, httpx.Response]) -> dict[str, dict[str, Any]]:
        """The row of each answer, by the answer's name."""
        ids = {name: answer.headers.get("x-request-id") or answer.headers["request-id"] for name, answer in answers.items()}

        def all_of_them() -> dict[str, dict[str, Any]]:
            there = {row["requestId"]: row for row in self.rows(requestId={"$in": list(ids.values())})}
            missing = {name: (answers[name].status_code, answers[name].text[:200]) for name, id_ in ids.items() if id_ not in there}
            assert not missing, f"without a row: {missing}"
            return {name: there[id_] for name, id_ in ids.items()}

        return eventually(all_of_them, f"{len(ids)} rows")
