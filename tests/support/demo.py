"""`lapdev demo` as a child process, and whether it left anything behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lapdev.demo.checks.processes import descendants

START_TIMEOUT = 120.0
STOP_TIMEOUT = 40.0


@dataclass(slots=True)
class Demo:
    """A running demo."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]
    """Its one line of JSON."""

    def stop(self, number: signal.Signals) -> int:
        """The exit code after that signal."""
        self.process.send_signal(number)
        return self.process.wait(STOP_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a demo may leave something: a folder of its own for each kind."""

    temporary: Path
    runtime: Path

    def left(self) -> list[str]:
        return sorted(
            path.name for place in (self.temporary, self.runtime) for path in place.iterdir()
        )


@contextmanager
def places() -> Iterator[Places]:
    """Empty folders with short names: socket paths have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ld-", dir="/tmp") as folder:
        found = Places(Path(folder) / "t", Path(folder) / "r")
        found.temporary.mkdir()
        found.runtime.mkdir(mode=0o700)
        yield found


def start(where: Places, *words: str) -> subprocess.Popen[str]:
    """`lapdev demo` with its temporary files in `where`."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LAPDEV_")}
    environ |= {"TMPDIR": str(where.temporary), "XDG_RUNTIME_DIR": str(where.runtime)}
    return subprocess.Popen(
        [sys.executable, "-m", "lapdev", "demo", *words],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(where: Places, *words: str) -> Iterator[Demo]:
    """A demo that is up; killed at the end if the test did not stop it."""
    process = start(where, "--json", "--listen", "127.0.0.1:0", *words)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"the demo ended with {process.wait(STOP_TIMEOUT)} before it was ready"
        yield Demo(process, json.loads(line))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


def all_processes(demo: Demo) -> frozenset[int]:
    """The demo's process and everything below it."""
    return descendants(demo.process.pid) | {demo.process.pid}
