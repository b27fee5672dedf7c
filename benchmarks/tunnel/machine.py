"""Processes of a measurement: where they run, on which core, and what they have cost.

Tunnel ends share one core, load and backend the other: what one costs does not slow the other
down, and a program with many threads gets no more than one without.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.tunnel.peers import find
from lapdev.demo.checks.processes import descendants

PROJECT = Path(__file__).resolve().parents[2]
ENDS_CPU = 0
LOAD_CPU = 1
STOP_TIMEOUT = 10.0
READY_TIMEOUT = 30.0


class MeasurementError(Exception):
    """The measurement counts for nothing, and why."""


class Place(Protocol):
    """Where a process runs: this machine's own network, or one end of a packet path."""

    @property
    def address(self) -> str: ...
    def command(self, arguments: list[str]) -> list[str]: ...
    def entered(self) -> AbstractContextManager[None]: ...


@dataclass(frozen=True, slots=True)
class Here:
    """This machine's own network."""

    address: str = "127.0.0.1"

    def command(self, arguments: list[str]) -> list[str]:
        return arguments

    @contextmanager
    def entered(self) -> Iterator[None]:
        yield


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, all different."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return found


@dataclass(slots=True)
class Started:
    """Child processes, ended in reverse order when the block is left."""

    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(
        self,
        place: Place,
        arguments: list[str],
        *,
        cpu: int,
        urgent: bool = False,
        piped: bool = False,
        asking: bool = False,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """A process on that core. `urgent` ones never wait for the others that share it."""
        pinned = [find("taskset"), "-c", str(cpu), *arguments]
        if urgent:
            pinned = [find("chrt"), "-f", "10", *pinned]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                place.command(pinned),
                cwd=PROJECT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE if asking else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def stop(self) -> None:
        while self.processes:
            process = self.processes.pop()
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def check(self) -> None:
        """Every process still runs.

        Raises:
            MeasurementError: one has ended; shows what it wrote.
        """
        for process in self.processes:
            if process.poll() is not None:
                raise MeasurementError(
                    f"{process.args!r} ended with {process.returncode}:\n"
                    + self.log.read_text(errors="replace")[-2000:]
                )


@contextmanager
def started(log: Path) -> Iterator[Started]:
    found = Started(log)
    try:
        yield found
    finally:
        found.stop()


def python(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


def family(processes: list[subprocess.Popen[bytes]]) -> list[int]:
    """The processes and all that they have started."""
    return [pid for one in processes for pid in (one.pid, *descendants(one.pid))]


def cpu_seconds(pids: list[int]) -> float:
    """User and system time that these processes have had, threads that ended included."""
    # clock_getcpuclockid(3) of the C library makes the same number.
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def memory_kib(pids: list[int]) -> dict[str, int]:
    """VmRSS and proportional set size of these processes together."""
    rss = pss = 0
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        rss += int(status.split("VmRSS:")[1].split()[0])
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss += int(rollup.split("\nPss:")[1].split()[0])
    return {"rss": rss, "pss": pss}
