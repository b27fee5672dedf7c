"""What a probe or a hook does once: an HTTP request, a connection, a command, a pause.

Every function answers with a text: empty when it succeeded, else why it did not.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lapdev.cluster.exits import Exit, last_words
from lapdev.cluster.manifests import Handler
from lapdev.cluster.spawner import Child
from lapdev.errors import ClusterError

SAID_BYTES = 4096
ENTRY_TIME = 2.0
"""Seconds a command has beside its own: the way into the container is none of its doing."""

Execute = Callable[[tuple[str, ...], int], Awaitable[Child]]
"""Starts a command inside the container, its output going to the descriptor."""


@dataclass(frozen=True, slots=True)
class Surface:
    """Where a container can be asked something."""

    host: str
    """Its pod's address: for handlers that name no other host."""
    execute: Execute


async def perform(handler: Handler, surface: Surface, wait: float | None) -> str:
    """The handler has done its work once, in at most `wait` seconds."""
    try:
        entry = ENTRY_TIME if handler.kind == "exec" else 0.0
        async with asyncio.timeout(None if wait is None else wait + entry):
            match handler.kind:
                case "exec":
                    return await _execute(handler.command, surface.execute)
                case "sleep":
                    await asyncio.sleep(handler.seconds)
                    return ""
                case "http" | "tcp":
                    return await _connect(handler.host or surface.host, handler)
    except TimeoutError:
        return f"{describe(handler)}: no answer in {wait:g} s"


def describe(handler: Handler) -> str:
    """`GET :8080/health`, `tcp :5432`, `pg_isready`."""
    match handler.kind:
        case "http":
            return f"GET {handler.host}:{handler.port}{handler.path}"
        case "tcp":
            return f"tcp {handler.host}:{handler.port}"
        case "sleep":
            return f"sleep {handler.seconds:g}"
        case "exec":
            words = " ".join(handler.command)
            return words if len(words) <= 80 else f"{words[:79]}…"


async def _execute(command: tuple[str, ...], execute: Execute) -> str:
    """The command has ended, also when this is cancelled."""
    said = os.memfd_create("said", os.MFD_CLOEXEC)
    try:
        child = await execute(command, said)
        try:
            status = await child.wait()
        finally:
            child.signal(signal.SIGKILL)
            await asyncio.shield(child.wait())
        if status == 0:
            return ""
        size = os.fstat(said).st_size
        text = os.pread(said, SAID_BYTES, max(0, size - SAID_BYTES)).decode(errors="replace")
        return str(Exit(status, said=last_words(text.splitlines())))
    except (ClusterError, OSError) as exc:
        return str(exc)
    finally:
        os.close(said)


async def _connect(host: str, handler: Handler) -> str:
    try:
        reader, writer = await asyncio.open_connection(host, handler.port)
        try:
            if handler.kind == "tcp":
                return ""
            return await _request(reader, writer, host, handler)
        finally:
            writer.transport.abort()
    except ValueError as exc:  # a host that is no name
        return f"{describe(handler)}: {exc}"
    except OSError as exc:
        return f"{describe(handler)}: {os.strerror(exc.errno) if exc.errno else exc}"


async def _request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, asked: Handler
) -> str:
    headers = {"Host": f"{host}:{asked.port}", "User-Agent": "lapdev-probe"} | dict(asked.headers)
    lines = [f"GET {asked.path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace"))
    try:
        line = await reader.readline()
    except ValueError:  # longer than any status line
        line = b""
    words = line.split(b" ", 2)
    status = words[1].strip() if len(words) > 1 else b""
    if not status.isdigit():
        return f"{describe(asked)}: no HTTP answer"
    return "" if 200 <= int(status) < 400 else f"{describe(asked)}: status {int(status)}"
