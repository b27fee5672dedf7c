"""When a process in a pod counts as ready: its ports listen, or its probe is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from lapdev.cluster.manifests import Container, Handler, Probe
from lapdev.cluster.sandbox import Sandbox

FIRST_RETRY = 0.02
LAST_RETRY = 0.5
RETRY_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Check:
    """One question, and how often to ask it. Durations in seconds."""

    passes: Callable[[], Awaitable[bool]]
    initial_delay: float = 0.0
    period: float | None = None
    """None: what was ready once stays so while the process runs."""
    failure_threshold: int = 1


def ports_check(sandbox: Sandbox, ports: Iterable[int]) -> Check:
    wanted = frozenset(ports)

    async def passes() -> bool:
        return wanted <= sandbox.listening_ports()

    return Check(passes)


def container_check(container: Container, sandbox: Sandbox) -> Check:
    """The container's readiness probe; without one, that it listens on its declared ports."""
    probe = container.readiness
    if probe is None:
        return ports_check(sandbox, container.tcp_ports())
    host = sandbox.place.ip

    async def passes() -> bool:
        return await probe_passes(host, probe)

    return Check(passes, probe.initial_delay, probe.period, probe.failure_threshold)


async def probe_passes(host: str, probe: Probe) -> bool:
    """The probe's port accepts and, for HTTP, answers with a status from 200 to 399."""
    try:
        async with asyncio.timeout(probe.timeout):
            reader, writer = await asyncio.open_connection(host, probe.handler.port)
            try:
                if probe.handler.kind == "tcp":
                    return True
                return await _http_passes(reader, writer, host, probe.handler)
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return False


async def _http_passes(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, asked: Handler
) -> bool:
    headers = {"Host": f"{host}:{asked.port}", "User-Agent": "lapdev-probe"} | dict(asked.headers)
    lines = [f"GET {asked.path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace"))
    status_line = (await reader.readline()).split(b" ", 2)
    status = status_line[1] if len(status_line) > 1 else b""
    return status.isdigit() and 200 <= int(status) < 400


async def watch(check: Check, report: Callable[[bool], None]) -> None:
    """`report` hears True as soon as the check passes, and every change after that.

    Ends when the answer can no longer change; else runs until cancelled.
    """
    await asyncio.sleep(check.initial_delay)
    delay = FIRST_RETRY
    while not await check.passes():
        await asyncio.sleep(delay)
        delay = min(delay * RETRY_GROWTH, LAST_RETRY)
    report(True)
    failures = 0
    while check.period is not None:
        await asyncio.sleep(check.period)
        failures = 0 if await check.passes() else failures + 1
        if failures in (0, check.failure_threshold):
            report(failures == 0)
