"""One tunnel set up between its backends and its load, and the measurements taken on it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tunnel.contestants import Contestant, Keys, Site
from benchmarks.tunnel.loads import REQUEST
from benchmarks.tunnel.machine import (
    LOAD_CPU,
    READY_TIMEOUT,
    MeasurementError,
    Place,
    Started,
    cpu_seconds,
    family,
    free_ports,
    memory_kib,
    python,
    started,
)
from benchmarks.tunnel.peers import find

MEMORY = "/dev/shm"
BULK_BYTES = 1 << 40
LOADS = "benchmarks.tunnel.loads"
NGINX = """\
worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; default_type text/plain;
  sendfile on; sendfile_max_chunk 128k;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen {address} backlog=4096;
    location / {{ return 200 "hello world, this is a small body\\n"; }}
    location /bulk {{ alias {bulk}; }}
  }}
}}
"""


@dataclass(slots=True)
class Stand:
    """Ready to be measured."""

    started: Started
    near: Place
    backend: subprocess.Popen[bytes]
    ends: list[subprocess.Popen[bytes]]
    """Empty where there is no tunnel."""
    visit: str
    """HOST:PORT of the backend, from the near end."""

    def requests(self, connections: int, seconds: float) -> dict[str, float]:
        """wrk with keep-alive connections; CPU of both ends per request."""
        url = f"http://{self.visit}/"
        command = [find("wrk"), "-t1", f"-c{connections}", "--latency"]
        self._finish(self._load([*command, "-d1s", url]))  # warms up
        pids = family(self.ends)
        before = cpu_seconds(pids)
        told = self._finish(self._load([*command, f"-d{max(int(seconds), 1)}s", url]))
        used = cpu_seconds(pids) - before
        if "Non-2xx" in told or "Socket errors" in told:
            raise MeasurementError(" ".join(re.findall(r"(Socket errors.*|Non-2xx.*)", told)))
        count = int(re.findall(r"(\d+) requests in", told)[0])
        found = {"req/s": float(re.findall(r"Requests/sec:\s+([\d.]+)", told)[0])}
        found["p99 ms"] = _milliseconds(re.findall(r"99%\s+(\S+)", told)[0])
        if pids:
            found["CPU µs/req"] = used / count * 1e6
        return found

    def transfer(self, streams: int, seconds: float, warm: float = 1.0) -> dict[str, float]:
        """Bulk from the far end; CPU of both ends per byte."""
        arguments = ["--streams", streams, "--seconds", seconds, "--warm", warm]
        load = self._load(python(LOADS, "sink", self.visit, *arguments))
        self._line(load)
        pids = family(self.ends)
        before = cpu_seconds(pids)
        counted = self._line(load)
        used = cpu_seconds(pids) - before
        self._finish(load)
        megabytes = float(counted["octets"]) / 1e6
        found = {"MB/s": megabytes / counted["seconds"]}
        if pids:
            found["MB/CPU s"] = megabytes / used
        if streams > 1:
            found["least/most"] = counted["least"] / max(counted["most"], 1)
        return found

    def beside_bulk(self, seconds: float) -> dict[str, float]:
        """Round trips of small requests alone, and beside one unlimited stream.

        Who asks and who answers never waits for the core that it shares with the bulk.
        """
        os.sched_setscheduler(self.backend.pid, os.SCHED_FIFO, os.sched_param(10))
        alone = self._probe(seconds)
        arguments = ["--seconds", seconds + 3.0, "--warm", 0.5]
        load = self._load(python(LOADS, "sink", self.visit, *arguments))
        self._line(load)
        beside = self._probe(seconds)
        counted = self._line(load)
        self._finish(load)
        return {
            "p50 ms": alone["p50"] / 1e3,
            "p99 ms": alone["p99"] / 1e3,
            "p50 beside": beside["p50"] / 1e3,
            "p99 beside": beside["p99"] / 1e3,
            "p99 grows": beside["p99"] / alone["p99"],
            "bulk MB/s": counted["octets"] / counted["seconds"] / 1e6,
        }

    def memory(self) -> dict[str, float]:
        """RSS of the two ends together, MiB."""
        return {"RSS MiB": memory_kib(family(self.ends))["rss"] / 1024}

    # Inside

    def _probe(self, seconds: float) -> dict[str, float]:
        command = python(LOADS, "prober", self.visit, "--seconds", seconds)
        load = self.started.run(self.near, command, cpu=LOAD_CPU, urgent=True, piped=True)
        found = self._line(load)
        self._finish(load)
        return found

    def _load(self, command: list[str]) -> subprocess.Popen[bytes]:
        return self.started.run(self.near, command, cpu=LOAD_CPU, piped=True)

    def _line(self, load: subprocess.Popen[bytes]) -> dict[str, float]:
        assert load.stdout is not None
        line = load.stdout.readline()
        if not line:
            raise MeasurementError(self.started.log.read_text(errors="replace").strip()[-300:])
        found: dict[str, float] = json.loads(line)
        return found

    def _finish(self, load: subprocess.Popen[bytes]) -> str:
        told, _ = load.communicate()
        self.started.processes.remove(load)
        if load.returncode:
            raise MeasurementError(self.started.log.read_text(errors="replace").strip()[-300:])
        return told.decode()


def _milliseconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if found is None:
        raise MeasurementError(f"no answer: wrk told {text}")
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[found[2]]


def _start_backend(
    running: Started, folder: Path, far: Place, address: str
) -> subprocess.Popen[bytes]:
    """nginx: a small answer, and one that never ends (a file in memory that is all hole)."""
    bulk = folder / "bulk"
    with bulk.open("wb") as file:
        file.truncate(BULK_BYTES)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, address=address, bulk=bulk))
    nginx = [find("nginx"), "-c", str(config), "-p", str(folder), "-e", "stderr"]
    return running.run(far, nginx, cpu=LOAD_CPU)


@contextmanager
def stand(contestant: Contestant | None, near: Place, far: Place, keys: Keys) -> Iterator[Stand]:
    """The tunnel with backends behind it, ready; without a contestant, the backends alone."""
    with (
        tempfile.TemporaryDirectory(prefix="ld-bench-", dir=MEMORY) as name,
        started(Path(name) / "log") as running,
    ):
        folder = Path(name)
        port, behind, visit = free_ports(3)
        host = "127.0.0.1" if contestant else far.address
        backend = _start_backend(running, folder, far, f"{host}:{behind}")
        ends: list[subprocess.Popen[bytes]] = []
        if contestant is None:
            visit = behind
        else:
            ends += contestant.start(Site(running, folder, near, far, port, visit, behind, keys))
        found = Stand(running, near, backend, ends, f"{host}:{visit}")
        _wait_ready(found, (host, visit))
        yield found


def _wait_ready(found: Stand, address: tuple[str, int]) -> None:
    """An octet comes back through the tunnel."""
    deadline = time.monotonic() + READY_TIMEOUT
    while True:
        found.started.check()
        try:
            with found.near.entered(), socket.create_connection(address, timeout=2.0) as sock:
                sock.sendall(REQUEST)
                if sock.recv(1):
                    return
        except OSError as exc:
            if time.monotonic() > deadline:
                log = found.started.log.read_text(errors="replace")
                raise MeasurementError(f"not ready: {exc}: {log[-250:]}") from exc
        time.sleep(0.1)
