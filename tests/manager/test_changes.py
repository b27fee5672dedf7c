"""Batches of changes."""

from __future__ import annotations

import asyncio

import pytest

from lapdev.manager.changes import Changes


async def test_a_batch_holds_each_changed_key_once_in_order() -> None:
    changes: Changes[str] = Changes(interval=0.0)
    for key in ("b", "a", "b"):
        changes.mark(key)
    assert await changes.take() == ["b", "a"]


async def test_the_first_change_is_handed_out_at_once_and_a_burst_together() -> None:
    loop = asyncio.get_running_loop()
    changes: Changes[int] = Changes(interval=0.02)
    changes.mark(1)
    started = loop.time()
    assert await changes.take() == [1]
    changes.mark(2)
    loop.call_later(0.005, changes.mark, 3)
    assert await changes.take() == [2, 3]
    assert loop.time() - started >= 0.019


async def test_taking_waits_for_a_change() -> None:
    changes: Changes[str] = Changes()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await changes.take()
    asyncio.get_running_loop().call_soon(changes.mark, "a")
    assert await changes.take() == ["a"]


async def test_cancelling_a_taker_loses_no_change() -> None:
    changes: Changes[str] = Changes(interval=60.0)
    changes.mark("a")
    await changes.take()
    changes.mark("b")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await changes.take()
    changes._next = 0.0
    assert await changes.take() == ["b"]
