"""Our own ends as processes: `python -m benchmarks.tunnel.ends cloud|laptop|crowd …`.

The product's tunnel and nothing else, as the others are tunnels and nothing else: a connection to
a visitors' port becomes a stream, and the stream a connection to the backend.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
from typing import cast

from lapdev import log
from lapdev.errors import NoRoute
from lapdev.model import Identity, RoleName
from lapdev.net.http_server import HttpServer
from lapdev.net.listener import dial, listen
from lapdev.net.process import stop_signals
from lapdev.net.tasks import Tasks
from lapdev.net.tls import certificate_of
from lapdev.serve import loop_factory, tune_malloc
from lapdev.tunnel import (
    Inlet,
    Stream,
    Tunnel,
    TunnelServer,
    TunnelServerOptions,
    Uplink,
    UplinkOptions,
    new_id,
    outlet,
)
from lapdev.wire.control import Done, Message, ServiceTarget, Target

AT_ONCE = 50
"""Tunnels of a crowd that connect at the same time."""

LAPTOP = Identity(RoleName.DEVBOX, "laptop")


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


class _Cloud:
    """Echoes what a laptop sends: how a crowd knows that its streams live."""

    def __init__(self) -> None:
        self.joined = asyncio.Event()

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        stream.accept(_Echo())

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        return Done()

    def tunnel_up(self, tunnel: Tunnel) -> None:
        self.joined.set()

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None: ...
    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None: ...


class _Laptop(_Cloud):
    """Takes streams to the ports of its own machine."""

    def __init__(self, tasks: Tasks) -> None:
        super().__init__()
        self._tasks = tasks

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        if isinstance(target, ServiceTarget):
            address = f"127.0.0.1:{target.port}"
            self._tasks.spawn(outlet(stream, functools.partial(dial, address)), "outlet")
        else:
            stream.refuse(NoRoute())


async def _cloud(arguments: argparse.Namespace) -> None:
    handler = _Cloud()
    server = TunnelServer(handler, TunnelServerOptions())
    http = HttpServer(lambda exchange: server.accept(exchange, LAPTOP))
    context = certificate_of(arguments.cert, arguments.key)
    tunnels = await listen(arguments.address, http.connection, tls=context)

    def visitor(backend: int) -> Inlet:
        return Inlet(server.tunnels[0], ServiceTarget("bench", "backend", backend))

    await handler.joined.wait()
    listeners = []
    for route in arguments.routes:
        visit, _, backend = route.partition(":")
        factory = functools.partial(visitor, int(backend))
        listeners.append(await listen(f"127.0.0.1:{visit}", factory))
    with stop_signals() as stop:
        await stop.wait()
    for listener in (tunnels, *listeners):
        await listener.aclose()
    await server.aclose()
    await http.aclose()


def _options(address: str) -> UplinkOptions:
    path = "/_lapdev/tunnel/devbox"
    return UplinkOptions(address, path, "no-secret", RoleName.DEVBOX, new_id())


async def _laptop(arguments: argparse.Namespace) -> None:
    async with Tasks() as tasks:
        uplink = Uplink(_options(arguments.address), _Laptop(tasks))
        tasks.spawn(uplink.run(), "uplink")
        with stop_signals() as stop:
            await stop.wait()


class _Octet(asyncio.Protocol):
    """A stream that carries one octet each way, and then is idle."""

    def __init__(self) -> None:
        self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(b"x")

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            self.answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(exc or ConnectionError("the stream ended"))


async def _crowd(arguments: argparse.Namespace) -> None:
    """Many tunnels from one process. A line on standard output once all are up, and one once each
    of their streams has been answered."""
    async with Tasks() as tasks:
        uplinks = [Uplink(_options(arguments.address), _Cloud()) for _ in range(arguments.tunnels)]
        for first in range(0, len(uplinks), AT_ONCE):
            group = uplinks[first : first + AT_ONCE]
            for uplink in group:
                tasks.spawn(uplink.run(), "uplink")
            for uplink in group:
                await uplink.wait_up()
        print("up", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        octets = [_Octet() for _ in uplinks for _ in range(arguments.streams)]
        target = ServiceTarget("bench", "echo", 1)
        for number, octet in enumerate(octets):
            tunnel = uplinks[number // arguments.streams].tunnel
            assert tunnel is not None
            tunnel.open_stream(target, octet)
        await asyncio.gather(*(octet.answered for octet in octets))
        print("answered", flush=True)
        with stop_signals() as stop:
            await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["cloud", "laptop", "crowd"])
    parser.add_argument("address", help="where the cloud listens for tunnels, or is dialled")
    parser.add_argument("routes", nargs="*", help="VISITORS:BACKEND, ports")
    parser.add_argument("--cert", default="")
    parser.add_argument("--key", default="")
    parser.add_argument("--tunnels", type=int, default=1)
    parser.add_argument("--streams", type=int, default=0)
    arguments = parser.parse_args()
    log.configure(arguments.role, "error")
    tune_malloc()
    role = {"cloud": _cloud, "laptop": _laptop, "crowd": _crowd}[arguments.role]
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(role(arguments))


if __name__ == "__main__":
    main()
