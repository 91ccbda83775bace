"""Everything a benchmark needs, running: the suite with the relay alone on core 0, and on core 1 all that is not measured."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from harness.ports import eventually, free_ports
from harness.process import Process
from harness.suite import TOP, Suite

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


@dataclass(frozen=True)
class Variant:
    """What answers: where, and which process is looked at."""

    name: str
    port: int
    process: Process
    stream_port: int = 0

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


def nginx_config(folder: Path, upstream: int, plain: int, stream: int) -> str:
    """A plain proxy as one would tune it: kept connections both ways, nothing logged; streams are not buffered."""
    proxy = "proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_read_timeout 600s;"
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""
daemon off; master_process off; worker_rlimit_nofile 20000; error_log {folder}/error.log warn; pid {folder}/pid;
events {{ worker_connections 19000; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 64m;
  client_body_buffer_size 2m; {temporary}
  upstream upstream {{ server 127.0.0.1:{upstream}; keepalive 8192; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{plain} backlog=4096; location / {{ {proxy} }} }}
  server {{ listen 127.0.0.1:{stream} backlog=4096; location / {{ {proxy} proxy_buffering off; }} }}
}}
"""


class Lab:
    def __init__(self, folder: Path, build: Path, nginx: str) -> None:
        self.folder = folder
        self.build = build
        names = ["upstream", "sink", "sink_ops", "nginx", "nginx_stream"]
        names += [f"{name}{use}" for name in STAGES_OFF for use in ("", "_grpc", "_ops")]
        self.port = dict(zip(names, free_ports(len(names))))
        self.suite = Suite(folder, build, {**RELAY_SETTINGS, "USAGE_TARGET": f"127.0.0.1:{self.port['sink']}"})
        for name in ("usage", "openai", "librechat"):
            del self.suite.processes[name]
        self._write_routes()
        self._add_bench_processes(nginx)
        self._add_relays_with_stages_off()
        for process in self.suite.processes.values():
            is_measured = process.name == "nginx" or process.name.startswith("relay")
            process.command = ["taskset", "-c", MEASURED_CORE if is_measured else OTHER_CORE, *process.command]
        self.variants: dict[str, Variant] = {}
        self.key = ""

    def _write_routes(self) -> None:
        upstream = f"http://127.0.0.1:{self.port['upstream']}/v1"
        self.suite.write_relay_config(
            [{"name": "bench", "kind": "openai", "baseUrl": upstream, "credential": "env:RELAY_CREDENTIAL_SCRIPTED"}],
            [{"model": "gpt-*", "targets": [{"provider": "bench"}], "listedModels": ["gpt-4o-mini"]}],
        )

    def _add(self, name: str, command: list[str], env: dict[str, str] | None = None) -> Process:
        process = Process(name, command, self.folder / "log" / f"{name}.log", env)
        self.suite.processes[name] = process
        return process

    def _add_bench_processes(self, nginx: str) -> None:
        tools = self.build / "bin"
        self._add("upstream", [str(tools / "bench_upstream"), "--listen", f"127.0.0.1:{self.port['upstream']}"])
        self._add(
            "sink",
            [str(tools / "bench_sink"), "--listen", f"127.0.0.1:{self.port['sink']}", "--ops", f"127.0.0.1:{self.port['sink_ops']}"],
        )
        home = self.folder / "nginx"
        home.mkdir()
        config = home / "nginx.conf"
        config.write_text(nginx_config(home, self.port["upstream"], self.port["nginx"], self.port["nginx_stream"]))
        self._add("nginx", [nginx, "-p", str(home), "-e", str(home / "error.log"), "-c", str(config)])

    def _add_relays_with_stages_off(self) -> None:
        """More relays, each the same but for one setting, its addresses and its folders."""
        relay = self.suite.processes["relay"]
        for name, settings in STAGES_OFF.items():
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
        self.suite.start(only=("upstream", "sink", "nginx", "mongo", "redis", "auth", "relay", "admin-gw", *STAGES_OFF))
        eventually(lambda: self.upstream_stats() is not None, "the bench upstream")
        self.key = str(self.suite.make_key(name="bench")["key"])
        self.suite.processes["admin-gw"].stop()
        processes = self.suite.processes
        self.variants = {
            "direct": Variant("direct", self.port["upstream"], processes["upstream"]),
            "nginx": Variant("nginx", self.port["nginx"], processes["nginx"], self.port["nginx_stream"]),
            "relay": Variant("relay", self.suite.port["relay"], processes["relay"]),
            **{name: Variant(name, self.port[name], processes[name]) for name in STAGES_OFF},
        }
        for variant in self.variants.values():
            eventually(lambda: self._answers(variant), f"an answer of {variant.name}")

    def _answers(self, variant: Variant) -> bool:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
        url = f"http://127.0.0.1:{variant.port}/v1/chat/completions"
        return httpx.post(url, json=body, headers={"Authorization": f"Bearer {self.key}"}, timeout=5).status_code == 200

    def restart(self, name: str) -> None:
        """A process as it is after its start, for tests of memory."""
        self.suite.processes[name].stop()
        self.suite.processes[name].start()
        if name == "relay":
            self.suite.await_ready("relay")
        eventually(lambda: self._answers(self.variants[name]), f"an answer of {name}")

    # ---- load ----

    def load(self, kind: str, variant: Variant, **flags: Any) -> dict[str, Any]:
        """One run of the load generator; a flag that is True stands alone. What the relay recorded is drained afterwards."""
        with self.start_load(kind, variant, **flags) as process:
            out, err = process.communicate(timeout=float(flags.get("seconds", 5)) + float(flags.get("warmup", 0)) + 120)
        self.drain()
        if process.returncode != 0:
            raise RuntimeError(f"bench_load {kind} on {variant.name}: {err.decode()}")
        return dict(json.loads(out))

    def start_load(self, kind: str, variant: Variant, **flags: Any) -> "subprocess.Popen[bytes]":
        command = ["taskset", "-c", OTHER_CORE, str(self.build / "bin" / "bench_load"), kind]
        command += ["--port", str(variant.port_for(kind)), "--watch", str(variant.process.pid)]
        if "keys" not in flags:
            command += ["--key", self.key]
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
        port = self.port[relay + "_ops"] if relay in STAGES_OFF else self.suite.port["ops_relay"]
        return self.metric(f"http://127.0.0.1:{port}/metrics", name)

    def sink_events(self) -> int:
        return int(self.metric(f"http://127.0.0.1:{self.port['sink_ops']}/metrics", "bench_sink_events_total"))

    def drain(self) -> None:
        """Waits until every event is with the sink."""
        for relay in ("relay", *STAGES_OFF):
            for name in ("relay_spool_open_slots", "relay_spool_waiting_events"):
                eventually(lambda: self.relay_metric(name, relay) == 0, f"{name} of {relay} down to 0", 60)

    # ---- the machine ----

    def cpu(self) -> CpuUse:
        user, nice, system, _, _, _, _, steal = (int(n) / TICK for n in Path("/proc/stat").read_text().split()[1:9])
        own = os.times()
        ours = own.user + own.system + own.children_user + own.children_system
        ours += sum(process_cpu(p.pid) for p in self.suite.processes.values() if p.is_running)
        return CpuUse(user + nice + system, steal, ours)
