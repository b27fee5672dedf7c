"""An Uplink and a TunnelServer over real sockets, with a wire between them that breaks at random.

The wire hands bytes on in slices of any size, so that it breaks in the middle of messages; it is
cut without a word, falls silent in one direction or both, or comes late. What must hold is what
holds for `two_ends`: every byte arrives, once, in order and on its own stream, and when the wire
keeps still all comes to rest. What happens is seeded; when it happens is the machine's to say.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import uvloop
from structlog.testing import capture_logs

from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream, Tunnel, TunnelOptions, Uplink, UplinkOptions
from lapdev.wire.control import Done, ReportCluster, ServiceTarget
from tests.fuzz.two_ends import ACCEPTOR, DIALLER, keyed
from tests.support.tunnel_ends import FAST, Acceptor, Watcher

REST_TIMEOUT = 40.0
STEP_SECONDS = 0.004
CALL = ReportCluster(version="0.1", driver="local")
OPTIONS: TunnelOptions = replace(
    FAST,
    mux=replace(
        FAST.mux,
        stream_window=8_192,
        session_window=65_536,
        liveness=replace(FAST.mux.liveness, ping_interval=0.3, dead_timeout=0.3),
    ),
    grace=60.0,
    handshake_timeout=1.0,
    stream_high_water=1 << 20,
)
"""Short windows, so that credit runs out all the time; the dead are given up at once."""


@dataclass
class Connection:
    """One of the dialler's connections, on its way through the wire."""

    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    silent: set[int] = field(default_factory=set)
    """Directions in which bytes vanish."""

    def cut(self) -> None:
        for writer in self.ends:
            writer.transport.abort()


