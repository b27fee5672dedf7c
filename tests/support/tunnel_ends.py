"""Both ends of a real tunnel in one process, over a Unix socket, and what happens to them.

The acceptor is the product's own HTTP listener with a `TunnelServer` behind it; the dialler is an
`Uplink`. `cut` breaks the connection under them without a word, as a dying network does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from lapdev.errors import LapdevError
from lapdev.model import Identity, RoleName
from lapdev.net.exchange import Exchange
from lapdev.net.http_server import HttpServer
from lapdev.net.listener import Listener, listen
from lapdev.net.tasks import Tasks
from lapdev.tunnel import (
    Stream,
    Tunnel,
    TunnelOptions,
    TunnelServer,
    TunnelServerOptions,
    Uplink,
    UplinkOptions,
)
from lapdev.wire.control import Done, Message, ServiceTarget, Target
from lapdev.wire.mux import LivenessOptions, MuxOptions
from tests.support.watch import Watch

TARGET = ServiceTarget("shop", "api", 8080)
MANAGER = Identity(RoleName.MANAGER, "cluster-1")
FAST = TunnelOptions(
    mux=MuxOptions(credit_delay=0.02, liveness=LivenessOptions(ping_interval=5.0)),
    grace=5.0,
    handshake_timeout=5.0,
    close_timeout=0.5,
    retry_first=0.005,
    retry_most=0.02,
    refused_delay=0.01,
    replaced_delay=0.01,
)
"""The product's behaviour with a test's patience."""


class Recorder(asyncio.Protocol):
    """A protocol that keeps what it is told; the waits are for its test."""

    def __init__(self, *, echo: bool = False, keep_open: bool = True) -> None:
        self.echo = echo
        self.keep_open = keep_open
        self.data = bytearray()
        self.eof = False
        self.paused = False
        self.pauses = 0
        self.accepted = False
        self.lost: list[Exception | None] = []
        self.transport: asyncio.Transport
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        self.transport = transport

    def stream_accepted(self) -> None:
        self.accepted = True
        self._changed.set()

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self.echo:
            self.transport.write(data)
        self._changed.set()

    def eof_received(self) -> bool:
        self.eof = True
        self._changed.set()
        return self.keep_open and not self.echo

    def pause_writing(self) -> None:
        self.paused = True
        self.pauses += 1
        if self.echo:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.paused = False
        if self.echo:
            self.transport.resume_reading()
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)
        self._changed.set()

    async def wait_until(self, condition: Callable[[Recorder], bool]) -> None:
        while not condition(self):
            self._changed.clear()
            await self._changed.wait()


@dataclass
class Watcher:
    """A TunnelHandler that keeps what it is told, and answers as the test sets it up."""

    serve: Callable[[Stream], None] = lambda stream: stream.accept(Recorder())
    answer: Callable[[Message], Message] = lambda message: Done()
    on_up: Callable[[Tunnel], None] = lambda tunnel: None
    up: list[bool] = field(default_factory=list)
    """`resumed` of each connection."""
    down: list[Exception] = field(default_factory=list)
    closed: list[Exception] = field(default_factory=list)
    calls: list[Message] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Calls are answered once it is set."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        self.streams.append(stream)
        self.serve(stream)
        self.changed.set()

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        self.calls.append(message)
        self.changed.set()
        await self.gate.wait()
        return self.answer(message)

    def tunnel_up(self, tunnel: Tunnel) -> None:
        self.up.append(tunnel.resumed)
        self.on_up(tunnel)
        self.changed.set()

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        self.down.append(error)
        self.changed.set()

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        self.closed.append(error)
        self.changed.set()

    async def wait_until(self, condition: Callable[[Watcher], bool]) -> None:
        while not condition(self):
            self.changed.clear()
            await self.changed.wait()


class Acceptor:
    """A listener whose every upgrade request becomes a tunnel of `identity`."""

    def __init__(self, address: str, options: TunnelOptions, instance: str = "acceptor") -> None:
        self.address = address
        self.watcher = Watcher()
        self.identity = MANAGER
        self.refuse_with = 0
        """Answer this status instead."""
        self.refusal_headers = [(b"Content-Type", b"application/json")]
        self.welcoming: Callable[[], None] | None = None
        """Runs once, before the next upgrade request is taken."""
        self.requests: list[Exchange] = []
        self.requested = Watch()
        self.server = TunnelServer(self.watcher, TunnelServerOptions(instance, options))
        self._http = HttpServer(self._serve)
        self._listener: Listener | None = None

    async def start(self) -> None:
        self._listener = await listen(self.address, self._http.connection)

    async def stop_listening(self) -> None:
        if self._listener is not None:
            await self._listener.aclose()

    async def aclose(self) -> None:
        await self.stop_listening()
        await self.server.aclose()
        await self._http.aclose()

    def _serve(self, exchange: Exchange) -> None:
        self.requests.append(exchange)
        self.requested()
        welcoming, self.welcoming = self.welcoming, None
        if welcoming is not None:
            asyncio.get_running_loop().call_soon(welcoming)
        if self.refuse_with:
            body = b'{"error": {"cause": "login_required", "detail": "unknown token"}}'
            exchange.respond(self.refuse_with, self.refusal_headers, body)
        else:
            self.server.accept(exchange, self.identity)

    @property
    def tunnel(self) -> Tunnel:
        (tunnel,) = self.server.tunnels
        return tunnel


@dataclass
class Ends:
    acceptor: Acceptor
    uplink: Uplink
    watcher: Watcher
    """The dialler's handler."""
    options: UplinkOptions
    tasks: Tasks

    @property
    def tunnel(self) -> Tunnel:
        assert self.uplink.tunnel is not None
        return self.uplink.tunnel

    def cut(self, *links: int) -> None:
        """The connections of these links, or of all, are gone without a close frame."""
        for number in links or self.tunnel.links:
            self.tunnel._links[number].websocket.abort()

    def dial_as(self, watcher: Watcher, **changes: object) -> Uplink:
        """A second uplink, running."""
        uplink = Uplink(replace(self.options, **changes), watcher)  # type: ignore[arg-type]
        self.tasks.spawn(uplink.run(), "second uplink")
        return uplink


@asynccontextmanager
async def connected(
    folder: Path, options: TunnelOptions = FAST, *, links: int = 1, wait: bool = True
) -> AsyncIterator[Ends]:
    """A dialler and an acceptor, connected if `wait`. Everything is closed at the end.

    An exception in a callback of the loop, which asyncio would only log, fails the test.
    """
    broken: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: broken.append(context))
    address = f"unix:{folder}/s"
    acceptor = Acceptor(address, options)
    await acceptor.start()
    watcher = Watcher()
    uplink_options = UplinkOptions(
        address,
        "/_lapdev/tunnel/manager",
        "s3cret",
        "manager",
        "dialler-1",
        links=links,
        tunnel=options,
    )
    uplink = Uplink(uplink_options, watcher)
    try:
        async with Tasks() as tasks:
            tasks.spawn(uplink.run(), "uplink")
            if wait:
                await uplink.wait_up()
                await acceptor.watcher.wait_until(lambda seen: bool(seen.up))
            yield Ends(acceptor, uplink, watcher, uplink_options, tasks)
    finally:
        await acceptor.aclose()
    assert not broken


def failing(error: LapdevError) -> Callable[[Message], Message]:
    def answer(message: Message) -> Message:
        raise error

    return answer


async def first_error(uplink: Uplink) -> Exception:
    watch = Watch()
    uplink.on_failed = watch
    await watch.until(lambda: uplink.last_error is not None)
    assert uplink.last_error is not None
    return uplink.last_error
