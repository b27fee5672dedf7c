"""The dialling end: addresses, refusals, coming back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from lapdev.errors import (
    ConfigError,
    ConnectFailed,
    RemoteProtocolError,
    TunnelClosed,
    TunnelRefused,
)
from lapdev.net.exchange import Exchange
from lapdev.net.http_server import HttpServer
from lapdev.net.listener import listen
from lapdev.tunnel import TunnelOptions, Uplink, UplinkOptions, new_id
from lapdev.wire.control import Done, ReportCluster
from lapdev.wire.mux import Welcome, encode_welcome
from tests.support.tunnel_ends import FAST, TARGET, Acceptor, Recorder, Watcher, connected
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


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_a_refusal_is_named_and_tried_again(tmp_path: Path, status: int) -> None:
    async with connected(tmp_path, wait=False) as ends:
        ends.acceptor.refuse_with = status
        error = await first_error(ends.uplink)
        assert isinstance(error, TunnelRefused)
        assert error.answer_status == status
        assert "unknown token" in str(error)
        assert "s3cret" not in str(error)
        assert ("token" in error.hint) == (status != 500)
        ends.acceptor.refuse_with = 0
        assert (await ends.uplink.wait_up()).connected
        assert ends.uplink.last_error is None


async def first_error(uplink: Uplink) -> Exception:
    watch = Watch()
    uplink.on_failed = watch
    await watch.until(lambda: uplink.last_error is not None)
    assert uplink.last_error is not None
    return uplink.last_error


async def test_an_acceptor_that_is_not_there_yet_is_found_when_it_is(tmp_path: Path) -> None:
    watcher = Watcher()
    address = f"unix:{tmp_path}/s"
    uplink = Uplink(UplinkOptions(address, "/t", "x", "manager", "i", tunnel=FAST), watcher)
    task = asyncio.get_running_loop().create_task(uplink.run())
    assert isinstance(await first_error(uplink), ConnectFailed)
    acceptor = Acceptor(address, FAST)
    await acceptor.start()
    await uplink.wait_up()
    task.cancel()
    await asyncio.wait([task])
    await acceptor.aclose()


async def test_an_address_that_cannot_be_dialled_is_said(tmp_path: Path) -> None:
    uplink = Uplink(UplinkOptions("ftp://x", "/t", "x", "manager", "i", tunnel=FAST), Watcher())
    task = asyncio.get_running_loop().create_task(uplink.run())
    assert isinstance(await first_error(uplink), ConfigError)
    task.cancel()
    await asyncio.wait([task])


async def test_a_restarted_acceptor_means_a_new_session_and_the_old_streams_are_lost(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as ends:
        recorder, session = Recorder(), ends.tunnel.session
        ends.tunnel.open_stream(TARGET, recorder)
        await recorder.wait_until(lambda seen: seen.accepted)
        await ends.acceptor.aclose()
        second = Acceptor(ends.acceptor.address, FAST, "acceptor-2")
        await second.start()
        await recorder.wait_until(lambda seen: bool(seen.lost))
        assert "does not know the session" in str(recorder.lost[0])
        await ends.watcher.wait_until(lambda seen: len(seen.up) == 2)
        assert ends.watcher.up == [False, False]
        assert ends.tunnel.instance == "acceptor-2"
        assert ends.tunnel.session == session, "the acceptor has begun it anew"
        ends.cut()
        await ends.watcher.wait_until(lambda seen: seen.up == [False, False, True])
        assert await ends.tunnel.call(HELLO) == Done()
        await ends.tasks.aclose()
        await second.aclose()


async def test_stopping_ends_the_session_at_both_ends(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        await ends.tasks.aclose()
        assert ends.uplink.tunnel is None
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.closed))
        assert not ends.acceptor.watcher.down


async def test_an_instance_dialled_twice_is_the_newer_ones(tmp_path: Path) -> None:
    options = replace(FAST, replaced_delay=60.0)
    async with connected(tmp_path, options) as ends:
        recorder = Recorder()
        ends.tunnel.open_stream(TARGET, recorder)
        await recorder.wait_until(lambda seen: seen.accepted)
        newer = Watcher()
        ends.dial_as(newer)
        await newer.wait_until(lambda seen: bool(seen.up))
        await recorder.wait_until(lambda seen: bool(seen.lost))
        assert "4409" in str(recorder.lost[0])
        assert len(ends.acceptor.server.tunnels) == 1
        assert ends.uplink.tunnel is None
        assert ends.uplink._least_delay() == 60.0, "it does not fight back"


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
    assert "no answer within" in str(uplink.last_error)
    task.cancel()
    await asyncio.wait([task])
    await listener.aclose()
    for exchange in silent:
        exchange.abort()
    await http.aclose()


async def test_a_session_that_ended_here_while_the_acceptor_resumed_it_is_not_resumed(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as ends:
        old = ends.tunnel
        ends.acceptor.welcoming = lambda: old.end(TunnelClosed("grace over"))
        ends.cut()
        await ends.watcher.wait_until(lambda seen: len(seen.up) == 2)
        assert ends.watcher.up == [False, False]
        assert ends.tunnel.session != old.session
        assert await ends.tunnel.call(HELLO) == Done()


async def test_a_dialler_that_never_saw_its_welcome_begins_anew(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        theirs, session = ends.acceptor.tunnel, ends.tunnel.session
        ends.uplink.tunnel = None  # as if WELCOME had been lost with its connection
        websocket = theirs._websocket
        assert websocket is not None
        websocket.abort()
        await ends.acceptor.watcher.wait_until(lambda seen: len(seen.up) == 2)
        assert ends.acceptor.watcher.up == [False, False]
        assert theirs.closed
        assert ends.acceptor.tunnel.session == session
