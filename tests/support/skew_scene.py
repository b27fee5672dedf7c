"""What two ends of a tunnel do while their frames are recorded, or while a recording plays one.

Each end's part looks only at what it sees itself, so that it plays against a live peer and against
a recorded one alike. Everything a session can do is in it: calls and streams both ways, more bytes
than a window, a refusal, a reset, a half-close, a lost connection with bytes on the way, leaving.

    python -m tests.support.skew_scene "<commit>" > tests/tunnel/recorded/<name>.txt

records it from the version that is checked out (for an older one: in a `git worktree`, with this
file and `raw_tunnel.py` copied into it).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from lapdev.errors import LapdevError, StreamRefused
from lapdev.net.tasks import spawn
from lapdev.tunnel import (
    Stream,
    Tunnel,
    TunnelOptions,
    TunnelServer,
    TunnelServerOptions,
    Uplink,
    UplinkOptions,
)
from lapdev.wire.control import Done, ReportCluster, ServiceTarget
from lapdev.wire.mux import LivenessOptions, MuxOptions
from tests.support.raw_tunnel import BINARY, CLOSE, Closed, RawTunnel, websocket_frame
from tests.support.tunnel_ends import FAST, Acceptor, Recorder, Watcher

ECHO, REFUSED, HELD = 1, 2, 3
"""Ports of the targets: what the end that is asked does with the stream."""
WINDOW = 512
BULK = bytes(range(256)) * 5
"""More than two windows."""
HALF = 200

OPTIONS: TunnelOptions = replace(
    FAST,
    mux=MuxOptions(
        stream_window=WINDOW,
        credit_delay=0.02,
        liveness=LivenessOptions(ping_interval=0.2),
    ),
)


def target(port: int) -> ServiceTarget:
    return ServiceTarget("shop", "api", port)


@dataclass
class Part:
    """One end's part in the scene."""

    watcher: Watcher = field(default_factory=Watcher)
    held: list[Recorder] = field(default_factory=list)
    """Streams the peer opened to HELD, as this end sees them."""
    kept: Recorder = field(default_factory=Recorder)
    """This end's own stream, on which bytes are on the way when the connection is lost."""

    def __post_init__(self) -> None:
        self.watcher.serve = self._serve

    def _serve(self, stream: Stream) -> None:
        assert isinstance(stream.target, ServiceTarget)
        if stream.target.port == ECHO:
            stream.accept(Recorder(echo=True))
        elif stream.target.port == REFUSED:
            stream.refuse(LapdevError("nothing is opened here"))
        else:
            recorder = Recorder()
            stream.accept(recorder)
            self.held.append(recorder)

    async def before_the_cut(self, tunnel: Tunnel) -> None:
        """Ends with this end's stream open: the peer has HALF of what is written after it."""
        assert isinstance(await tunnel.call(ReportCluster(version="0.1", driver="local")), Done)
        echoed = Recorder(keep_open=True)
        stream = tunnel.open_stream(target(ECHO), echoed)
        stream.write(BULK)
        stream.write_eof()
        await echoed.wait_until(lambda seen: seen.eof)
        assert bytes(echoed.data) == BULK
        refused = tunnel.open_stream(target(REFUSED), Recorder())
        try:
            await refused.wait_accepted()
        except StreamRefused as exc:
            assert "nothing is opened here" in str(exc)
        else:
            raise AssertionError("the peer took what it refuses")
        aborted = Recorder()
        stream = tunnel.open_stream(target(HELD), aborted)
        stream.write(b"to be forgotten")
        await stream.wait_accepted()
        stream.abort()
        stream = tunnel.open_stream(target(HELD), self.kept)
        stream.write(BULK[:HALF])
        await stream.wait_accepted()
        await self.watcher.wait_until(lambda _: len(self.held) == 2)
        await self.held[1].wait_until(lambda seen: len(seen.data) == HALF)
        await self.held[0].wait_until(lambda seen: bool(seen.lost))

    def while_it_is_away(self) -> None:
        self.kept.transport.write(BULK[HALF : WINDOW - 100])
        self.kept.transport.write_eof()

    async def after_the_cut(self) -> None:
        """The streams that were cut end well on the next connection."""
        theirs = self.held[1]
        await theirs.wait_until(lambda seen: seen.eof)
        assert bytes(theirs.data) == BULK[: WINDOW - 100]
        theirs.transport.write(b"thanks")
        theirs.transport.write_eof()
        await self.kept.wait_until(lambda seen: seen.eof)
        assert bytes(self.kept.data) == b"thanks"


# Recording


class Tap:
    """A relay between Unix sockets that writes down each tunnel message."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        self._folder = folder
        self._connections = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._relay, f"{self._folder}/tap")

    async def aclose(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(f"{self._folder}/s")
        self._connections += 1
        self.lines.append(f"# connection {self._connections}")
        self._writers += [writer, far_writer]
        await asyncio.gather(
            self._pump(reader, far_writer, "dialler"), self._pump(far_reader, writer, "acceptor")
        )

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str
    ) -> None:
        try:
            writer.write(await reader.readuntil(b"\r\n\r\n"))
            source = RawTunnel(reader, writer)
            while True:
                opcode, _, payload = await source.websocket_frame()
                if opcode == BINARY:
                    self.lines.append(f"{name} {payload.hex()}")
                elif opcode == CLOSE:
                    self.lines.append(f"# {name} closes {int.from_bytes(payload[:2], 'big')}")
                writer.write(websocket_frame(payload, opcode, mask=name == "dialler"))
        except (Closed, asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def record(folder: Path) -> list[str]:
    """The messages of one scene between this version's two ends."""
    ours, theirs = Part(), Part()
    acceptor = Acceptor(f"unix:{folder}/s", OPTIONS)
    acceptor.watcher = theirs.watcher
    acceptor.server = TunnelServer(theirs.watcher, TunnelServerOptions("acceptor", OPTIONS))
    tap = Tap(folder)
    await acceptor.start()
    await tap.start()
    options = UplinkOptions(
        f"unix:{folder}/tap",
        "/_lapdev/tunnel/manager",
        "s3cret",
        "manager",
        "dialler-1",
        tunnel=OPTIONS,
    )
    uplink = Uplink(options, ours.watcher)
    running = spawn(uplink.run(), "uplink")
    near = await uplink.wait_up()
    await theirs.watcher.wait_until(lambda seen: bool(seen.up))
    far = acceptor.tunnel
    await asyncio.gather(ours.before_the_cut(near), theirs.before_the_cut(far))
    await asyncio.sleep(0.5)  # pings
    tap.cut()
    ours.while_it_is_away()
    theirs.while_it_is_away()
    await asyncio.gather(ours.after_the_cut(), theirs.after_the_cut())
    await asyncio.sleep(0.3)
    await acceptor.server.aclose()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await acceptor.aclose()
    await tap.aclose()
    return tap.lines


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        lines = asyncio.run(record(Path(name)))
    print("# One session, recorded from both of its ends by `python -m tests.support.skew_scene`.")
    print("# A line is one message: which end sent it, and its bytes in hexadecimal.")
    print("# Version:", *arguments)
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
