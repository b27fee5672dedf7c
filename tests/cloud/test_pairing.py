"""Two tunnels' streams joined, and the ends that do not play along."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from lapdev.cloud import pairing
from lapdev.cloud.devices import DeviceLinks, SidecarLinks
from lapdev.errors import StreamRefused, StreamReset
from lapdev.model import DeviceId, InterceptId
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Stream
from lapdev.wire.control import InterceptTarget
from tests.support.tunnel_ends import TARGET, Ends, Recorder, connected


def pair_back(ends: Ends, tasks: Tasks) -> None:
    """Whatever the dialler opens is paired with a stream that is opened towards it."""

    def serve(stream: Stream) -> None:
        tasks.spawn(pairing.pair(stream, ends.acceptor.tunnel, TARGET), "pair")

    ends.acceptor.watcher.serve = serve


async def test_a_far_end_that_neither_accepts_nor_refuses_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing, "ACCEPT_TIMEOUT", 0.1)
    async with connected(tmp_path) as ends, Tasks() as tasks:
        pair_back(ends, tasks)
        ends.watcher.serve = lambda stream: None
        stream = ends.tunnel.open_stream(TARGET, Recorder())
        with pytest.raises(StreamRefused) as caught:
            async with asyncio.timeout(5):
                await stream.wait_accepted()
        assert caught.value.cause == "connect_timeout"
        await ends.watcher.wait_until(lambda seen: seen.streams[0].is_closing())
        assert not len(tasks)


async def test_a_far_end_that_accepts_and_is_gone_at_once_takes_the_near_end_along(
    tmp_path: Path,
) -> None:
    def accept_and_die(stream: Stream) -> None:
        stream.accept(Recorder())
        stream.abort()

    async with connected(tmp_path) as ends, Tasks() as tasks:
        pair_back(ends, tasks)
        ends.watcher.serve = accept_and_die
        recorder = Recorder()
        ends.tunnel.open_stream(TARGET, recorder)
        async with asyncio.timeout(5):
            await recorder.wait_until(lambda seen: bool(seen.lost))
        assert isinstance(recorder.lost[0], (StreamReset, StreamRefused))


async def test_whatever_fails_before_the_pairing_refuses_the_stream(tmp_path: Path) -> None:
    async def device_of(intercept: str) -> DeviceId:
        raise RuntimeError("no disk")

    async with connected(tmp_path) as ends, Tasks() as tasks:
        links = SidecarLinks(tasks, cast("DeviceLinks", None), device_of)
        target = InterceptTarget(InterceptId(ends.acceptor.identity.owner), 80)
        tunnel = ends.acceptor.tunnel
        ends.acceptor.watcher.serve = lambda stream: links.stream_opened(tunnel, stream, target)
        with pytest.raises(StreamRefused) as caught:
            async with asyncio.timeout(5):
                await ends.tunnel.open_stream(TARGET, Recorder()).wait_accepted()
        assert caught.value.cause == "internal_error"
