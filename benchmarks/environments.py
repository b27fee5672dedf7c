"""A personal environment of 100 small pods: how long until it is ready, what it costs, and how soon
a branch of two services on a shared one of that size is ready.

The server is the production one (`lapdev serve --role all`) and every pod is whole: namespaces,
sidecar, Service. The yardstick is the same 100 apps as bare processes, each waited for until it
listens: what the machine needs for the apps alone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lapdev.demo.checks.processes import descendants

PODS = 100
START_TIMEOUT = 300.0
POLL = 0.05
TICKS = os.sysconf("SC_CLK_TCK")
APP = "import http.server as h,sys; h.HTTPServer(('',int(sys.argv[1])),h.SimpleHTTPRequestHandler)"
APP += ".serve_forever()"


def _objects(count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number in range(count):
        name = f"app-{number:03}"
        command = [sys.executable, "-S", "-c", APP, "8080"]
        container = {"name": "app", "image": "app", "command": command}
        container["ports"] = [{"containerPort": 8080}]
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
        spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
        found.append({"kind": "Deployment", "metadata": {"name": name}, "spec": spec})
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        spec = {"selector": {"app": name}, "ports": ports}
        found.append({"kind": "Service", "metadata": {"name": name}, "spec": spec})
    return found


@dataclass(slots=True)
class _Server:
    process: subprocess.Popen[bytes]
    url: str
    token: str

    def call(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=START_TIMEOUT) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def wait_ready(self, name: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while (found := self.call("GET", f"/environments/{name}"))["status"] != "ready":
            if found["status"] == "failed" or time.monotonic() > deadline:
                raise SystemExit(f"{name} is {found['status']}: {found['detail']}")
            time.sleep(POLL)

    def cost(self) -> tuple[float, float, int]:
        """(CPU seconds, proportional MiB, processes) of the server and all it runs."""
        members = [self.process.pid, *descendants(self.process.pid)]
        cpu = memory = 0.0
        for pid in members:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue  # it has just ended
            cpu += sum(map(int, fields[11:15])) / TICKS
            memory += int(rollup.split("\nPss:")[1].split()[0]) / 1024
        return cpu, memory, len(members)


@contextmanager
def _server() -> Iterator[_Server]:
    with tempfile.TemporaryDirectory(prefix="ld-bench-", dir="/tmp") as folder:
        ready, ready_end = os.pipe()
        command = [sys.executable, "-P", "-m", "lapdev", "serve", "--role", "all"]
        command += ["--listen", "127.0.0.1:0", "--data-dir", f"{folder}/data"]
        command += ["--log-level", "error", "--ready-fd", str(ready_end)]
        process = subprocess.Popen(command, pass_fds=(ready_end,), stdin=subprocess.DEVNULL)
        os.close(ready_end)
        try:
            if os.read(ready, 16) != b"ready\n":
                raise SystemExit("the server did not start")
            os.close(ready)
            client = json.loads(Path(f"{folder}/data/client.json").read_text())
            token = Path(client["token_file"]).read_text().strip()
            yield _Server(process, client["server"], token)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _bare() -> float:
    """Seconds until 100 apps that are nothing but processes listen."""
    ports = []
    for _ in range(PODS):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            ports.append(probe.getsockname()[1])
    begun = time.perf_counter()
    command = [sys.executable, "-S", "-c", APP]
    apps = [
        subprocess.Popen([*command, str(port)], stderr=subprocess.DEVNULL, start_new_session=True)
        for port in ports
    ]
    try:
        for port in ports:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.01)
        return time.perf_counter() - begun
    finally:
        for app in apps:
            app.kill()
            app.wait()


def _round() -> dict[str, float]:
    found = {"bare": _bare()}
    with _server() as server:
        before, _, _ = server.cost()
        begun = time.perf_counter()
        body = {"name": "big", "kind": "shared", "manifests": _objects(PODS)}
        server.call("POST", "/environments", body)
        server.wait_ready("big")
        found["ready"] = time.perf_counter() - begun
        cpu, found["memory"], processes = server.cost()
        found["cpu"], found["processes"] = cpu - before, float(processes)

        begun = time.perf_counter()
        server.call("POST", "/environments/big/branches", {"name": "fix"})
        for name in ("app-003", "app-042"):
            patch = {"patch": {"": {"env": {"VERSION": "2"}}}}
            server.call("PUT", f"/environments/fix/workloads/{name}", patch)
        server.wait_ready("fix")
        found["branch"] = time.perf_counter() - begun
        server.call("DELETE", "/environments/fix")

        begun = time.perf_counter()
        server.call("DELETE", "/environments/big")
        found["deleted"] = time.perf_counter() - begun
    return found


def run(rounds: int) -> None:
    """Prints the table. At most three rounds: one takes about a minute."""
    results = [_round() for _ in range(min(rounds, 3))]
    rows = (
        ("ready", f"environment of {PODS} pods ready, s"),
        ("bare", f"the same {PODS} apps as bare processes listen, s"),
        ("cpu", "CPU until ready, s (children that ended included)"),
        ("memory", "memory of all processes (PSS), MiB"),
        ("processes", "processes"),
        ("branch", f"branch of 2 services on it ready, s (looked at every {POLL} s)"),
        ("deleted", "environment deleted, s"),
    )
    print(f"\nenvironments: median (smallest - largest) of {len(results)}")
    for key, title in rows:
        values = sorted(result[key] for result in results)
        spread = f"({values[0]:.2f} - {values[-1]:.2f})"
        print(f"  {title:58} {statistics.median(values):9.2f}  {spread}")
