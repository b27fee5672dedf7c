"""A real sidecar: a child process, started the way the local driver starts one."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from lapdev.cluster.driver import SidecarLaunch

PROGRAM = (sys.executable, "-m", "lapdev")


def document_pipe(launch: SidecarLaunch) -> int:
    """The reading end of a pipe that holds the launch document."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as sink:
        json.dump(dataclasses.asdict(launch), sink)
    return reader


@asynccontextmanager
async def sidecar_process(
    launch: SidecarLaunch, program: Sequence[str] = PROGRAM
) -> AsyncIterator[Process]:
    """A sidecar that has said it is ready; killed afterwards if it still runs."""
    document = document_pipe(launch)
    ready, ready_end = os.pipe()
    arguments = ["serve", "--role", "sidecar", "--launch-fd", str(document)]
    try:
        process = await asyncio.create_subprocess_exec(
            *program,
            *arguments,
            "--ready-fd",
            str(ready_end),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            pass_fds=(document, ready_end),
        )
    finally:
        os.close(document)
        os.close(ready_end)
    try:
        await _wait_ready(ready, process)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _wait_ready(ready: int, process: Process) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(ready, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        async with asyncio.timeout(20):
            line = await reader.readline()
    finally:
        transport.close()
    if line != b"ready\n":
        _, errors = await process.communicate()
        raise AssertionError(f"the sidecar did not start: {errors.decode()}")
