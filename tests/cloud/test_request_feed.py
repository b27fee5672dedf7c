"""What a devbox is told of its visitors: batches, bounded, and nothing when nobody watches."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from lapdev.cloud import request_feed
from lapdev.cloud.request_feed import RequestFeed
from lapdev.errors import TunnelClosed
from lapdev.log import AccessLine
from lapdev.model import ExposureId
from lapdev.net.tasks import Tasks
from lapdev.tunnel import Tunnel
from lapdev.wire.control import Done, Message, RequestsSeen


class Devbox:
    """The end of a tunnel that hears."""

    def __init__(self) -> None:
        self.connected = True
        self.heard: asyncio.Queue[RequestsSeen] = asyncio.Queue()
        self.slow = asyncio.Event()
        self.slow.set()

    async def call(self, message: Message) -> Message:
        await self.slow.wait()
        assert isinstance(message, RequestsSeen)
        self.heard.put_nowait(message)
        return Done()

    def as_tunnel(self) -> Tunnel:
        return cast("Tunnel", self)


def line(path: str = "/") -> AccessLine:
    return AccessLine(method="GET", path=path, status=200, duration_ms=1.234, bytes_out=5)


async def test_what_ended_is_told_without_its_query() -> None:
    async with Tasks() as tasks:
        feed, devbox = RequestFeed(ExposureId("x"), tasks, 0.0), Devbox()
        feed.watch(devbox.as_tunnel(), True)
        feed.note(line("/pay?token=secret"))
        told = await devbox.heard.get()
    (seen,) = told.requests
    assert (told.exposure, seen.path, seen.status, seen.duration_ms) == ("x", "/pay", 200, 1.23)


async def test_nobody_watches_and_nothing_is_kept() -> None:
    async with Tasks() as tasks:
        feed, devbox = RequestFeed(ExposureId("x"), tasks, 0.0), Devbox()
        feed.watch(devbox.as_tunnel(), True)
        feed.watch(devbox.as_tunnel(), False)
        feed.note(line())
        assert len(tasks) == 0
        assert devbox.heard.empty()


async def test_a_devbox_that_takes_them_slowly_gets_a_batch_and_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_feed, "MOST_LINES", 3)
    async with Tasks() as tasks:
        feed, devbox = RequestFeed(ExposureId("x"), tasks, 0.0), Devbox()
        feed.watch(devbox.as_tunnel(), True)
        devbox.slow.clear()
        for number in range(10):
            feed.note(line(f"/{number}"))
        devbox.slow.set()
        told = await devbox.heard.get()
        assert [seen.path for seen in told.requests] == ["/0", "/1", "/2"]
        assert told.more == 7
        feed.note(line("/next"))
        told = await devbox.heard.get()
        assert ([seen.path for seen in told.requests], told.more) == (["/next"], 0)


async def test_a_devbox_that_went_away_is_left_out_and_a_failing_call_is_survived() -> None:
    async with Tasks() as tasks:
        feed, gone, broken, devbox = RequestFeed(ExposureId("x"), tasks, 0.0), *devboxes(3)

        async def fail(message: Message) -> Message:
            raise TunnelClosed

        gone.connected = False
        broken.call = fail  # type: ignore[method-assign]
        for each in (gone, broken, devbox):
            feed.watch(each.as_tunnel(), True)
        feed.note(line())
        await devbox.heard.get()
        assert gone.heard.empty()


def devboxes(count: int) -> list[Devbox]:
    return [Devbox() for _ in range(count)]
