"""`lapdev serve --role all` as a child process, the REST API of it, and what it left behind.

Every process it starts, pods included, inherits a HOME that no other process has: by that they are
found, whoever their parent is.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lapdev.sidecar.fork_server import PROCESS_NAME
from tests.support.needs import PROJECT

STEP_TIMEOUT = 60.0
LOOK_INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


@dataclass(slots=True)
class ServerProcess:
    """One server's folder and, while it runs, its process."""

    folder: Path
    flags: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    token: str = ""
    port: int = 0
    extra: dict[str, str] = field(default_factory=dict)
    cgroups_before: frozenset[str] = field(default_factory=lambda: ownerless_cgroups())  # noqa: PLW0108 - defined below

    @property
    def environ(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAPDEV_", "XDG_"))}
        home = self.folder / "home"
        return kept | {"HOME": str(home), "XDG_RUNTIME_DIR": str(self.folder / "r")} | self.extra

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """It serves: on the same port as before, if it ran before."""
        for name in ("home", "r"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        ready, ready_end = os.pipe()
        command = [sys.executable, "-P", "-m", "lapdev", "serve", "--role", "all"]
        command += ["--listen", f"127.0.0.1:{self.port}", "--data-dir", str(self.data_dir)]
        command += ["--ready-fd", str(ready_end), "--log-level", "warning", *self.flags]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=PROJECT / "docs" / "examples",
                env=self.environ,
                pass_fds=(ready_end,),
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        os.close(ready_end)
        with os.fdopen(ready, "rb") as pipe:
            assert pipe.readline() == b"ready\n", self.log()
        client = json.loads((self.data_dir / "client.json").read_text())
        self.url, self.token = client["server"], Path(client["token_file"]).read_text().strip()
        self.port = int(self.url.rpartition(":")[2])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """It has ended; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(STEP_TIMEOUT)
        self.process = None
        return code

    def log(self) -> str:
        return (self.folder / "log").read_text()

    # What a user does

    def api(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an API call that must succeed."""
        answer = self.get(
            f"{self.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.body}"
        return json.loads(answer.body) if answer.body else None

    def get(self, url: str, **request: Any) -> Answer:
        """One request; preview hosts are reached at the server's own address."""
        parts = urllib.parse.urlsplit(url)
        host = parts.netloc
        direct = parts._replace(netloc=f"127.0.0.1:{self.port}").geturl()
        made = urllib.request.Request(direct, **request)
        made.add_header("Host", host)
        try:
            with urllib.request.urlopen(made, timeout=STEP_TIMEOUT) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read().decode())
        except urllib.error.HTTPError as exc:
            return Answer(exc.code, dict(exc.headers), exc.read().decode())

    def lapdev(self, *words: str, code: int = 0, cwd: Path | None = None) -> str:
        """Standard output of a command that must end with `code`."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "lapdev", *words],
            env=self.environ
            | {
                "LAPDEV_SERVER": self.url,
                "LAPDEV_TOKEN_FILE": str(self.data_dir / "bootstrap-token"),
            },
            cwd=cwd or self.folder,
            capture_output=True,
            text=True,
            timeout=STEP_TIMEOUT * 3,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Until the condition holds; an answer that does not come yet counts as not yet."""
        deadline = time.monotonic() + STEP_TIMEOUT
        last: object = None
        while time.monotonic() < deadline:
            try:
                last = condition()
                if last:
                    return
            except (OSError, AssertionError, ValueError) as exc:
                last = exc
            time.sleep(LOOK_INTERVAL)
        raise AssertionError(f"{what}: not within {STEP_TIMEOUT} s: {last!r}\n{self.log()[-3000:]}")

    def wait_ready(self, name: str) -> dict[str, Any]:
        self.wait(lambda: self._status(name) == "ready", f"{name} is ready")
        found: dict[str, Any] = self.api("GET", f"/environments/{name}")
        return found

    def _status(self, name: str) -> str:
        found = self.api("GET", f"/environments/{name}")
        if found["status"] == "failed":
            raise RuntimeError(f"{name} failed: {found['detail']}")
        return str(found["status"])

    # What is left

    def processes(self) -> dict[int, str]:
        """Every live process of this server, by its HOME: pid → command line."""
        mark = f"HOME={self.folder / 'home'}\0".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if mark in (entry / "environ").read_bytes() + b"\0":
                        words = (entry / "cmdline").read_bytes().split(b"\0")
                        found[int(entry.name)] = b" ".join(words).decode(errors="replace")
                except OSError:
                    continue  # it has just ended, or is not ours to look at
        return found

    def of_role(self, role: str) -> list[int]:
        found = [pid for pid, line in self.processes().items() if f"--role {role}" in line]
        return [pid for pid in found if role != "sidecar" or named(pid) == PROCESS_NAME]

    def left(self) -> dict[str, Sequence[object]]:
        """What is there of a server that has ended: nothing, in every list."""
        return {
            "processes": list(self.processes().items()),
            "namespaces": namespaces_held_by(self.processes()),
            "mounts": [line for line in mounts() if str(self.folder) in line],
            "addresses": [line for line in addresses() if re.search(r"inet 198\.1[89]\.", line)],
            "sockets": [line for line in unix_sockets() if str(self.folder) in line],
            "runtime": sorted(path.name for path in (self.folder / "r").glob("*")),
            "cgroups": sorted(ownerless_cgroups() - self.cgroups_before),
        }

    def nothing_left(self) -> bool:
        return not any(self.left().values())


def namespaces_held_by(pids: Iterator[int] | dict[int, str]) -> list[str]:
    own = Path("/proc/self/ns/net").readlink()
    found = set()
    for pid in pids:
        try:
            found.add(Path(f"/proc/{pid}/ns/net").readlink())
        except OSError:
            continue
    return sorted(str(name) for name in found - {own})


def named(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def unix_sockets() -> list[str]:
    return Path("/proc/net/unix").read_text().splitlines()


def addresses() -> list[str]:
    """This machine's own, as the kernel lists them."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    return [f"inet {line.split()[-1]}" for line in lines if "|--" in line]


def ownerless_cgroups() -> frozenset[str]:
    """Groups of managers that have ended: `lapdev-<process id>-<start>`, see cluster.cgroups."""
    found = Path("/sys/fs/cgroup").rglob("lapdev-[0-9]*-[0-9]*")
    return frozenset(
        str(path) for path in found if not Path("/proc", path.name.split("-")[1]).exists()
    )


@contextmanager
def server_process(*flags: str) -> Iterator[ServerProcess]:
    """A server that serves; at the end it and all it started are killed."""
    with tempfile.TemporaryDirectory(prefix="ld-", dir="/tmp") as folder:
        server = ServerProcess(Path(folder), flags)
        server.start()
        try:
            yield server
        finally:
            if server.process is not None:
                server.process.kill()
                server.process.wait()
                server.wait(lambda: not server.processes(), "every process ends with its server")
