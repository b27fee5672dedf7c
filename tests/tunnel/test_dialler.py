"""One session after another: who begins it anew, and when."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lapdev.errors import TunnelClosed, TunnelRefused
from lapdev.tunnel import dial as dialling
from lapdev.wire.control import Done, ReportCluster
from tests.support.tunnel_ends import (
    FAST,
    TARGET,
    Acceptor,
    Recorder,
    Watcher,
    connected,
    first_error,
)

HELLO = ReportCluster(version="0.1", driver="local")


async def test_a_restarted_acceptor_means_a_new_session_and_the_old_streams_are_lost(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as ends:
        recorder, session = Recorder(), ends.tunnel.session
        ends.tunnel.open_stream(TARGET, recorder)
        await recorder.wait_until(lambda seen: seen.accepted)
        await ends.acceptor.stop_listening()  # it is killed: it does not say goodbye
        second = Acceptor(ends.acceptor.address, FAST, "acceptor-2")
        await second.start()
        ends.cut()
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
        assert ends.uplink._diallers[0]._least_delay() == 60.0, "it does not fight back"


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
        ends.uplink._diallers[0].tunnel = None  # as if WELCOME had been lost with its connection
        websocket = theirs._links[0].websocket
        websocket.abort()
        await ends.acceptor.watcher.wait_until(lambda seen: len(seen.up) == 2)
        assert ends.acceptor.watcher.up == [False, False]
        assert theirs.closed
        assert ends.acceptor.tunnel.session == session


async def test_a_connection_that_hangs_is_given_up_for_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a silence: what was sent into it is not sent again for a long time."""
    tries = 0

    async def lost_at_first(*arguments: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 3:
            await asyncio.get_running_loop().create_future()
        return await really_dial(*arguments)

    really_dial = dialling.dial
    monkeypatch.setattr(dialling, "dial", lost_at_first)
    async with connected(tmp_path, replace(FAST, connect_timeout=0.01, handshake_timeout=60.0)):
        assert tries == 3


async def test_who_is_told_when_to_come_back_does_not_come_before(tmp_path: Path) -> None:
    async with connected(tmp_path, wait=False) as ends:
        ends.acceptor.refuse_with = 503
        ends.acceptor.refusal_headers.append((b"Retry-After", b"7"))
        error = await first_error(ends.uplink)
        assert isinstance(error, TunnelRefused)
        delays = [ends.uplink._diallers[0]._least_delay() for _ in range(50)]
        assert 7.0 <= min(delays) < max(delays) <= 14.0
