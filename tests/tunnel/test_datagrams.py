"""UDP through a tunnel: a socket, an inlet, streams, an outlet, and a program that answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lapdev.errors import StreamRefused
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream
from lapdev.tunnel.datagrams import DatagramInlet, datagram_outlet
from lapdev.tunnel.stream import MAX_EARLY_DATAGRAMS
from lapdev.wire.control import ReportCluster
from tests.support.tunnel_ends import TARGET, Ends, Recorder, connected
from tests.support.watch import Watch

LOCAL = ("127.0.0.1", 0)


class Socket(asyncio.DatagramProtocol):
    """A UDP socket that keeps what comes, and says it back in capitals if it is to."""

    def __init__(self, *, answers: bool = False) -> None:
        self.answers = answers
        self.received: list[bytes] = []
        self.watch = Watch()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.received.append(data)
        if self.answers:
            self.transport.sendto(data.upper(), addr)
        self.watch()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.transport.get_extra_info("sockname")[:2]
        return host, port


@asynccontextmanager
async def udp(protocol: Any, **places: Any) -> AsyncIterator[Any]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: protocol, **places)
    try:
        yield protocol
    finally:
        transport.close()
        await asyncio.sleep(0)  # its connection_lost runs in the next tick


@asynccontextmanager
async def path_through(
    folder: Path, *, idle_timeout: float = 60.0, max_flows: int = 16
) -> AsyncIterator[tuple[Ends, DatagramInlet, Socket, tuple[str, int]]]:
    """(both ends, the inlet, the program behind the outlet, where the inlet listens)."""
    async with (
        connected(folder) as ends,
        Tasks() as tasks,
        udp(Socket(answers=True), local_addr=LOCAL) as program,
    ):

        def serve(stream: Stream) -> None:
            tasks.spawn(
                datagram_outlet(stream, program.address, idle_timeout=idle_timeout), "outlet"
            )

        ends.acceptor.watcher.serve = serve
        inlet = DatagramInlet(
            lambda protocol: ends.tunnel.open_stream(TARGET, protocol),
            idle_timeout=idle_timeout,
            max_flows=max_flows,
        )
        async with udp(inlet, local_addr=LOCAL):
            assert inlet._transport is not None
            yield ends, inlet, program, inlet._transport.get_extra_info("sockname")


async def test_datagrams_travel_whole_and_answers_find_their_sender(tmp_path: Path) -> None:
    async with (
        path_through(tmp_path) as (_, inlet, program, address),
        udp(Socket(), remote_addr=address) as one,
        udp(Socket(), remote_addr=address) as other,
    ):
        big = b"x" * 60_000
        for socket, data in ((one, b"first"), (other, b"second"), (one, big)):
            seen = len(socket.received)
            socket.transport.sendto(data)
            await socket.watch.until(lambda s=socket, n=seen: len(s.received) > n)
        assert one.received == [b"FIRST", big.upper()]
        assert other.received == [b"SECOND"]
        assert sorted(program.received) == sorted([b"first", b"second", big])
        assert len(inlet.flows) == 2


async def test_a_quiet_flow_ends_and_the_next_datagram_begins_another(tmp_path: Path) -> None:
    async with (
        path_through(tmp_path, idle_timeout=0.02) as (ends, inlet, _, address),
        udp(Socket(), remote_addr=address) as one,
    ):
        one.transport.sendto(b"a")
        await one.watch.until(lambda: one.received)
        stream = ends.acceptor.watcher.streams[0]
        while inlet.flows or not stream.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # nothing tells of a flow's end
        one.transport.sendto(b"b")
        await one.watch.until(lambda: len(one.received) == 2)
        assert len(ends.acceptor.watcher.streams) == 2


async def test_the_quietest_sender_makes_room(tmp_path: Path) -> None:
    async with (
        path_through(tmp_path, max_flows=1) as (ends, inlet, _program, address),
        udp(Socket(), remote_addr=address) as one,
        udp(Socket(), remote_addr=address) as other,
    ):
        for socket in (one, other, one):
            socket.received.clear()
            socket.transport.sendto(b"x")
            await socket.watch.until(lambda s=socket: s.received)
            assert len(inlet.flows) == 1
        assert len(ends.acceptor.watcher.streams) == 3


async def test_a_refused_stream_loses_the_datagram_and_nothing_else(tmp_path: Path) -> None:
    async with (
        path_through(tmp_path) as (ends, inlet, _program, address),
        udp(Socket(), remote_addr=address) as one,
    ):
        works = ends.acceptor.watcher.serve
        ends.acceptor.watcher.serve = lambda stream: stream.refuse(StreamRefused("no"))
        one.transport.sendto(b"lost")
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.streams))
        while inlet.flows:  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # until the refusal has come back
        ends.acceptor.watcher.serve = works
        one.transport.sendto(b"kept")
        await one.watch.until(lambda: one.received)
        assert one.received == [b"KEPT"]


async def test_a_target_where_nobody_listens_loses_datagrams_quietly(tmp_path: Path) -> None:
    async with (
        path_through(tmp_path) as (ends, _inlet, program, address),
        udp(Socket(), remote_addr=address) as one,
    ):
        port = program.address
        program.transport.close()
        await asyncio.sleep(0)
        one.transport.sendto(b"lost")
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.streams))
        async with udp(Socket(answers=True), local_addr=port):
            while not one.received:
                one.transport.sendto(b"again")
                await asyncio.sleep(0.005)  # datagrams may be lost; whoever cares says it again


async def test_a_protocol_without_use_for_datagrams_gets_none(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        recorder, far = Recorder(), Recorder()
        ends.acceptor.watcher.serve = lambda stream: stream.accept(far)
        stream = ends.tunnel.open_stream(TARGET, recorder)
        stream.send_datagram(b"whatever")
        stream.write(b"bytes")
        await far.wait_until(lambda seen: seen.data == b"bytes")
        assert not far.lost


async def test_what_comes_before_a_stream_is_accepted_is_bounded(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        watcher = ends.acceptor.watcher
        watcher.serve = lambda stream: None
        largest, small = (ends.tunnel.open_stream(TARGET, Recorder()) for _ in range(2))
        for n in range(20):
            small.send_datagram(b"x")
            if n % 10 == 0:
                largest.send_datagram(b"x" * 65_507)
        await asyncio.sleep(0)  # all of them leave, before the call
        await ends.tunnel.call(ReportCluster(version="0.1", driver="local"))
        kept = [stream._datagrams or [] for stream in watcher.streams]
        assert [len(datagrams) for datagrams in kept] == [1, MAX_EARLY_DATAGRAMS]
