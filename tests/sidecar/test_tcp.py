"""Connections whose protocol nobody declared, and those declared raw: over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from lapdev.model import Protocol
from tests.support.raw import AppConnection, answer_every_request, connect, recording_app
from tests.support.sidecar import ONE, branch, launch, running
from tests.support.unused import unused_port

RAW = [Protocol.TCP, Protocol.UNDECLARED]


async def greets_first(connection: AppConnection) -> None:
    """As MySQL and SMTP do: nothing comes from the client before the greeting."""
    connection.send(b"\x4a\x00\x00\x00\x0a8.0.36\x00")
    connection.send(b"you said " + await connection.read_exactly(5))


async def echoes_lines(connection: AppConnection) -> None:
    while True:
        connection.send(b"+" + await connection.read_until(b"\r\n"))


async def answers_at_the_end(connection: AppConnection) -> None:
    everything = await connection.reader.read()
    connection.send(b"%d bytes" % len(everything))


@pytest.mark.parametrize("protocol", RAW)
async def test_a_server_that_speaks_first_is_heard(protocol: Protocol) -> None:
    async with (
        recording_app(greets_first) as app,
        running(launch(app.port, protocol)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        assert (await client.read_exactly(12)).endswith(b"8.0.36\x00")
        client.send(b"HELLO")
        assert await client.read_rest() == b"you said HELLO"
        assert sidecar.counters.raw_connections == 1


@pytest.mark.parametrize("protocol", RAW)
async def test_a_client_that_cannot_be_http_is_relayed(protocol: Protocol) -> None:
    async with (
        recording_app(echoes_lines) as app,
        running(launch(app.port, protocol)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        for line in (b"*1\r\n", b"$4\r\n", b"PING\r\n"):
            client.send(line)
            assert await client.read_until(b"\r\n") == b"+" + line


async def test_half_a_request_line_becomes_raw_when_the_app_speaks() -> None:
    async def speaks_later(connection: AppConnection) -> None:
        connection.send(b"220 ready\r\n")
        connection.send(b"then " + await connection.read_exactly(6))

    async with (
        recording_app(speaks_later) as app,
        running(launch(app.port, Protocol.UNDECLARED)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.send(b"GET")
        assert await client.read_until(b"\r\n") == b"220 ready\r\n"
        client.send(b" us")
        assert await client.read_rest() == b"then GET us"


async def test_half_a_request_line_becomes_raw_when_the_client_ends() -> None:
    async with (
        recording_app(answers_at_the_end) as app,
        running(launch(app.port, Protocol.UNDECLARED)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.send(b"GET / HTT")
        client.writer.write_eof()
        assert await client.read_rest() == b"9 bytes"


@pytest.mark.parametrize("cut", [1, 3, 5, 9, 13, 16])
async def test_a_request_in_two_pieces_is_http(cut: int) -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    async with (
        recording_app(answer_every_request) as app,
        running(launch(app.port, Protocol.UNDECLARED)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.send(request[:cut])
        await client.writer.drain()
        client.send(request[cut:])
        status, headers, body = await client.response()
        assert (status, body) == (200, b"GET / HTTP/1.1")
        assert "lapdev-answered-by" in headers
        assert len(app.connections) == 1
        assert sidecar.counters.raw_connections == 0


@pytest.mark.parametrize("protocol", RAW)
async def test_half_close_works_towards_the_app(protocol: Protocol) -> None:
    async with (
        recording_app(answers_at_the_end) as app,
        running(launch(app.port, protocol)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.send(b"\x00" * 300_000)
        client.writer.write_eof()
        assert await client.read_rest() == b"300000 bytes"


@pytest.mark.parametrize("protocol", RAW)
async def test_half_close_works_towards_the_client(protocol: Protocol) -> None:
    after = asyncio.Event()

    async def ends_then_listens(connection: AppConnection) -> None:
        connection.send(b"bye")
        connection.writer.write_eof()
        await connection.read_exactly(5)
        after.set()

    async with (
        recording_app(ends_then_listens) as app,
        running(launch(app.port, protocol)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        assert await client.read_rest() == b"bye"
        client.send(b"later")
        async with asyncio.timeout(5):
            await after.wait()


@pytest.mark.parametrize("protocol", RAW)
async def test_a_connection_that_only_opens_and_ends_is_passed_on(protocol: Protocol) -> None:
    async with (
        recording_app(answers_at_the_end) as app,
        running(launch(app.port, protocol)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.writer.write_eof()
        assert await client.read_rest() == b"0 bytes"


async def test_a_raw_client_of_an_app_that_is_down_is_reset() -> None:
    async with (
        running(launch(unused_port(), Protocol.TCP)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        assert await client.read_rest() == b""


async def test_an_undeclared_client_of_an_app_that_is_down_is_answered_as_it_speaks() -> None:
    async with running(launch(unused_port(), Protocol.UNDECLARED)) as sidecar:
        async with connect(sidecar.addresses[0]) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.response())[0] == 502
        async with connect(sidecar.addresses[0]) as client:
            client.send(b"\x00\x01")
            assert await client.read_rest() == b""


async def test_an_app_that_starts_meanwhile_gets_the_raw_client() -> None:
    port = unused_port()
    async with (
        running(launch(port, Protocol.UNDECLARED)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.response())[0] == 502
        async with recording_app(echoes_lines, port), connect(sidecar.addresses[0]) as second:
            second.send(b"ping\r\n")
            assert await second.read_until(b"\r\n") == b"+ping\r\n"


async def test_raw_connections_go_to_the_base_whatever_branches_there_are() -> None:
    async with (
        recording_app(greets_first) as app,
        recording_app(greets_first) as other,
        running(
            launch(app.port, Protocol.UNDECLARED), branch(ONE, "one", other.address)
        ) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        await client.read_exactly(12)
        assert (len(app.connections), len(other.connections)) == (1, 0)
        client.send(b"HELLO")
        await client.read_rest()


async def test_a_branch_request_on_an_undeclared_port_leaves_the_app_unasked() -> None:
    async with (
        recording_app(answer_every_request) as app,
        recording_app(answer_every_request) as one,
        running(launch(app.port, Protocol.UNDECLARED), branch(ONE, "one", one.address)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.send(
            b"GET / HTTP/1.1\r\nHost: a\r\ntracestate: lapdev-env-id=%s\r\n\r\n" % ONE.encode()
        )
        assert (await client.response())[0] == 200
        assert b"".join(map(bytes, app.connections)) == b""
        assert len(one.connections) == 1


async def test_a_client_that_leaves_before_it_spoke_leaves_nothing_behind() -> None:
    gone = asyncio.Event()

    async def waits(connection: AppConnection) -> None:
        try:
            await connection.reader.read()
        finally:
            gone.set()

    async with (
        recording_app(waits) as app,
        running(launch(app.port, Protocol.UNDECLARED)) as sidecar,
    ):
        async with connect(sidecar.addresses[0]) as client:
            client.send(b"GE")
            await client.writer.drain()
        async with asyncio.timeout(5):
            await gone.wait()
