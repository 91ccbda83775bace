"""The whole suite on free ports and in a folder of its own: stores, scripted upstreams, the four services."""

from __future__ import annotations

import base64
import json
import os
import secrets
import string
import sys
from pathlib import Path
from typing import Any

import httpx
import pymongo
import redis

from harness.ports import eventually, free_ports
from harness.process import Process

TOP = Path(__file__).resolve().parents[2]
SERVICES = ("auth", "usage", "relay", "admin-gw")
START_SECONDS = float(os.environ.get("SUITE_START_SECONDS", "30"))


def base62(count: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(count))


class Suite:
    """Addresses, credentials and processes. `start()` brings everything up, `stop()` leaves nothing running."""

    def __init__(self, folder: Path, build: Path | None = None, relay_settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.bin = (build or Path(os.environ.get("BUILD_DIR", TOP / "build" / "dev"))) / "bin"
        self.relay_settings = relay_settings or {}
        names = ["relay", "admin", "auth_grpc", "relay_grpc", "usage_grpc", "mongo", "redis", "openai", "librechat"]
        names += [f"ops_{service}" for service in SERVICES]
        self.port = dict(zip(names, free_ports(len(names))))
        self.mongo_uri = os.environ.get("MONGO_URI") or f"mongodb://127.0.0.1:{self.port['mongo']}"
        self.database = f"apirelay_{base62(8)}"
        self.redis_url = f"redis://127.0.0.1:{self.port['redis']}"
        self.admin_key = f"lcadm_{base62(44)}"
        self.owner_password = base62(24)
        self.tokens = {service: f"lcsvc_{base62(40)}" for service in SERVICES}
        self.processes: dict[str, Process] = {}
        self._write_files()
        self._define_processes()

    # ---- addresses ----

    @property
    def relay_url(self) -> str:
        return f"http://127.0.0.1:{self.port['relay']}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.port['admin']}"

    @property
    def upstream_url(self) -> str:
        return f"http://127.0.0.1:{self.port['openai']}"

    @property
    def librechat_url(self) -> str:
        return f"http://127.0.0.1:{self.port['librechat']}"

    def grpc_target(self, service: str) -> str:
        return f"127.0.0.1:{self.port[service + '_grpc']}"

    def ops_url(self, service: str, path: str = "/readyz") -> str:
        return f"http://127.0.0.1:{self.port['ops_' + service]}{path}"

    # ---- files and settings ----

    def path(self, *parts: str) -> Path:
        return self.folder.joinpath(*parts)

    def _write(self, name: str, text: str) -> Path:
        path = self.path(name)
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def _write_files(self) -> None:
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        self._write("peppers", f"a {key}\n")
        self._write("master-keys", f"k1 {key}\n")
        self._write("service-tokens", "".join(f"{name} {token}\n" for name, token in self.tokens.items()))
        self._write("owner-password", self.owner_password)
        self._write("admin-key", self.admin_key)
        for name in ("mongo", "redis", "spool", "relay-state", "log"):
            self.path(name).mkdir(exist_ok=True)
        self.write_relay_config()

    def write_relay_config(self, providers: list[dict[str, Any]] | None = None, models: list[dict[str, Any]] | None = None) -> None:
        """JSON is YAML; by default every model goes to the scripted upstream and agent_* to the small LibreChat."""
        config = {
            "providers": providers
            or [
                {"name": "scripted", "kind": "openai", "baseUrl": f"{self.upstream_url}/v1", "credential": "env:RELAY_CREDENTIAL_SCRIPTED"},
                {"name": "librechat", "kind": "librechat", "baseUrl": self.librechat_url, "credential": "env:RELAY_CREDENTIAL_LIBRECHAT"},
            ],
            "models": models
            or [
                {"model": "*", "targets": [{"provider": "scripted"}], "listedModels": ["gpt-4o", "gpt-4o-mini", "org/model/with-slashes"]},
                {"model": "agent_*", "targets": [{"provider": "librechat"}], "listedModels": ["agent_echo"]},
            ],
        }
        self._write("relay.yaml", json.dumps(config))

    def _service(self, name: str, settings: dict[str, str]) -> None:
        prefix = name.upper().replace("-", "_") + "_"
        common = {
            "OPS_LISTEN": f"127.0.0.1:{self.port['ops_' + name]}",
            "SERVICE_TOKENS_FILE": str(self.path("service-tokens")),
            "LOG_LEVEL": "debug",
        }
        env = {prefix + k: v for k, v in {**common, **settings}.items()}
        self.processes[name] = Process(name, [str(self.bin / name)], self.path("log", f"{name}.log"), env)

    def _stores(self) -> dict[str, str]:
        return {"MONGO_URI": self.mongo_uri, "MONGO_DATABASE": self.database, "REDIS_URL": self.redis_url}

    def _define_processes(self) -> None:
        log = self.path("log")
        if not os.environ.get("MONGO_URI"):
            command = [str(TOP / ".venv-mongo/bin/secantusd-py"), "--host", "127.0.0.1", "--port", str(self.port["mongo"])]
            command += ["--storage-path", str(self.path("mongo")), "--sync-on-commit"]
            self.processes["mongo"] = Process("mongo", command, log / "mongo.log")
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port["redis"]), "--dir", str(self.path("redis"))]
        self.processes["redis"] = Process("redis", [*command, "--save", "", "--appendonly", "yes"], log / "redis.log")
        for name in ("openai", "librechat"):
            script = str(TOP / "tests" / "upstreams" / f"{name}.py")
            self.processes[name] = Process(name, [sys.executable, script, "--port", str(self.port[name])], log / f"{name}.log")
        auth, usage, relay = (self.grpc_target(s) for s in ("auth", "usage", "relay"))
        self._service("auth", {
            **self._stores(),
            "GRPC_LISTEN": auth,
            "PEPPERS_FILE": str(self.path("peppers")),
            "MASTER_KEYS_FILE": str(self.path("master-keys")),
            "OWNER_USERNAME": "admin",
            "OWNER_PASSWORD_FILE": str(self.path("owner-password")),
            "BOOTSTRAP_ADMIN_KEY_FILE": str(self.path("admin-key")),
        })
        self._service("usage", {**self._stores(), "GRPC_LISTEN": usage, "AUTH_TARGET": auth})
        self._service("relay", {
            **self._stores(),
            "LISTEN": f"127.0.0.1:{self.port['relay']}",
            "GRPC_LISTEN": relay,
            "AUTH_TARGET": auth,
            "USAGE_TARGET": usage,
            "CONFIG_FILE": str(self.path("relay.yaml")),
            "PRICE_BOOK_FILE": str(TOP / "deploy/config/prices.yaml"),
            "MASTER_KEYS_FILE": str(self.path("master-keys")),
            "UPSTREAM_ALLOW_CIDRS": "127.0.0.0/8,::1/128",
            "SPOOL_DIR": str(self.path("spool")),
            "STATE_DIR": str(self.path("relay-state")),
            "CREDENTIAL_SCRIPTED": "sk-scripted-provider-key",
            "CREDENTIAL_LIBRECHAT": "sk-librechat-provider-key",
            **self.relay_settings,
        })
        self._service("admin-gw", {
            "LISTEN": f"127.0.0.1:{self.port['admin']}",
            "AUTH_TARGET": auth,
            "RELAY_TARGET": relay,
            "USAGE_TARGET": usage,
        })

    # ---- life ----

    def start(self) -> "Suite":
        try:
            for process in self.processes.values():
                process.start()
            self.await_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def await_ready(self, *services: str) -> None:
        for service in services or SERVICES:
            eventually(lambda: self._is_ready(service), f"{service} ready; log:\n{self.processes[service].tail()}", START_SECONDS)

    def _is_ready(self, service: str) -> bool:
        process = self.processes[service]
        if not process.is_running:
            raise RuntimeError(f"{service} ended at start:\n{process.tail()}")
        try:
            return httpx.get(self.ops_url(service), timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def restart(self, name: str, *, kill: bool = False) -> None:
        process = self.processes[name]
        process.kill() if kill else process.stop()
        process.start()
        if name in SERVICES:
            self.await_ready(name)

    def stop(self) -> dict[str, int]:
        """Exit statuses by name, services first; raises when one had to be killed."""
        failures, statuses = [], {}
        for process in reversed(list(self.processes.values())):
            try:
                statuses[process.name] = process.stop()
            except AssertionError as e:
                failures.append(str(e))
        assert not failures, "\n".join(failures)
        return statuses

    # ---- clients ----

    def admin(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.admin_key}", **kwargs.pop("headers", {})}
        return httpx.request(method, self.admin_url + path, headers=headers, timeout=30, **kwargs)

    def make_key(self, **fields: Any) -> dict[str, Any]:
        """A new API key: the members of `apiKey` and, under "key", the key itself."""
        answer = self.admin("POST", "/admin/api-keys", json={"name": "test key", **fields})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return {**body["apiKey"], "key": body["key"]}

    def mongo(self) -> Any:
        return pymongo.MongoClient(self.mongo_uri, serverSelectionTimeoutMS=5000)[self.database]

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url)

    def rows(self, **filter: Any) -> list[dict[str, Any]]:
        return list(self.mongo()["api_usage"].find(filter))
