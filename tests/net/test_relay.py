"""Two sockets joined by a relay behave as one connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from lapdev.net.listener import dial, listen
from lapdev.net.relay import Relay, Waiting, relay, relay_waiting

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def joined_pair() -> AsyncIterator[tuple[Ends, Ends, asyncio.Queue[Relay]]]:
    """(client, app): what one writes, the other reads, through a relay between them."""
    app_ready: asyncio.Future[Ends] = asyncio.get_running_loop().create_future()
    done: asyncio.Queue[Relay] = asyncio.Queue()
    inbound: asyncio.Queue[Waiting] = asyncio.Queue()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        app_ready.set_result((reader, writer))

    class Accepting(Waiting):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            inbound.put_nowait(self)

    app_server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    front = await listen("127.0.0.1:0", Accepting)
    client = await asyncio.open_connection(*str(front.address).split(":"))
    near = await inbound.get()
    port = app_server.sockets[0].getsockname()[1]
    transport, far = await dial(f"127.0.0.1:{port}", Waiting)
    relay(near.transport, transport, done.put_nowait)
    app = await app_ready
    try:
        yield client, app, done
    finally:
        for _, writer in (client, app):
            writer.transport.abort()  # close would wait for a reader that has stopped
        far.transport.abort()
        near.transport.abort()
        await front.aclose()
        app_server.close()
        await asyncio.sleep(0)


async def test_bytes_cross_in_both_directions() -> None:
    async with joined_pair() as ((client_in, client_out), (app_in, app_out), _):
        client_out.write(b"ping")
        assert await app_in.readexactly(4) == b"ping"
        app_out.write(b"pong!")
        assert await client_in.readexactly(5) == b"pong!"


async def test_the_end_of_one_direction_leaves_the_other_open() -> None:
    async with joined_pair() as ((client_in, client_out), (app_in, app_out), _):
        client_out.write(b"question")
        client_out.write_eof()
        assert await app_in.read() == b"question"
        app_out.write(b"answer")
        app_out.write_eof()
        assert await client_in.read() == b"answer"


async def test_both_directions_ended_ends_the_relay_and_counts_bytes() -> None:
    async with joined_pair() as ((client_in, client_out), (app_in, app_out), done):
        client_out.write(b"12345")
        client_out.write_eof()
        await app_in.read()
        app_out.write(b"123")
        app_out.write_eof()
        await client_in.read()
        async with asyncio.timeout(5):
            ended = await done.get()
        assert (ended.bytes_from_a, ended.bytes_from_b) == (5, 3)


async def test_what_came_before_the_join_goes_first_and_an_early_end_counts() -> None:
    sides: asyncio.Queue[Waiting] = asyncio.Queue()

    class Accepting(Waiting):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            sides.put_nowait(self)

    listener = await listen("127.0.0.1:0", Accepting)
    client_in, client_out = await asyncio.open_connection(*str(listener.address).split(":"))
    client_side = await sides.get()
    app_in, app_out = await asyncio.open_connection(*str(listener.address).split(":"))
    app_side = await sides.get()
    client_side.data_received(b"early, ")
    app_side.data_received(b"greeting, ")
    app_side.eof_received()
    relay_waiting(client_side, app_side)
    client_out.write(b"late")
    client_out.write_eof()
    async with asyncio.timeout(5):
        assert await app_in.read() == b"early, late"
        assert await client_in.read() == b"greeting, "
    client_out.close()
    app_out.close()
    await listener.aclose()


async def test_a_reset_on_one_side_reaches_the_other() -> None:
    async with joined_pair() as ((client_in, client_out), (app_in, app_out), _):
        client_out.write(b"x")
        await app_in.readexactly(1)
        app_out.transport.abort()
        async with asyncio.timeout(5):
            with suppress(ConnectionResetError):
                assert await client_in.read() == b""


async def test_a_reader_that_stops_stops_the_writer() -> None:
    async with joined_pair() as ((_, client_out), (app_in, _), done):
        app_in._transport.pause_reading()  # type: ignore[attr-defined]
        piece = b"x" * 1_000_000
        sent = 0
        try:
            async with asyncio.timeout(1.0):
                while sent < 400_000_000:
                    client_out.write(piece)
                    sent += len(piece)
                    await client_out.drain()
        except TimeoutError:
            pass
        assert sent < 100_000_000, "the relay swallowed what nobody reads"
        assert done.empty()


async def test_a_side_that_was_lost_before_the_two_were_joined_takes_the_other_along() -> None:
    accepted: asyncio.Queue[Waiting] = asyncio.Queue()

    class Accepting(Waiting):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted.put_nowait(self)

    front = await listen("127.0.0.1:0", Accepting)
    _, gone = await dial(str(front.address), Waiting)
    _, other = await dial(str(front.address), Waiting)
    gone.transport.abort()
    await asyncio.sleep(0)
    while gone.lost is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    done: list[Relay] = []
    relay_waiting(gone, other, done.append)
    assert len(done) == 1
    assert other.transport.is_closing()
    for _ in range(2):
        (await accepted.get()).transport.abort()
    await front.aclose()
    await asyncio.sleep(0.01)
