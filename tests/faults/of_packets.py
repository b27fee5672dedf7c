"""F9: a bad line. Packets are late, lost and slow, and TCP behaves as it does on one."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import DEVNULL
from contextlib import suppress
from dataclasses import replace
from functools import partial

from tests.faults.checker import percentile
from tests.faults.history import Kind, Outcome
from tests.faults.load import NOTHING, load
from tests.faults.stage import Scenario, Stage, never_fails
from tests.support.packet_path import Conditions

LINE = Conditions(delay=0.1, loss=0.05, rate=1_000_000, queue=0.5)
"""Of each direction: a round trip takes 200 ms, but for what waits in the queue."""
ROUND_TRIP = 2 * LINE.delay
GOODPUT, SMALL_SECONDS = 0.9, 3 * ROUND_TRIP + 0.2
RAW_PORT, ECHO_PORT = 9_000, 9_001
ECHO_INTERVAL, ECHO_BYTES = 0.5, 500
BULK = replace(NOTHING, downloads=1, transfer_rate=1e9)
WITH_SMALL = replace(BULK, requests=2)

SENDER = """
import socket, sys, threading
def echo():
    with socket.create_connection((sys.argv[1], int(sys.argv[3]))) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := sock.recv(65536):
            sock.sendall(data)
threading.Thread(target=echo, daemon=True).start()
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as sock:
    while True:
        sock.sendall(bytes(65536))
"""


async def bad_line(stage: Stage, seconds: float) -> None:
    """Bulk through the tunnel against a TCP connection of its own, one after the other; then
    small requests beside bulk."""
    raw, echoes = await _raw(stage, seconds * stage.scale)
    own = await _goodput(stage, seconds * stage.scale)
    stage.measure("raw TCP kbit/s", raw / 125)
    stage.measure("tunnel kbit/s", own / 125)
    stage.measure("raw / tunnel", raw / own if own else float("inf"), 1 / GOODPUT)
    doors = stage.world.main.doors
    assert doors is not None
    async with load(doors, stage.history, WITH_SMALL, stage.seed):
        await stage.sleep(seconds)
    small = [each for each in stage.history.operations if each.kind == Kind.GET]
    good = [each.seconds for each in small if each.outcome == Outcome.OK]
    # What the line itself does to two connections, of which one is bulk: no tunnel is better.
    stage.measure("raw TCP small p95 s", percentile(echoes, 0.95))
    stage.measure("small p95 s", percentile(good, 0.95), SMALL_SECONDS)


async def _raw(stage: Stage, seconds: float) -> tuple[float, list[float]]:
    """Bytes a second that arrive at our end of a plain connection, and how long echoes of a few
    bytes take beside it, on a connection of their own."""
    assert stage.path is not None
    arrived = 0
    echoes: list[float] = []
    done = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                arrived += len(await asyncio.wait_for(reader.read(65_536), left))
            except TimeoutError:
                break
        writer.transport.abort()
        done.set()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while not done.is_set():
                begun = time.monotonic()
                writer.write(bytes(ECHO_BYTES))
                await reader.readexactly(ECHO_BYTES)
                echoes.append(time.monotonic() - begun)
                await asyncio.sleep(ECHO_INTERVAL)
        writer.transport.abort()

    address = stage.path.far.address
    server = await asyncio.start_server(take, address, RAW_PORT)
    asker = await asyncio.start_server(ask, address, ECHO_PORT)
    words = [sys.executable, "-c", SENDER, address, str(RAW_PORT), str(ECHO_PORT)]
    sender = await asyncio.create_subprocess_exec(
        *stage.path.near.command(words), stdin=DEVNULL, stderr=DEVNULL
    )
    try:
        async with asyncio.timeout(seconds + 60):
            await done.wait()
    finally:
        if sender.returncode is None:
            sender.kill()
        await sender.wait()
        server.close()
        asker.close()
    return arrived / seconds, echoes


async def _goodput(stage: Stage, seconds: float) -> float:
    """Bytes a second of a download through the tunnel, from its first byte on."""
    doors = stage.world.main.doors
    assert doors is not None
    async with load(doors, stage.history, BULK, stage.seed):
        await asyncio.sleep(0)
        await stage.wait_moving()
        (download,) = stage.history.streams()
        before = download.moved
        await asyncio.sleep(seconds)
        return (download.moved - before) / seconds


PACKET_FAULTS = (
    Scenario(
        "F9",
        "5 % loss, a round trip of 200 ms, 1 Mbit/s",
        partial(bad_line, seconds=40),
        may_fail=never_fails,
        volume=NOTHING,
        tenants=("main",),
        path=LINE,
        warm_up=1,
    ),
)
