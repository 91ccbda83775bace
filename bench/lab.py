"""Everything a benchmark needs, running: the suite with the relay alone on core 0, and on core 1 all that is not measured."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx

from harness.certificates import Authority
from harness.ports import eventually, free_ports
from harness.process import Process
from harness.suite import NO_TLS, Suite

MODEL, TLS_MODEL, CURL_MODEL = "gpt-4o-mini", "gpt-4o-mini-tls", "gpt-4o-mini-curl"
# What is translated: which model, and whether the caller speaks Anthropic's dialect. All of it is answered by the same upstream.
TRANSLATED = {"anthropic": ("claude-sonnet-4-6", False), "google": ("gemini-2.5-flash", False), "messages": (MODEL, True)}
MEASURED_CORE, OTHER_CORE = "0", "1"
TICK = os.sysconf("SC_CLK_TCK")
# The relay as it is run, but with room for the largest test within 20,000 descriptors; LOG_LEVEL is the default.
RELAY_SETTINGS = {
    "LOG_LEVEL": "info",
    "MAX_INFLIGHT": "9100",
    "CONNECTIONS_MAX": "10600",
    "BODY_MAX": "32MiB",
    "HEAD_TIMEOUT": "10s",
    "BODY_TIMEOUT": "30s",
}
STAGES_OFF = {"relay-nolog": {"LOG_LEVEL": "warn"}}
# Made beside the first, with addresses and folders of their own: what speaks TLS to its callers, what has its default settings, and
# two that share a port.
SHARED = ("relay-first", "relay-second")
OTHER_RELAYS = (*STAGES_OFF, "relay-tls", "relay-default", *SHARED)
# All that a key, a client or an owner can be limited by, wide enough for any test: what is measured is the counting.
ALL_LIMITS = {
    "requestsPerMinute": 100_000_000,
    "requestsPerDay": 1_000_000_000,
    "tokensPerDay": 1_000_000_000_000,
    "tokensPerMonth": 10_000_000_000_000,
    "costLimit": 1_000_000,
    "requestsInFlight": 10_000,
}
HOT_KEYS = 100
CLIENTS, OWNER = 10, "650000000000000000000001"  # an owner is a user of LibreChat
DEFAULTS = {"MAX_INFLIGHT": "1000", "CONNECTIONS_MAX": "0"}  # room as by default: memory is looked at


@dataclass(frozen=True)
class Variant:
    """What answers: where, and which process is looked at."""

    name: str
    port: int
    process: Process
    stream_port: int = 0
    ca: str = ""  # set: TLS
    model: str = MODEL  # which way a relay takes to the upstream
    messages: bool = False  # the caller speaks Anthropic's dialect
    second: Process | None = None  # shares the port: what is looked at is the two of them together

    def port_for(self, kind: str) -> int:
        return self.stream_port if kind == "sse" and self.stream_port else self.port


@dataclass
class CpuUse:
    """CPU seconds since boot: all of the machine, and the part that is ours."""

    busy: float
    steal: float
    ours: float
    at: float = field(default_factory=time.monotonic)


def process_cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def is_measured(process: Process) -> bool:
    """Whether it has a core for itself while it is asked. The second of two that share a port never has."""
    return process.name in ("nginx", "rpc-echo") or process.name.startswith("relay") and process.name != SHARED[1]


def move(process: Process, core: str) -> None:
    """All threads of a process, and what they start, to a core."""
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        with suppress(ProcessLookupError):  # one that has just ended
            os.sched_setaffinity(int(thread.name), {int(core)})


def nginx_config(folder: Path, port: dict[str, int], tls: Path) -> str:
    """A plain proxy as one would tune it: kept connections both ways, nothing logged; streams are not buffered."""
    common = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_read_timeout 600s;"
    proxy = f"proxy_pass http://upstream; {common}"
    verified = f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {tls}/ca.pem; proxy_ssl_name localhost; proxy_ssl_session_reuse on;"
    to_tls = f"proxy_pass https://upstream_tls; {common} {verified}"
    certificate = f"ssl_certificate {tls}/cert.pem; ssl_certificate_key {tls}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;"
    kept = "keepalive 8192; keepalive_requests 1000000000;"
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""
daemon off; master_process off; worker_rlimit_nofile 20000; error_log {folder}/error.log warn; pid {folder}/pid;
events {{ worker_connections 19000; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 64m;
  client_body_buffer_size 2m; {temporary}
  upstream upstream {{ server 127.0.0.1:{port["upstream"]}; {kept} }}
  upstream upstream_tls {{ server 127.0.0.1:{port["upstream_tls"]}; {kept} }}
  server {{ listen 127.0.0.1:{port["nginx"]} backlog=4096; location / {{ {proxy} }} }}
  server {{ listen 127.0.0.1:{port["nginx_stream"]} backlog=4096; location / {{ {proxy} proxy_buffering off; }} }}
  server {{ listen 127.0.0.1:{port["nginx_to_tls"]} backlog=4096; location / {{ {to_tls} }} }}
  server {{ listen 127.0.0.1:{port["nginx_tls"]} ssl backlog=4096; {certificate} location / {{ {to_tls} }} }}
}}
"""