class Wire:
    """A relay between the two ends."""

    def __init__(self, chance: random.Random, to: str) -> None:
        self.connections: list[Connection] = []
        self.calm = False
        self.cuts = 0
        self._chance = chance
        self._to = to
        self._tasks: Tasks | None = None

    @asynccontextmanager
    async def listening(self, path: str) -> AsyncIterator[None]:
        async with Tasks() as self._tasks:
            server = await asyncio.start_unix_server(self._arrived, path)
            try:
                yield
            finally:
                server.close()
                for connection in list(self.connections):
                    connection.cut()

    def disturb(self) -> None:
        """Something happens to one of the connections."""
        if not self.connections:
            return
        connection = self._chance.choice(self.connections)
        if self._chance.random() < 0.7:
            self.cuts += 1
            connection.cut()
        else:
            connection.silent |= self._chance.choice(({0}, {1}, {0, 1}))

    def be_calm(self) -> None:
        """From now on bytes pass. What fell silent before is cut: nobody could tell."""
        self.calm = True
        for connection in list(self.connections):
            if connection.silent:
                connection.cut()

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._tasks is not None
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._to)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection((writer, far_writer))
        self.connections.append(connection)
        for direction, pair in enumerate(((reader, far_writer), (far_reader, writer))):
            self._tasks.spawn(self._pass(connection, direction, *pair), "pass bytes")

    async def _pass(
        self,
        connection: Connection,
        direction: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        choose = self._chance
        try:
            while data := await reader.read(choose.choice((1, 7, 300, 5_000, 65_536))):
                if direction in connection.silent:
                    continue
                if not self.calm and choose.random() < 0.02:
                    await asyncio.sleep(choose.choice((0.0, 0.005, 0.05)))
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            connection.cut()
            if connection in self.connections:
                self.connections.remove(connection)


class App(asyncio.Protocol):
    """One end of a stream: says its keyed bytes, and compares what it hears."""

    def __init__(self, fuzz: SocketFuzz, side: int) -> None:
        self.side = side
        self.stream: Stream | None = None
        self.written = self.heard = 0
        self.said_all = self.heard_all = self.over = False
        self.paused = False
        self._fuzz = fuzz

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.stream = cast(Stream, transport)

    def data_received(self, data: bytes) -> None:
        assert self.stream is not None
        wanted = keyed(self.stream.stream_id, 1 - self.side, self.heard, len(data))
        if data != wanted:
            self._fuzz.wrong(f"stream {self.stream.stream_id}: wrong bytes at {self.heard}")
        self.heard += len(data)

    def eof_received(self) -> bool:
        self.heard_all = True
        self._close_if_done()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True
        assert self.stream is not None
        if exc is not None and self.stream.stream_id not in self._fuzz.given_up:
            self._fuzz.wrong(f"stream {self.stream.stream_id} was lost: {exc}")

    def say(self, size: int) -> None:
        if self.stream is not None and not self.said_all and not self.over:
            self.stream.write(keyed(self.stream.stream_id, self.side, self.written, size))
            self.written += size

    def finish(self) -> None:
        if self.stream is not None and not self.said_all and not self.over:
            self.said_all = True
            self.stream.write_eof()
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self.said_all and self.heard_all and self.stream is not None:
            self.stream.close()

    def pause(self, wanted: bool) -> None:
        if self.stream is not None and not self.over and wanted != self.paused:
            self.paused = wanted
            (self.stream.pause_reading if wanted else self.stream.resume_reading)()

    def give_up(self) -> None:
        if self.stream is not None and not self.over:
            self._fuzz.given_up.add(self.stream.stream_id)
            self.stream.abort()


class SocketFuzz:
    """One session from beginning to end."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.links = self.random.choice((1, 1, 2, 3, 4))
        self.apps: list[App] = []
        self.given_up: set[int] = set()
        self.findings: list[str] = []
        self.losses = 0

    def wrong(self, what: str) -> None:
        self.findings.append(what)

    async def play(self, folder: Path, steps: int) -> None:
        acceptor = Acceptor(f"unix:{folder}/s", replace(OPTIONS, links=self.links))
        wire = Wire(self.random, f"{folder}/s")
        ours, theirs = Watcher(), acceptor.watcher
        ours.serve, theirs.serve = self._serving(DIALLER), self._serving(ACCEPTOR)
        options = UplinkOptions(
            f"unix:{folder}/r", "/", "token", "manager", "one", links=self.links, tunnel=OPTIONS
        )
        uplink = Uplink(options, ours)
        await acceptor.start()
        async with wire.listening(f"{folder}/r"), Tasks() as tasks:
            tasks.spawn(uplink.run(), "uplink")
            mine = await uplink.wait_up()
            await theirs.wait_until(lambda seen: bool(seen.up))
            tunnels = (mine, acceptor.tunnel)
            for _ in range(steps):
                self._step(wire, tunnels, tasks)
                await asyncio.sleep(self.random.choice((0.0, 0.0, STEP_SECONDS)))
            self.losses = wire.cuts
            wire.be_calm()
            await self._settle(tunnels)
            if ours.closed or theirs.closed:
                self.wrong(f"the session ended: {ours.closed or theirs.closed}")
            for app in self.apps:
                self._compare(app)
        await acceptor.aclose()

    def _serving(self, side: int) -> Callable[[Stream], None]:
        def serve(stream: Stream) -> None:
            self.apps.append(app := App(self, side))
            stream.accept(app)

        return serve

    def _step(self, wire: Wire, tunnels: tuple[Tunnel, Tunnel], tasks: Tasks) -> None:
        choose = self.random
        roll = choose.random()
        side = choose.choice((DIALLER, ACCEPTOR))
        living = [app for app in self.apps if not app.over]
        if roll < 0.10 and len(living) < 40:
            self.apps.append(app := App(self, side))
            app.stream = tunnels[side].open_stream(ServiceTarget("shop", "api", 80), app)
        elif roll < 0.60 and living:
            choose.choice(living).say(choose.choice((1, 50, 4_000, 30_000)))
        elif roll < 0.70 and living:
            choose.choice(living).finish()
        elif roll < 0.82 and living:
            choose.choice(living).pause(choose.random() < 0.5)
        elif roll < 0.84 and living:
            choose.choice(living).give_up()
        elif roll < 0.88:
            tasks.spawn(self._call(tunnels[side]), "call")
        elif roll < 0.90:
            link = choose.randrange(self.links)
            if link in tunnels[ACCEPTOR].links:
                tunnels[ACCEPTOR].renew(link)
        elif roll < 0.91:
            tunnels[side].probe()
        elif roll < 0.95:
            wire.disturb()

    async def _call(self, tunnel: Tunnel) -> None:
        if await tunnel.call(CALL) != Done():
            self.wrong("a call was answered with something else")

    async def _settle(self, tunnels: tuple[Tunnel, Tunnel]) -> None:
        """Everybody says what is left, and hears it."""
        try:
            async with asyncio.timeout(REST_TIMEOUT):
                while any(tunnel.stream_count for tunnel in tunnels) or not self._linked(tunnels):
                    for app in self.apps:
                        app.pause(False)
                        app.finish()
                    await asyncio.sleep(0.005)
        except TimeoutError:
            counts = [(tunnel.stream_count, tunnel.links) for tunnel in tunnels]
            self.wrong(f"never at rest: {counts}")

    def _linked(self, tunnels: tuple[Tunnel, Tunnel]) -> bool:
        return all(len(tunnel.links) == self.links for tunnel in tunnels)

    def _compare(self, app: App) -> None:
        assert app.stream is not None
        number = app.stream.stream_id
        if number in self.given_up:
            return
        others = [
            a for a in self.apps if a is not app and a.stream and a.stream.stream_id == number
        ]
        if len(others) != 1:
            self.wrong(f"stream {number} has {len(others)} other ends")
        elif (app.heard, app.heard_all, app.over) != (others[0].written, True, True):
            self.wrong(f"stream {number}: {app.heard} of {others[0].written} bytes, {app.over=}")


def run(seed: int, steps: int = 400) -> SocketFuzz:
    """One session; raises with what was found. Odd seeds use the product's event loop."""
    fuzz = SocketFuzz(seed)
    with TemporaryDirectory(prefix="ldz-", dir="/tmp") as folder, capture_logs():
        factory = uvloop.new_event_loop if seed % 2 else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(fuzz.play(Path(folder), steps))
    if fuzz.findings:
        raise AssertionError(f"sockets, seed {seed}, {fuzz.links} links: {fuzz.findings[:10]}")
    return fuzz
