"""One sweep keeps all deadlines."""

from __future__ import annotations

import asyncio

from lapdev.net.deadlines import NEVER, Sweep


class Item:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.passed = asyncio.Event()

    def deadline_passed(self) -> None:
        self.deadline = NEVER
        self.passed.set()


async def test_a_passed_deadline_is_noticed_and_a_later_one_left_alone() -> None:
    now = asyncio.get_running_loop().time()
    sweep = Sweep(interval=0.01)
    due, later = Item(now), Item(NEVER)
    sweep.add(due)
    sweep.add(later)
    async with asyncio.timeout(5):
        await due.passed.wait()
    assert not later.passed.is_set()
    sweep.discard(due)
    sweep.discard(later)


async def test_nothing_to_watch_means_no_timer() -> None:
    sweep = Sweep(interval=0.01)
    item = Item(NEVER)
    sweep.add(item)
    sweep.discard(item)
    assert sweep._handle is None


async def test_an_item_that_leaves_while_its_deadline_passes_is_fine() -> None:
    sweep = Sweep(interval=0.01)
    item = Item(asyncio.get_running_loop().time())
    passed = item.deadline_passed

    def leave() -> None:
        sweep.discard(item)
        passed()

    item.deadline_passed = leave  # type: ignore[method-assign]
    sweep.add(item)
    async with asyncio.timeout(5):
        await item.passed.wait()
    assert sweep._handle is None
