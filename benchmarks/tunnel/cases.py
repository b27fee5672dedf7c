"""What is measured, in rounds: every contestant once a round, so that what changes on the machine
meanwhile touches all of them."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tunnel.contestants import CONTESTANTS, Contestant, Keys
from benchmarks.tunnel.machine import (
    ENDS_CPU,
    LOAD_CPU,
    Here,
    MeasurementError,
    Place,
    free_ports,
    memory_kib,
    python,
    started,
)
from benchmarks.tunnel.report import DIRECT, Report
from benchmarks.tunnel.stand import Stand, stand
from tests.support.packet_path import ADDRESSES, Conditions, packet_path

Measure = Callable[[Stand], dict[str, float]]

BIG_BUFFERS = "4096 131072 33554432"


@dataclass(frozen=True, slots=True)
class Way:
    """A packet path."""

    name: str
    conditions: Conditions
    mtu: int = 1500
    big_buffers: bool = False


WAYS = (
    Way("no delay, MTU 9000", Conditions(), 9000),
    Way("20 ms round trip", Conditions(delay=0.01)),
    Way("80 ms round trip, MTU 9000", Conditions(delay=0.04), 9000),
    Way("80 ms round trip, MTU 9000, 32 MiB buffers", Conditions(delay=0.04), 9000, True),
    Way("20 ms round trip, 1 % loss", Conditions(delay=0.01, loss=0.01)),
    Way("20 ms round trip, 3 % loss", Conditions(delay=0.01, loss=0.03)),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it."""

    only: re.Pattern[str]
    """Cases whose name it is found in."""
    who: re.Pattern[str]
    """Contestants, likewise."""
    rounds: int
    seconds: float
    """Of one measurement."""
    connections: tuple[int, ...]
    tunnels: int
    ways: tuple[Way, ...]
    ramp: float
    """Seconds of bulk before it is counted on a path with a delay: what grows has grown."""
    congestion: str
    """TCP's congestion control on packet paths; empty: the machine's default."""

    def contestants(self) -> list[Contestant | None]:
        """Those that are wanted, and None for no tunnel at all."""
        return [None, *(one for one in CONTESTANTS if self.who.search(one.name))]


@contextmanager
def _keys() -> Iterator[Keys]:
    with tempfile.TemporaryDirectory(prefix="ld-bench-keys-") as name:
        keys = Keys(Path(name))
        keys.make(["127.0.0.1", *ADDRESSES])
        yield keys


def run(plan: Plan, report: Report, say: Callable[[str], None]) -> None:
    """Fills the report."""
    with _keys() as keys:
        for number in range(plan.rounds):
            say(f"round {number + 1} of {plan.rounds}")
            _loopback(plan, report, keys, say)
            for way in plan.ways:
                if plan.only.search(_case(way)):
                    _path(plan, way, report, keys, seed=number + 1)
                    say(_case(way))
            for tls in (True, False):
                if plan.only.search(f"crowd of {plan.tunnels} tunnels"):
                    try:
                        _crowd(plan, report, keys, tls=tls)
                    except MeasurementError as exc:
                        report.fail("crowd", "wss" if tls else "ws", exc)


def _loopback(plan: Plan, report: Report, keys: Keys, say: Callable[[str], None]) -> None:
    seconds = plan.seconds
    known: dict[str, Measure] = {"memory of both ends, fresh": lambda found: found.memory()}
    for count in plan.connections:
        known[f"requests, {count} connections"] = _requests(count, seconds)
    known["bulk, 1 stream"] = _transfer(1, seconds)
    known["bulk, 16 streams"] = _transfer(16, seconds)
    known["small beside bulk"] = lambda found: found.beside_bulk(seconds)
    known["memory of both ends, after these loads"] = lambda found: found.memory()
    wanted = [(case, measure) for case, measure in known.items() if plan.only.search(case)]
    if not wanted:
        return
    here = Here()
    for contestant in plan.contestants():
        if contestant is not None and contestant.paths_only:
            continue
        _measure(contestant, wanted, (here, here), keys, report)
        say(contestant.name if contestant else DIRECT)


def _requests(connections: int, seconds: float) -> Measure:
    return lambda found: found.requests(connections, seconds)


def _transfer(streams: int, seconds: float, warm: float = 1.0) -> Measure:
    return lambda found: found.transfer(streams, seconds, warm)


