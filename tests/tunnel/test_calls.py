"""Control calls over a tunnel: answers, failures, and connections lost in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest

from lapdev.errors import CallFailed, NotReady, TunnelClosed
from lapdev.tunnel import Tunnel
from lapdev.wire.control import Done, Message, ReportCluster, SyncEnvironments, SyncNeeds
from lapdev.wire.mux.frames import FrameType, encode
from tests.support.tunnel_ends import Watcher, connected, failing

HELLO = ReportCluster(version="0.1", driver="local")


async def test_a_call_is_answered_and_a_failure_has_the_peers_words(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.answer = lambda message: SyncNeeds(())
        assert await ends.tunnel.call(SyncEnvironments(())) == SyncNeeds(())
        ends.acceptor.watcher.answer = failing(NotReady("the store is away", hint="wait"))
        with pytest.raises(CallFailed, match="the store is away") as caught:
            await ends.tunnel.call(HELLO)
        assert (caught.value.cause, caught.value.hint) == ("not_ready", "wait")


async def test_calls_go_both_ways(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        assert await ends.acceptor.tunnel.call(HELLO) == Done()
        assert ends.watcher.calls == [HELLO]


async def test_a_handler_that_breaks_is_an_error_for_the_caller_and_not_its_text(
    tmp_path: Path,
) -> None:
    def broken(message: object) -> Done:
        raise KeyError("secret")

    async with connected(tmp_path) as ends:
        ends.acceptor.watcher.answer = broken
        with pytest.raises(CallFailed, match="failed at the other end") as caught:
            await ends.tunnel.call(HELLO)
        assert "secret" not in str(caught.value)
        ends.acceptor.watcher.answer = lambda message: Done()
        assert await ends.tunnel.call(HELLO) == Done()


async def test_a_call_waits_across_a_lost_connection_and_is_answered_once(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        watcher = ends.acceptor.watcher
        watcher.gate.clear()
        async with asyncio.TaskGroup() as group:
            answer = group.create_task(ends.tunnel.call(HELLO))
            await watcher.wait_until(lambda seen: len(seen.calls) == 1)
            ends.cut()
            await watcher.wait_until(lambda seen: seen.up == [False, True])
            watcher.gate.set()
        assert answer.result() == Done()


async def test_a_call_made_while_the_connection_is_away_waits_for_it(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        ends.cut()
        await ends.watcher.wait_until(lambda seen: bool(seen.down))
        assert not ends.tunnel.connected
        assert await ends.tunnel.call(HELLO) == Done()


async def test_a_cancelled_call_is_forgotten(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        watcher = ends.acceptor.watcher
        watcher.gate.clear()
        task = ends.tasks.spawn(ends.tunnel.call(HELLO), "call")
        await watcher.wait_until(lambda seen: len(seen.calls) == 1)
        task.cancel()
        watcher.gate.set()
        assert await ends.tunnel.call(HELLO) == Done()


async def test_a_message_larger_than_a_frame_fails_for_its_caller_only(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        with pytest.raises(CallFailed, match="exceeds"):
            await ends.tunnel.call(ReportCluster(version="x" * 2_000_000, driver="local"))
        ends.acceptor.watcher.answer = lambda message: ReportCluster("x" * 2_000_000, "local")
        with pytest.raises(CallFailed, match="exceeds"):
            await ends.tunnel.call(HELLO)
        ends.acceptor.watcher.answer = lambda message: Done()
        assert await ends.tunnel.call(HELLO) == Done()


async def test_an_answer_that_is_no_message_fails_for_its_caller_only(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        watcher = ends.acceptor.watcher
        watcher.gate.clear()
        call = ends.tasks.spawn(failure_of(ends.tunnel.call(HELLO)), "call")
        await watcher.wait_until(lambda seen: bool(seen.calls))
        websocket = ends.acceptor.tunnel._links[0].websocket
        websocket.send(encode(FrameType.REPLY, 1, True, {"name": "Nonsense", "body": {}}))
        assert "cannot be read" in str(await call)
        watcher.gate.set()
        assert await ends.tunnel.call(HELLO) == Done()


async def failure_of(call: Awaitable[object]) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await call
    return caught.value


async def test_what_is_being_answered_is_cancelled_with_the_session(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends:
        watcher, theirs = ends.acceptor.watcher, ends.acceptor.tunnel
        watcher.gate.clear()
        call = ends.tasks.spawn(ends.tunnel.call(HELLO), "call")
        await watcher.wait_until(lambda seen: bool(seen.calls))
        call.cancel()
        await theirs.aclose("enough")
        assert not theirs._calls._serving


async def test_a_handler_may_close_its_own_tunnel(tmp_path: Path) -> None:
    class Closing(Watcher):
        finished = False

        async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
            await tunnel.aclose("asked to")
            self.finished = True
            return Done()

    async with connected(tmp_path) as ends:
        handler = Closing()
        newer = ends.dial_as(handler, instance="dialler-2")
        await newer.wait_up()
        await ends.acceptor.watcher.wait_until(lambda seen: len(seen.up) == 2)
        (theirs,) = (t for t in ends.acceptor.server.tunnels if t.instance == "dialler-2")
        with pytest.raises(TunnelClosed, match="asked to"):
            await theirs.call(HELLO)
        await handler.wait_until(lambda seen: len(seen.up) == 2)
        assert handler.finished
