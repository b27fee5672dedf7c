"""Starting processes, and hearing of their end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lapdev.cluster.spawner import Command, Spawner
from lapdev.net.tasks import Tasks
from tests.support.in_outer import in_outer
from tests.support.processes import members, pid_namespace

PATH = {"PATH": os.defpath}


@asynccontextmanager
async def spawning(*, isolation: bool = False) -> AsyncIterator[Spawner]:
    spawner = Spawner(sys.executable, isolation=isolation)
    await spawner.start()
    try:
        yield spawner
    finally:
        await spawner.aclose()


async def test_an_exit_status_is_heard_by_everyone_who_waits() -> None:
    async with spawning() as spawner:
        child = await spawner.spawn(Command(["sh", "-c", "exit 7"], PATH))
        assert [await child.wait(), await child.wait()] == [7, 7]
        assert not child.running
        child.signal(signal.SIGTERM)


async def test_a_signal_reaches_the_whole_group() -> None:
    read_end, write_end = os.pipe()
    async with spawning() as spawner:
        script = "sleep 1000 & echo started; wait"
        child = await spawner.spawn(Command(["sh", "-c", script], PATH, output=write_end))
        os.close(write_end)
        with os.fdopen(read_end) as reader:
            assert reader.readline() == "started\n"
            child.signal(signal.SIGKILL)
            assert await child.wait() == -signal.SIGKILL
            assert reader.read() == ""  # nobody holds the other end any more


async def test_what_a_process_leaves_in_its_group_ends_with_it_where_that_is_asked_for() -> None:
    read_end, write_end = os.pipe()
    async with spawning() as spawner:
        leaves = ["sh", "-c", "sleep 1000 & echo started; exit 3"]
        child = await spawner.spawn(Command(leaves, PATH, output=write_end, whole=True))
        os.close(write_end)
        assert await child.wait() == 3
        with os.fdopen(read_end) as reader:
            assert await asyncio.to_thread(reader.read) == "started\n"  # to the end of the file


async def test_a_program_that_is_not_there_is_an_os_error() -> None:
    async with spawning() as spawner:
        with pytest.raises(FileNotFoundError):
            await spawner.spawn(Command(["/no/such/program"], PATH))


@in_outer
async def test_children_live_in_another_pid_namespace_and_end_with_it(folder: Path) -> None:
    async with spawning(isolation=True) as spawner:
        child = await spawner.spawn(Command(["sleep", "1000"], PATH))
        namespace = pid_namespace(child.pid)
        assert namespace == pid_namespace(spawner.reaper_pid) != pid_namespace("self")
        # The process itself can still start threads: its own PID namespace has not changed.
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
    assert await child.wait() == -signal.SIGKILL
    assert members(namespace) == []


@in_outer
async def test_a_spawn_that_is_given_up_leaves_no_process(folder: Path) -> None:
    read_end, write_end = os.pipe()
    async with spawning(isolation=True) as spawner:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await spawner.spawn(Command(["sleep", "1000"], PATH, output=write_end))
        os.close(write_end)
        with os.fdopen(read_end) as reader:
            assert await asyncio.to_thread(reader.read) == ""  # it holds the other end no more


@in_outer
async def test_a_killed_reaper_is_replaced_also_when_whoever_asked_first_gave_up(
    folder: Path,
) -> None:
    async with spawning(isolation=True) as spawner, Tasks() as tasks:
        child = await spawner.spawn(Command(["sleep", "1000"], PATH))
        os.kill(spawner.reaper_pid, signal.SIGKILL)
        assert await child.wait() == -signal.SIGKILL
        assert spawner._reaper is not None
        await spawner._reaper.wait()  # a spawn before that is known would fail, and change nothing
        first = tasks.spawn(spawner.spawn(Command(["sleep", "1000"], PATH)), "first")
        while spawner.reaper_pid:  # noqa: ASYNC110 - until there is none, and another is made
            await asyncio.sleep(0)
        first.cancel()
        second = await spawner.spawn(Command(["true"], PATH))
        assert await second.wait() == 0
        assert pid_namespace(spawner.reaper_pid) != pid_namespace("self")


async def test_closing_waits_for_what_was_given_up() -> None:
    async with spawning() as spawner:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await spawner.spawn(Command(["sleep", "1000"], PATH))
    # That no child is left behind is what every test is looked at for.