class Lab:
    def __init__(self, folder: Path, build: Path, nginx: str) -> None:
        self.folder = folder
        self.build = build
        names = ["upstream", "upstream_tls", "sink", "sink_ops", "rpc", "rpc_ops", "nginx", "nginx_stream", "nginx_to_tls", "nginx_tls"]
        names += [f"{name}{use}" for name in OTHER_RELAYS for use in ("", "_grpc", "_ops")]
        self.port = dict(zip(names, free_ports(len(names))))
        self.tls = folder / "bench-tls"
        Authority(self.tls).issue(self.tls / "cert.pem", self.tls / "key.pem")
        settings = {"USAGE_TARGET": f"127.0.0.1:{self.port['sink']}", "UPSTREAM_CA_FILE": str(self.tls / "ca.pem")}
        self.suite = Suite(folder, build, {**RELAY_SETTINGS, **settings}, tls=False)
        for name in ("usage", "openai", "librechat"):
            del self.suite.processes[name]
        self._write_routes()
        self._add_bench_processes(nginx)
        self._add_other_relays()
        for process in self.suite.processes.values():
            process.command = ["taskset", "-c", MEASURED_CORE if is_measured(process) else OTHER_CORE, *process.command]
        self.variants: dict[str, Variant] = {}
        self.defaults: Variant
        self.to_tls: dict[str, Variant] = {}  # the same, with TLS to the upstream
        self.all_tls: dict[str, Variant] = {}  # and with TLS to the caller too
        self.by_curl: dict[str, Variant] = {}  # the relay with libcurl as its transport
        self.shared: dict[str, Variant] = {}  # a relay, and two at one port
        self.translated: dict[str, Variant] = {}  # the relay between two dialects
        self._named: dict[str, Variant] = {}  # by what runs
        self.key = ""

    def _write_routes(self) -> None:
        plain = f"http://127.0.0.1:{self.port['upstream']}/v1"
        common = {"kind": "openai", "credential": "env:RELAY_CREDENTIAL_SCRIPTED"}
        self.suite.write_relay_config(
            [
                {"name": "bench", "baseUrl": plain, **common},
                {"name": "bench-tls", "baseUrl": f"https://localhost:{self.port['upstream_tls']}/v1", **common},
                {"name": "bench-curl", "baseUrl": plain, "transport": "curl", **common},
                {"name": "bench-anthropic", "kind": "anthropic", "baseUrl": plain, "credential": "env:RELAY_CREDENTIAL_ANTHROPIC"},
                {"name": "bench-google", "kind": "google", "baseUrl": plain + "beta", "credential": "env:RELAY_CREDENTIAL_GOOGLE"},
            ],
            [
                {"model": "gpt-*", "targets": [{"provider": "bench"}], "listedModels": ["gpt-4o-mini"]},
                {"model": f"{TLS_MODEL}*", "targets": [{"provider": "bench-tls"}]},
                {"model": f"{CURL_MODEL}*", "targets": [{"provider": "bench-curl"}]},
                {"model": "claude-*", "targets": [{"provider": "bench-anthropic"}]},
                {"model": "gemini-*", "targets": [{"provider": "bench-google"}]},
            ],
        )

    def _add(self, name: str, command: list[str], env: dict[str, str] | None = None) -> Process:
        process = Process(name, command, self.folder / "log" / f"{name}.log", env)
        self.suite.processes[name] = process
        return process

    def _add_bench_processes(self, nginx: str) -> None:
        tools = self.build / "bin"
        upstream = [str(tools / "bench_upstream"), "--listen", f"127.0.0.1:{self.port['upstream']}"]
        upstream += ["--tls-listen", f"127.0.0.1:{self.port['upstream_tls']}"]
        self._add("upstream", [*upstream, "--cert", str(self.tls / "cert.pem"), "--key", str(self.tls / "key.pem")])
        self._add(
            "sink",
            [str(tools / "bench_sink"), "--listen", f"127.0.0.1:{self.port['sink']}", "--ops", f"127.0.0.1:{self.port['sink_ops']}"],
        )
        echo = [str(tools / "bench_rpc_echo"), "--listen", f"127.0.0.1:{self.port['rpc']}"]
        self._add("rpc-echo", [*echo, "--ops", f"127.0.0.1:{self.port['rpc_ops']}"])
        home = self.folder / "nginx"
        home.mkdir()
        config = home / "nginx.conf"
        config.write_text(nginx_config(home, self.port, self.tls))
        self._add("nginx", [nginx, "-p", str(home), "-e", str(home / "error.log"), "-c", str(config)])

    def _add_other_relays(self) -> None:
        """More relays, each the same but for one setting, its addresses and its folders."""
        relay = self.suite.processes["relay"]
        certificate = {"LISTEN_TLS_CERT_FILE": str(self.tls / "cert.pem"), "LISTEN_TLS_KEY_FILE": str(self.tls / "key.pem")}
        shared = {"LISTEN": f"127.0.0.1:{self.port[SHARED[0]]}", "LISTEN_SHARED": "true"}
        others = {"relay-tls": certificate, "relay-default": DEFAULTS, **{name: shared for name in SHARED}}
        for name, settings in {**STAGES_OFF, **others}.items():
            own = {
                "LISTEN": f"127.0.0.1:{self.port[name]}",
                "GRPC_LISTEN": f"127.0.0.1:{self.port[name + '_grpc']}",
                "OPS_LISTEN": f"127.0.0.1:{self.port[name + '_ops']}",
                "SPOOL_DIR": str(self.folder / f"{name}-spool"),
                "STATE_DIR": str(self.folder / f"{name}-state"),
                **settings,
            }
            self._add(name, relay.command, {**relay.env, **{f"RELAY_{key}": value for key, value in own.items()}})

    # ---- life ----

    def __enter__(self) -> "Lab":
        try:
            self._start()
        except BaseException:
            self.suite.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.suite.stop()

    def _start(self) -> None:
        self.suite.start(only=("upstream", "sink", "rpc-echo", "nginx", "mongo", "redis", "auth", "relay", "admin-gw"))
        eventually(lambda: self.upstream_stats() is not None, "the bench upstream")
        self.key = str(self.suite.make_key(name="bench")["key"])
        for policy in [f"clients/bench-{i}" for i in range(CLIENTS)] + [f"users/{OWNER}"]:
            self.suite.admin("PUT", f"/admin/limits/{policy}", json={"limits": ALL_LIMITS}).raise_for_status()
        self.suite.processes["admin-gw"].stop()
        processes = self.suite.processes
        self.defaults = Variant("relay", self.port["relay-default"], processes["relay-default"])
        self.variants = {
            "direct": Variant("direct", self.port["upstream"], processes["upstream"]),
            "nginx": Variant("nginx", self.port["nginx"], processes["nginx"], self.port["nginx_stream"]),
            "relay": Variant("relay", self.suite.port["relay"], processes["relay"]),
            **{name: Variant(name, self.port[name], processes[name]) for name in STAGES_OFF},
        }
        ca = str(self.tls / "ca.pem")
        nginx, relay = processes["nginx"], processes["relay"]
        self.to_tls = {
            "nginx": Variant("nginx", self.port["nginx_to_tls"], nginx),
            "relay": Variant("relay", self.suite.port["relay"], relay, model=TLS_MODEL),
        }
        self.all_tls = {
            "nginx": Variant("nginx", self.port["nginx_tls"], nginx, ca=ca),
            "relay": Variant("relay", self.port["relay-tls"], processes["relay-tls"], ca=ca, model=TLS_MODEL),
        }
        relay_port = self.suite.port["relay"]
        self.translated = {name: Variant("relay", relay_port, relay, model=model, messages=m) for name, (model, m) in TRANSLATED.items()}
        self.by_curl = {"nginx": self.variants["nginx"], "relay": Variant("relay", self.suite.port["relay"], relay, model=CURL_MODEL)}
        first, second = (processes[name] for name in SHARED)
        alone = Variant("relay-one", self.port[SHARED[0]], first)
        self.shared = {"relay-one": alone, "relay": replace(alone, name="relay", second=second)}
        self._named = {v.process.name: v for v in (*self.variants.values(), self.all_tls["relay"], self.defaults)}
        for variants in (self.variants, self.to_tls, self.all_tls, self.by_curl, self.translated):
            for variant in variants.values():
                if variant.process.is_running:
                    self._await_answer(variant)

    def ask(self, variant: Variant, key: str) -> httpx.Response:
        body = {"model": variant.model, "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
        path = "/v1/messages" if variant.messages else "/v1/chat/completions"
        url = f"{'https' if variant.ca else 'http'}://localhost:{variant.port}{path}"
        trust = ssl.create_default_context(cafile=variant.ca) if variant.ca else NO_TLS
        return httpx.post(url, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=5, verify=trust)

    def ask_at_once(self, variant: Variant, keys: list[str]) -> None:
        """One request with each key, sent faster than they are answered: what is asked for them goes out together."""
        body = json.dumps({"model": variant.model, "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        requests = [f"{head}Authorization: Bearer {key}\r\n\r\n{body}".encode() for key in keys]
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.create_connection(("localhost", variant.port), timeout=30)) for _ in keys]
            for connection, request in zip(sockets, requests):
                connection.sendall(request)
            for connection in sockets:
                answer = HTTPResponse(connection)
                answer.begin()
                answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"one of {len(keys)} requests that were sent at once was answered {answer.status}")

    def _await_answer(self, variant: Variant) -> None:
        eventually(lambda: self.ask(variant, self.key).status_code == 200, f"an answer of {variant}", 30)

    def restart(self, name: str) -> None:
        """A process as it is after its start, for tests of memory."""
        self.suite.processes[name].stop()
        self.suite.processes[name].start()
        self._await_answer(self.variants[name])

    @contextmanager
    def running(self, *names: str) -> Iterator[None]:
        """Relays that run for one test only: an idle one has its turns too, beside what is measured."""
        for name in names:
            self.suite.processes[name].start()
        try:
            for name in names:
                url = f"http://127.0.0.1:{self.port[name + '_ops']}/readyz"
                eventually(lambda: httpx.get(url, timeout=5).status_code == 200, f"{name} to be ready", 30)
                if name in self._named:
                    self._await_answer(self._named[name])
            yield
        finally:
            for name in names:
                self.suite.processes[name].stop()

    def import_keys(self, count: int, limits: dict[str, int] | None = None, owned: bool = False) -> Path:
        """
        Makes that many API keys, as an operator would in bulk; a file with one a line. Argon2id, 30 ms each, is left out: a
        relay never asks for it, auth compares the verifiers. `owned`: by clients and an owner that have limits themselves.
        """
        kind = f"{count}{'-limited' if limits else ''}"
        wanted, made, keys = (self.folder / f"{kind}-{name}" for name in ("keys.jsonl", "made.jsonl", "keys.txt"))
        lines = ({"name": f"bench {i}", "limits": limits or {}} for i in range(count))
        owners = ({"clientId": f"bench-{i % CLIENTS}", "userId": OWNER} if owned else {} for i in range(count))
        wanted.write_text("".join(json.dumps({**line, **owner}) + "\n" for line, owner in zip(lines, owners)))
        auth = self.suite.processes["auth"]
        subprocess.run([str(self.build / "bin" / "auth"), "import", str(wanted), "--no-argon2", "--out", str(made)], env=auth.env, check=True)
        keys.write_text("".join(json.loads(line)["key"] + "\n" for line in made.read_text().splitlines()))
        return keys

    # ---- the ledger ----

    @contextmanager
    def ledger_use(self) -> Iterator[dict[str, float]]:
        """What the ledgers asked Redis for meanwhile: filled in at the end."""
        use: dict[str, float] = {}
        before = self._ledger_counts()
        yield use
        each = {name: after - before[name] for name, after in self._ledger_counts().items()}
        use["commands_each"] = each["commands"] / max(each["requests"], 1)
        use["statements_each"] = each["statements"] / max(each["requests"], 1)
        # CPU of all that Redis did meanwhile, reading and answering too.
        use["redis_us_command"] = each["redis_us"] / max(each["calls"], 1)
        use["redis_us_statement"] = each["redis_us"] / max(each["statements"], 1)

    def _ledger_counts(self) -> dict[str, float]:
        redis = self.suite.redis()
        calls = redis.info("commandstats").get("cmdstat_fcall", {"calls": 0})["calls"]
        cpu = redis.info("cpu")
        redis_us = 1e6 * (cpu["used_cpu_user_main_thread"] + cpu["used_cpu_sys_main_thread"])
        names = {"requests": "relay_requests_total", "commands": "relay_ledger_commands_total", "statements": "relay_ledger_statements_total"}
        counts = {short: self.relay_metric(name) for short, name in names.items()}
        return {**counts, "calls": calls, "redis_us": redis_us}

    def await_something_held(self) -> None:
        """Until the relay says what it holds since limits were asked of it: it says so once a second."""
        eventually(lambda: self.relay_metric("relay_ledger_positions") > 0, "positions")

    def await_nothing_held(self) -> None:
        """Until the relay has given back all that it held of limits, as it does when a key is not asked with."""
        eventually(lambda: self.relay_metric("relay_ledger_positions") == 0, "all positions given back", 120)

    # ---- load ----

    def leave_core_to(self, measured: Process) -> None:
        """Whatever else may be measured goes to the other core meanwhile."""
        for process in self.suite.processes.values():
            if process.is_running and is_measured(process):
                move(process, MEASURED_CORE if process is measured else OTHER_CORE)

    def load(self, kind: str, variant: Variant, **flags: Any) -> dict[str, Any]:
        """One run of the load generator; a flag that is True stands alone. What the relay recorded is drained afterwards."""
        with self.start_load(kind, variant, **flags) as process:
            out, err = process.communicate(timeout=float(flags.get("seconds", 5)) + float(flags.get("warmup", 0)) + 120)
        for recording in (variant.process, variant.second):
            if recording and recording.name.startswith("relay"):
                self.drain(recording.name)
        if process.returncode != 0:
            raise RuntimeError(f"bench_load {kind} on {variant.name}: {err.decode()}")
        return dict(json.loads(out))

    def start_load(self, kind: str, variant: Variant, **flags: Any) -> "subprocess.Popen[bytes]":
        command = ["taskset", "-c", OTHER_CORE, str(self.build / "bin" / "bench_load"), kind]
        command += ["--port", str(variant.port_for(kind)), "--watch", str(variant.process.pid)]
        if variant.second:
            command += ["--watch", str(variant.second.pid)]
        if "keys" not in flags:
            command += ["--key", self.key]
        if variant.ca:
            command += ["--ca", variant.ca]
        if variant.messages:
            command += ["--messages"]
        flags = {"model": variant.model, **flags}
        for name, value in flags.items():
            command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    # ---- what the others say ----

    def upstream_stats(self) -> dict[str, int]:
        return dict(httpx.get(f"http://127.0.0.1:{self.port['upstream']}/_stats", timeout=5).json())

    def metric(self, url: str, name: str) -> float:
        text = httpx.get(url, timeout=5).text
        return sum(float(m[1]) for m in re.finditer(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE))

    def relay_metric(self, name: str, relay: str = "relay") -> float:
        port = self.port[relay + "_ops"] if relay in OTHER_RELAYS else self.suite.port["ops_relay"]
        return self.metric(f"http://127.0.0.1:{port}/metrics", name)

    def sink_events(self) -> int:
        return int(self.metric(f"http://127.0.0.1:{self.port['sink_ops']}/metrics", "bench_sink_events_total"))

    def drain(self, relay: str) -> None:
        """Waits until every event of a relay is with the sink."""
        for name in ("relay_spool_open_slots", "relay_spool_waiting_events"):
            eventually(lambda: self.relay_metric(name, relay) == 0, f"{name} of {relay} down to 0", 60)

    # ---- the machine ----

    def cpu(self) -> CpuUse:
        user, nice, system, _, _, _, _, steal = (int(n) / TICK for n in Path("/proc/stat").read_text().split()[1:9])
        own = os.times()
        ours = own.user + own.system + own.children_user + own.children_system
        ours += sum(process_cpu(p.pid) for p in self.suite.processes.values() if p.is_running)
        return CpuUse(user + nice + system, steal, ours)
