"""The relay passes bytes as they are, but when it is told to harm them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.keyed import KeyedReader, keyed
from tests.faults.relay import Relay, Toxics, relay
from tests.support.raw import AppConnection, recording_app

SIZE = 300_000


async def echo(connection: AppConnection) -> None:
    while data := await connection.reader.read(65_536):
        connection.send(data)
        await connection.writer.drain()


@asynccontextmanager
async def relayed() -> AsyncIterator[Relay]:
    async with recording_app(echo) as app, relay(("127.0.0.1", app.port), seed=1) as made:
        yield made


async def there_and_back(made: Relay, size: int = SIZE) -> KeyedReader:
    reader, writer = await asyncio.open_connection(*made.address)
    check = KeyedReader("a")
    writer.write(keyed("a", 0, size))
    writer.write_eof()
    try:
        while data := await reader.read(65_536):
            check.feed(data)
    finally:
        writer.close()
    return check


@pytest.mark.parametrize(
    ("toxics", "size"),
    [
        (Toxics(), SIZE),
        (Toxics(latency=0.01, jitter=0.01), SIZE),
        (Toxics(slices=(1, 7)), 5_000),
        (Toxics(rate=3_000_000), SIZE),
        (Toxics(close_delay=0.01), SIZE),
    ],
    ids=["nothing", "delay", "slices", "rate", "a late end"],
)
async def test_every_byte_arrives_and_the_end_after_them(toxics: Toxics, size: int) -> None:
    async with relayed() as made:
        made.toxics = toxics
        check = await there_and_back(made, size)
    assert (check.offset, check.wrong_at) == (size, -1)


async def test_both_ends_see_a_reset() -> None:
    async with relayed() as made:
        reader, writer = await asyncio.open_connection(*made.address)
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        made.reset_all()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()
        assert made.accepted == 1


async def test_a_limit_resets_when_it_is_reached() -> None:
    async with relayed() as made:
        made.toxics.limit = 100_000
        with pytest.raises(ConnectionResetError):
            await there_and_back(made)


async def test_what_was_stalled_goes_on() -> None:
    async with relayed() as made:
        made.stall()
        passing = asyncio.get_running_loop().create_task(there_and_back(made))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(passing), 0.05)
        made.flow()
        assert (await passing).offset == SIZE


async def test_while_it_is_down_connections_are_reset() -> None:
    async with relayed() as made:
        made.go_down()
        with pytest.raises(ConnectionResetError):
            await there_and_back(made)
        made.come_up()
        assert (await there_and_back(made)).offset == SIZE
