"""The demo's own small services as child processes on loopback, without any lapdev around them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import lapdev

APPS = Path(lapdev.__file__).parent / "demo" / "apps"
START_TIMEOUT = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class App:
    """One running service: its process and where it listens."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_listening(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"{self.process.args!r} ended with {self.process.returncode}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert time.monotonic() < deadline, f"{self.process.args!r} does not listen"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)


@dataclass(slots=True)
class Shop:
    """Starts services one by one and stops them all."""

    apps: list[App] = field(default_factory=list)

    def start(self, script: str, *arguments: str, **environment: str) -> App:
        port = free_port()
        env = {**os.environ, "POD_IP": "127.0.0.1", "PORT": str(port), **environment}
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            env.pop(name, None)
            env.pop(name.upper(), None)
        app = App(subprocess.Popen([sys.executable, str(APPS / script), *arguments], env=env), port)
        self.apps.append(app)
        return app

    def stop(self) -> None:
        for app in self.apps:
            app.process.kill()
            app.process.wait()


@contextlib.contextmanager
def shop() -> Iterator[Shop]:
    running = Shop()
    try:
        yield running
    finally:
        running.stop()


def whole_shop(running: Shop, links_file: Path) -> App:
    """The four services wired to each other; returns the web page's."""
    redis = running.start("start_redis.py")
    search = running.start("start_search.py")
    api = running.start(
        "api.py", SEARCH_URL=search.url, REDIS_URL=f"redis://127.0.0.1:{redis.port}/0"
    )
    web = running.start("web.py", str(links_file), API_URL=api.url)
    for app in running.apps:
        app.wait_listening()
    return web
