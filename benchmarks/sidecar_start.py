"""A sidecar's start and size: from the start of the process to the first byte it serves, and what
it holds while idle, beside a bare interpreter that only imports the same libraries.

The process is the production one (`lapdev serve --role sidecar`), with log and metrics on, in front
of an app on loopback, without a manager: proxying needs none.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lapdev.cluster.driver import SidecarLaunch
from lapdev.model import EnvironmentId, Protocol, SidecarIdentity, SidecarPort

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
LIBRARIES = "import asyncio, uvloop, msgpack, structlog, websockets.client, websockets.server"


@contextmanager
def _app() -> Iterator[int]:
    """The port of an app that answers every request with two bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while connection.recv(65536):
                    connection.sendall(ANSWER)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _launch(app_port: int, folder: str) -> SidecarLaunch:
    identity = SidecarIdentity("bench", EnvironmentId("b" * 16), "bench", "app", "app-1")
    port = SidecarPort(_free_port(), 80, app_port, "app", Protocol.HTTP)
    return SidecarLaunch(
        identity,
        (port,),
        manager=f"unix:{folder}/nobody.sock",
        token="benchmark",
        bind_host="127.0.0.1",
        admin=f"unix:{folder}/admin.sock",
    )


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _start_once(app_port: int, folder: str) -> tuple[float, float]:
    """(seconds to the first byte, resident MiB when idle)."""
    launch = _launch(app_port, folder)
    document, sink = os.pipe()
    os.write(sink, json.dumps(dataclasses.asdict(launch)).encode())
    os.close(sink)
    ready, ready_end = os.pipe()
    command = [sys.executable, "-m", "lapdev", "serve", "--role", "sidecar"]
    command += ["--launch-fd", str(document), "--ready-fd", str(ready_end)]
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, pass_fds=(document, ready_end), stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    os.close(document)
    os.close(ready_end)
    try:
        if os.read(ready, 16) != b"ready\n":
            raise SystemExit("the sidecar did not start")
        with socket.create_connection(("127.0.0.1", launch.ports[0].proxy_port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")
            if not client.recv(65536).startswith(b"HTTP/1.1 200"):
                raise SystemExit("the sidecar did not serve")
            seconds = time.perf_counter() - begun
        time.sleep(1.0)  # the tunnel is imported behind the first request
        return seconds, _resident_mib(process.pid)
    finally:
        os.close(ready)
        process.kill()
        process.wait()


def _bare_once() -> tuple[float, float]:
    code = f"{LIBRARIES}\nprint(open('/proc/self/status').read())"
    begun = time.perf_counter()
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return time.perf_counter() - begun, int(said.stdout.split("VmRSS:")[1].split()[0]) / 1024


def _help_once() -> float:
    begun = time.perf_counter()
    command = [sys.executable, "-m", "lapdev", "--help"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def run(rounds: int) -> None:
    """Prints milliseconds and MiB: median, and the spread of the rounds."""
    starts: list[tuple[float, float]] = []
    bare: list[tuple[float, float]] = []
    helps: list[float] = []
    with _app() as port, tempfile.TemporaryDirectory(prefix="lapdev-bench-") as folder:
        _start_once(port, folder)
        _bare_once()
        for _ in range(rounds):
            starts.append(_start_once(port, folder))
            bare.append(_bare_once())
            helps.append(_help_once() * 1e3)
    print(f"\nsidecar_start: {rounds} interleaved starts")
    print(f"{'process':<34}{'median ms':>10}{'min':>8}{'max':>8}{'idle MiB':>10}")
    for name, taken in (
        ("sidecar, to the first byte", starts),
        ("bare interpreter, same libraries", bare),
    ):
        times = [seconds * 1e3 for seconds, _ in taken]
        size = statistics.median(mib for _, mib in taken)
        print(
            f"{name:<34}{statistics.median(times):>10.0f}{min(times):>8.0f}{max(times):>8.0f}"
            f"{size:>10.1f}"
        )
    median = statistics.median(helps)
    print(f"{'lapdev --help':<34}{median:>10.0f}{min(helps):>8.0f}{max(helps):>8.0f}")
