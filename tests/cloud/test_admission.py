"""How fast tunnels are taken on."""

from __future__ import annotations

import asyncio

import pytest

from lapdev.cloud.admission import Admission
from lapdev.errors import Overloaded
from lapdev.net.tasks import Tasks


async def test_who_comes_alone_does_not_wait() -> None:
    admission = Admission(rate=0.001)
    async with asyncio.timeout(5):
        await admission.turn()


async def test_a_crowd_is_let_in_one_after_the_other_in_its_order() -> None:
    admission, loop = Admission(rate=100.0), asyncio.get_running_loop()
    came: list[tuple[int, float]] = []

    async def come(number: int) -> None:
        await admission.turn()
        came.append((number, loop.time()))

    begun = loop.time()
    await asyncio.gather(*(come(number) for number in range(10)))
    assert [number for number, _ in came] == list(range(10))
    for number, at in came:
        assert at - begun >= number / 100 - 0.005, "nobody comes before the turn"


async def test_past_a_long_line_one_is_sent_away_and_loses_nobodys_turn() -> None:
    admission = Admission(rate=10.0, longest_wait=0.15)
    async with Tasks() as tasks:
        waiting = [tasks.spawn(admission.turn(), "waits in line") for _ in range(2)]
        await asyncio.sleep(0)
        for _ in range(5):
            with pytest.raises(Overloaded):
                await admission.turn()
        assert admission.turned_away == 5
        await asyncio.gather(*waiting)
        await admission.turn()
