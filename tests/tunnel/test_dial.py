"""One try to connect: what travels, and acceptors that make no sense."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lapdev.errors import (
    ConfigError,
    RemoteProtocolError,
    TunnelRefused,
)
from lapdev.net.exchange import Exchange
from lapdev.net.http_server import HttpServer
from lapdev.net.listener import listen
from lapdev.tunnel import TunnelOptions, Uplink, UplinkOptions, new_id
from lapdev.wire.control import Done, ReportCluster
from lapdev.wire.mux import Welcome, encode_welcome
from tests.support.tunnel_ends import (
    FAST,
    Acceptor,
    Watcher,
    connected,
    first_error,
)
from tests.support.watch import Watch

HELLO = ReportCluster(version="0.1", driver="local")


async def test_the_credential_travels_in_a_header_and_nowhere_else(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        (exchange,) = ends.acceptor.requests
        assert exchange.request.target == b"/_lapdev/tunnel/manager"
        headers = {name.lower(): value for name, value in exchange.request.headers}
        assert headers[b"authorization"] == b"Bearer s3cret"
        assert headers[b"sec-websocket-protocol"] == b"lapdev.tunnel.v1"
        assert b"sec-websocket-extensions" not in headers
        assert "s3cret" not in repr(ends.options)


async def test_it_dials_tcp_too() -> None:
    acceptor = Acceptor("127.0.0.1:0", FAST)
    await acceptor.start()
    assert acceptor._listener is not None
    options = UplinkOptions(
        f"http://{acceptor._listener.address}", "/t", "s3cret", "manager", new_id(), tunnel=FAST
    )
    uplink = Uplink(options, Watcher())
    task = asyncio.get_running_loop().create_task(uplink.run())
    tunnel = await uplink.wait_up()
    assert await tunnel.call(HELLO) == Done()
    task.cancel()
    await asyncio.wait([task])
    await acceptor.aclose()


class Misbehaving:
    """An acceptor that upgrades and then says what it likes."""

    def __init__(self, folder: Path, message: bytes | None) -> None:
        self.address = f"unix:{folder}/m"
        self._message = message
        self._http = HttpServer(self._serve)
        self._server = Acceptor(self.address, FAST)

    async def start(self) -> None:
        self._listener = await listen(self.address, self._http.connection)

    def _serve(self, exchange: Exchange) -> None:
        if self._message is None:
            transport, _ = exchange.detach()
            transport.write(b"220 mail.example ESMTP\r\n")
            transport.close()
            exchange.finish_detached("")
            return
        self._server.server.accept(exchange, self._server.identity)
        (greeting,) = self._server.server._greetings
        assert greeting.websocket is not None
        greeting.websocket.send(self._message)

    async def aclose(self) -> None:
        await self._listener.aclose()
        await self._server.server.aclose()
        await self._http.aclose()


WELCOME = Welcome("c", "another", False, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (None, TunnelRefused),
        (b"\xc1", RemoteProtocolError),
        (encode_welcome(WELCOME), RemoteProtocolError),
    ],
)
async def test_an_acceptor_that_makes_no_sense_is_reported_and_tried_again(
    tmp_path: Path, message: bytes | None, kind: type[Exception]
) -> None:
    acceptor = Misbehaving(tmp_path, message)
    await acceptor.start()
    options = UplinkOptions(acceptor.address, "/t", "x", "manager", "i", tunnel=FAST)
    uplink = Uplink(options, Watcher())
    task = asyncio.get_running_loop().create_task(uplink.run())
    assert isinstance(await first_error(uplink), kind)
    task.cancel()
    await asyncio.wait([task])
    await acceptor.aclose()


async def test_an_acceptor_that_never_answers_is_given_up(tmp_path: Path) -> None:
    silent: list[Exchange] = []
    watch = Watch()

    def serve(exchange: Exchange) -> None:
        silent.append(exchange)
        watch()

    http = HttpServer(serve)
    listener = await listen(f"unix:{tmp_path}/q", http.connection)
    options = UplinkOptions(
        f"unix:{tmp_path}/q",
        "/t",
        "x",
        "manager",
        "i",
        tunnel=TunnelOptions(handshake_timeout=0.03, retry_most=0.01),
    )
    uplink = Uplink(options, Watcher())
    task = asyncio.get_running_loop().create_task(uplink.run())
    await watch.until(lambda: len(silent) >= 2)
    assert "no answer in time" in str(uplink.last_error)
    task.cancel()
    await asyncio.wait([task])
    await listener.aclose()
    for exchange in silent:
        exchange.abort()
    await http.aclose()


@pytest.mark.parametrize("links", [0, 5])
def test_a_number_of_links_that_cannot_be_is_said_at_once(links: int) -> None:
    with pytest.raises(ConfigError, match=f"{links} links"):
        UplinkOptions("unix:/s", "/t", "x", "manager", "i", links=links)