def _measure(
    contestant: Contestant | None,
    wanted: Sequence[tuple[str, Measure]],
    places: tuple[Place, Place],
    keys: Keys,
    report: Report,
) -> None:
    name = contestant.name if contestant else DIRECT
    try:
        with stand(contestant, *places, keys) as found:
            for case, measure in wanted:
                if contestant is None and case.startswith("memory"):
                    continue
                try:
                    report.add(case, name, measure(found))
                except MeasurementError as exc:
                    report.fail(case, name, exc)
    except MeasurementError as exc:
        report.fail("set-up", name, exc)


def _case(way: Way) -> str:
    return f"path: {way.name}"


def _path(plan: Plan, way: Way, report: Report, keys: Keys, seed: int) -> None:
    """One stream over packets; without a tunnel it is a raw TCP connection on the same path."""
    warm = plan.ramp if way.conditions.delay else 1.0

    def measure(found: Stand) -> dict[str, float]:
        told = found.transfer(1, plan.seconds, warm)
        return {"Mbit/s": told["MB/s"] * 8}

    for contestant in plan.contestants():
        with packet_path(way.conditions, mtu=way.mtu, seed=seed, cpu=LOAD_CPU) as path:
            for end in (path.near, path.far):
                if plan.congestion:
                    end.set_sysctl("net.ipv4.tcp_congestion_control", plan.congestion)
                if way.big_buffers:
                    end.set_sysctl("net.ipv4.tcp_wmem", BIG_BUFFERS)
                    end.set_sysctl("net.ipv4.tcp_rmem", BIG_BUFFERS)
            congestion = path.near.sysctl("net.ipv4.tcp_congestion_control")
            report.about["congestion control"] = congestion
            _measure(contestant, [(_case(way), measure)], (path.near, path.far), keys, report)


def _crowd(plan: Plan, report: Report, keys: Keys, *, tls: bool) -> None:
    """What idle tunnels cost the cloud, and idle streams: ours only."""
    case = f"crowd of {plan.tunnels} tunnels"
    name = "lapdev wss" if tls else "lapdev ws"
    if not plan.who.search(name):
        return
    here = Here()
    with (
        tempfile.TemporaryDirectory(prefix="ld-bench-") as folder,
        started(Path(folder) / "log") as running,
    ):
        (port,) = free_ports(1)
        address = f"127.0.0.1:{port}"
        secret = ["--cert", keys.certificate, "--key", keys.key] if tls else []
        command = python("benchmarks.tunnel.ends", "cloud", address, *secret)
        cloud = running.run(here, command, cpu=ENDS_CPU)
        # One tunnel first, so that what the first needs once is not counted.
        url = f"{'https' if tls else 'http'}://{address}"
        environment = {"SSL_CERT_FILE": keys.certificate}
        options = ["--streams", "10"]

        def dial(tunnels: int) -> subprocess.Popen[bytes]:
            arguments = ["crowd", url, "--tunnels", str(tunnels), *options]
            command = python("benchmarks.tunnel.ends", *arguments)
            return running.run(
                here, command, cpu=LOAD_CPU, piped=True, asking=True, environment=environment
            )

        first = dial(1)
        _expect(first, b"up\n", running.log)
        before = memory_kib([cloud.pid])["rss"]
        begun = time.monotonic()
        many = dial(plan.tunnels)
        _expect(many, b"up\n", running.log)
        took = time.monotonic() - begun
        idle = memory_kib([cloud.pid])["rss"]
        assert many.stdin is not None
        many.stdin.write(b"go\n")
        many.stdin.flush()
        _expect(many, b"answered\n", running.log)
        streams = memory_kib([cloud.pid])["rss"]
    metrics = {"connected s": took, "KiB/tunnel": (idle - before) / plan.tunnels}
    metrics["KiB/tunnel with 10 streams"] = (streams - before) / plan.tunnels
    metrics["KiB/stream"] = (streams - idle) / plan.tunnels / 10
    report.add(case, name, metrics)


def _expect(process: subprocess.Popen[bytes], line: bytes, log: Path) -> None:
    assert process.stdout is not None
    if process.stdout.readline() != line:
        raise MeasurementError(f"the crowd ended: {log.read_text()[-300:]}")
