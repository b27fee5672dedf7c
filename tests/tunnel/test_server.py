"""The accepting end: which session a connection belongs to, and who is turned away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest

from lapdev.errors import Overloaded
from lapdev.model import Identity, RoleName
from lapdev.net.websocket import ClientTarget, Lost, WebsocketConnection, WebsocketOptions
from lapdev.wire.control import Done, ReportCluster
from lapdev.wire.mux import SUBPROTOCOL, Hello, decode_welcome, encode_hello
from tests.support.tunnel_ends import FAST, TARGET, Recorder, Watcher, connected, first_error

CALL = ReportCluster(version="0.1", driver="local")


async def test_two_instances_of_one_owner_live_side_by_side(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        second = ends.dial_as(Watcher(), instance="dialler-2")
        await second.wait_up()
        await ends.acceptor.watcher.wait_until(lambda seen: len(seen.up) == 2)
        assert {one.instance for one in ends.acceptor.server.tunnels} == {"dialler-1", "dialler-2"}
        for tunnel in ends.acceptor.server.tunnels:
            assert await tunnel.call(CALL) == Done()
        assert not ends.watcher.down


async def test_row_65_a_newer_session_of_an_instance_replaces_the_older_with_4409(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path, replace(FAST, replaced_delay=60.0)) as ends:
        older = ends.acceptor.tunnel
        newer = ends.dial_as(Watcher())
        await newer.wait_up()
        await ends.watcher.wait_until(lambda seen: bool(seen.closed))
        assert older.closed
        assert ends.acceptor.tunnel is not older
        assert "4409" in str(ends.watcher.closed[0])


async def test_a_process_that_replaces_another_resets_its_streams_at_once(tmp_path: Path) -> None:
    async with connected(tmp_path, replace(FAST, replaced_delay=60.0)) as ends:
        waiting = Recorder()
        stream = ends.acceptor.tunnel.open_stream(TARGET, waiting)
        await stream.wait_accepted()
        await ends.acceptor.stop_listening()
        ends.cut()
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.down))
        assert not waiting.lost, "within the grace time it waits"
        await ends.acceptor.start()
        ends.dial_as(Watcher(), instance="dialler-2", replaces="dialler-1")
        await waiting.wait_until(lambda seen: bool(seen.lost))
        assert "new process" in str(waiting.lost[0])


async def test_replacing_reaches_no_other_identitys_instances(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.acceptor.identity = Identity(RoleName.MANAGER, "cluster-2")
        other = ends.dial_as(Watcher(), instance="dialler-2", replaces="dialler-1")
        await other.wait_up()
        same = ends.dial_as(Watcher())  # the same instance id, by another owner
        await same.wait_up()
        await ends.acceptor.watcher.wait_until(lambda seen: len(seen.up) == 3)
        assert len(ends.acceptor.server.tunnels) == 3
        assert not ends.watcher.down


async def test_a_session_that_comes_back_before_its_loss_was_noticed_is_taken_over(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as ends:
        theirs = ends.acceptor.tunnel
        old = theirs._links[0].websocket
        with Peer(encode_hello(Hello("manager", "dialler-1", theirs.session, resume=True))) as peer:
            await peer.connect(f"{tmp_path}/s")
            welcome = decode_welcome(await peer.message())
            assert welcome.resumed
            assert ends.acceptor.watcher.up == [False], "it was never down"
            old.pause_writing()  # its last words wait: no business of the new connection
            assert not theirs.mux.table[0].congested
            await old.wait_closed()
        await ends.watcher.wait_until(lambda seen: seen.up == [False, True])


async def test_f20_near_the_limits_no_session_begins_and_those_held_are_resumed(
    tmp_path: Path,
) -> None:
    def refuse() -> None:
        raise Overloaded

    async with connected(tmp_path) as ends:
        server = ends.acceptor.server
        stream = ends.acceptor.tunnel.open_stream(TARGET, held := Recorder())
        await stream.wait_accepted()
        server.admit_session = refuse
        ends.cut()
        await ends.watcher.wait_until(lambda seen: seen.up == [False, True])
        assert not held.lost
        other = ends.dial_as(Watcher(), instance="dialler-2", replaces="dialler-1")
        assert "1013" in str(await first_error(other))
        assert ends.acceptor.tunnel.connected, "who is refused replaces nobody"
        server.admit_session = None
        await other.wait_up()


class Peer:
    """A websocket client that says one thing and listens."""

    def __init__(self, message: bytes | None) -> None:
        self._message = message
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost: asyncio.Future[Lost] = asyncio.get_running_loop().create_future()
        self.websocket: WebsocketConnection | None = None

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *details: object) -> None:
        if self.websocket is not None:
            self.websocket.abort()

    async def connect(self, path: str) -> None:
        target = ClientTarget("localhost", 80, False, "/t")
        _, self.websocket = await asyncio.get_running_loop().create_unix_connection(
            lambda: WebsocketConnection.client(target, self, WebsocketOptions(SUBPROTOCOL)), path
        )

    async def message(self) -> bytes:
        return await self.messages.get()

    def websocket_opened(self, websocket: WebsocketConnection) -> None:
        if self._message is not None:
            websocket.send(self._message)

    def message_received(self, websocket: WebsocketConnection, message: bytes) -> None:
        self.messages.put_nowait(message)

    def websocket_lost(self, websocket: WebsocketConnection, lost: Lost) -> None:
        if not self.lost.done():
            self.lost.set_result(lost)

    def bytes_received(self) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        (encode_hello(Hello("sidecar", "i", "s")), 1002, "role|hello a sidecar"),
        (encode_hello(Hello("manager", "i", "s", link=1)), 4404, "no such session"),
        (encode_hello(Hello("manager", "i", "s", link=1, resume=True)), 4404, "no such session"),
        (encode_hello(Hello("manager", "i", "s", version=9)), 1002, "version 9"),
        (msgpack.packb([8, 1]), 1002, "HELLO"),
        (b"\xc1", 1007, "msgpack"),
        (b"\x92\x00", 1007, "cut off"),
    ],
)
async def test_a_hello_that_does_not_fit_is_refused(
    tmp_path: Path, message: bytes, code: int, reason: str
) -> None:
    async with connected(tmp_path) as ends:
        with Peer(message) as peer:
            await peer.connect(f"{tmp_path}/s")
            lost = await peer.lost
            assert lost.code == code
            assert any(part in lost.reason for part in reason.split("|"))
        assert len(ends.acceptor.server.tunnels) == 1


async def test_row_66_a_peer_that_sends_no_hello_is_closed_in_time(tmp_path: Path) -> None:
    async with connected(tmp_path, replace(FAST, handshake_timeout=0.05), wait=False) as ends:
        with Peer(None) as peer:
            await peer.connect(f"{tmp_path}/s")
            assert (await peer.lost).code == 4408
        await ends.uplink.wait_up()


async def test_closing_turns_away_who_has_not_said_hello(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        with Peer(None) as peer:
            await peer.connect(f"{tmp_path}/s")
            await ends.acceptor.requested.until(lambda: len(ends.acceptor.requests) == 2)
            await ends.tasks.aclose()
            await ends.acceptor.server.aclose()
            assert (await peer.lost).code == 1001


async def test_an_exchange_that_became_a_tunnel_is_finished_with_it(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        (exchange,) = ends.acceptor.requests
        assert not exchange.finished
        await ends.tunnel.aclose("enough")
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.closed))
        await ends.watcher.wait_until(lambda seen: len(seen.up) == 2)
        assert exchange.finished
        assert exchange.error == ""


async def test_a_request_that_is_no_websocket_request_gets_an_http_answer(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/s")
        writer.write(b"GET /t HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 426 ")
        writer.close()
        await writer.wait_closed()
        assert len(ends.acceptor.server.tunnels) == 1


async def test_a_session_is_forgotten_when_it_is_over(tmp_path: Path) -> None:
    async with connected(tmp_path, replace(FAST, grace=0.02)) as ends:
        await ends.acceptor.stop_listening()
        ends.cut()
        await ends.acceptor.watcher.wait_until(lambda seen: bool(seen.closed))
        assert ends.acceptor.server.tunnels == []
