from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator

import pytest

from lapdev import log
from lapdev.net.tasks import Tasks, spawn


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log.configure("test", "debug", stream)
    yield stream
    log.configure("test")


async def fails() -> None:
    raise ValueError("the reason")


async def test_a_spawned_task_runs_under_its_name() -> None:
    async def name() -> str:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    assert await spawn(name(), "reader") == "reader"


async def test_a_failure_that_nobody_awaits_is_logged_with_its_traceback(
    lines: io.StringIO,
) -> None:
    task = spawn(fails(), "doomed")
    await asyncio.wait([task])
    await asyncio.sleep(0)
    event = json.loads(lines.getvalue())
    assert event["event"] == "task_failed"
    assert event["task"] == "doomed"
    assert event["error"] == "ValueError: the reason"
    assert "in fails" in event["traceback"]


async def test_a_cancelled_task_is_not_a_failure(lines: io.StringIO) -> None:
    task = spawn(asyncio.Event().wait(), "waiting")
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert lines.getvalue() == ""


async def test_leaving_a_group_ends_its_tasks() -> None:
    ended = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    async with Tasks() as tasks:
        tasks.spawn(wait(), "one")
        tasks.spawn(wait(), "two")
        await asyncio.sleep(0)
        assert len(tasks) == 2
    assert ended == [1, 1]
    assert len(tasks) == 0


async def test_a_failing_task_leaves_its_siblings_running(lines: io.StringIO) -> None:
    async with Tasks() as tasks:
        sibling = tasks.spawn(asyncio.Event().wait(), "sibling")
        await asyncio.wait([tasks.spawn(fails(), "doomed")])
        await asyncio.sleep(0)
        assert not sibling.done()
    assert "task_failed" in lines.getvalue()


async def test_a_group_is_closed_twice_and_takes_no_more_tasks() -> None:
    tasks = Tasks()
    await tasks.aclose()
    await tasks.aclose()
    with pytest.raises(RuntimeError, match="late"):
        tasks.spawn(fails(), "late")


async def test_a_task_may_close_its_own_group() -> None:
    tasks = Tasks()
    sibling = tasks.spawn(asyncio.Event().wait(), "sibling")
    closer = tasks.spawn(tasks.aclose(), "closer")
    await closer
    assert sibling.cancelled()


async def test_a_task_that_swallows_one_cancellation_still_ends() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)

    async with Tasks() as tasks:
        task = tasks.spawn(stubborn(), "stubborn")
        await asyncio.sleep(0)
    assert task.done()
