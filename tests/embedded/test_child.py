from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lapdev import log
from lapdev.embedded import child as child_module
from lapdev.embedded.child import Child
from lapdev.errors import ClusterError
from lapdev.net.tasks import Tasks
from tests.support.fake_role import interpreter


@pytest.fixture(autouse=True)
def events() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log.configure("all", "info", stream)
    yield stream
    log.configure("test")


def diary(folder: Path) -> list[str]:
    return (folder / "diary").read_text().splitlines()


@asynccontextmanager
async def running(folder: Path, behaviour: str = "serve") -> AsyncIterator[Child]:
    child = Child("cloud", ["--flag=1"], (), interpreter(folder, behaviour))
    try:
        async with asyncio.timeout(30):
            yield child
    finally:
        await child.stop(5)


async def incarnation(child: Child, old: int) -> int:
    """Waits for a process that is not `old` to be ready."""
    while not child.ready.is_set() or child.pid == old:
        if child.ready.is_set():
            await asyncio.sleep(0)  # the loop has not heard of the death yet
        else:
            await child.ready.wait()
    return child.pid


async def test_a_started_child_is_ready_and_has_its_flags(tmp_path: Path) -> None:
    async with running(tmp_path) as child:
        await child.start()
        assert child.ready.is_set()
        os.kill(child.pid, 0)
    assert child.pid == 0
    started, stopped = diary(tmp_path)
    assert started.startswith("cloud started -P -m lapdev serve --role cloud --flag=1 --ready-fd ")
    assert stopped == "cloud stopped"


@pytest.mark.slow
async def test_a_killed_child_is_started_again(tmp_path: Path, events: io.StringIO) -> None:
    async with running(tmp_path) as child:
        await child.start()
        first = child.pid
        os.kill(first, signal.SIGKILL)
        second = await incarnation(child, first)
        os.kill(second, signal.SIGKILL)
        await incarnation(child, second)
    ended = [json.loads(line) for line in events.getvalue().splitlines() if "child_ended" in line]
    assert [event["exit_code"] for event in ended] == [-signal.SIGKILL] * 2


async def test_a_child_that_never_served_is_an_error(tmp_path: Path) -> None:
    async with running(tmp_path, "exit") as child:
        with pytest.raises(ClusterError, match="cloud ended with exit code 3 before it served"):
            await child.start()
    assert len(diary(tmp_path)) == 1


@pytest.mark.slow
async def test_a_child_that_says_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "START_TIMEOUT", 0.5)
    async with running(tmp_path, "silent") as child:
        with pytest.raises(ClusterError, match="did not serve within"):
            await child.start()


@pytest.mark.slow
async def test_a_child_that_will_not_stop_is_killed(tmp_path: Path, events: io.StringIO) -> None:
    async with running(tmp_path, "stubborn") as child:
        await child.start()
        await child.stop(0.1)
        assert child.pid == 0
    assert "child_killed" in events.getvalue()


async def test_stopping_a_child_that_waits_to_be_started_again(tmp_path: Path) -> None:
    async with running(tmp_path) as child:
        await child.start()
        assert child._current is not None
        process = child._current.process
        process.kill()
        await process.wait()
    await child.stop(5)
    assert len(diary(tmp_path)) == 1


async def test_settings_in_the_environment_do_not_reach_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAPDEV_TOKEN", "s3cr3t")
    async with running(tmp_path) as child:
        await child.start()
        environment = Path(f"/proc/{child.pid}/environ").read_bytes()
    assert b"s3cr3t" not in environment
    assert f"LAPDEV_PARENT={os.getpid()}".encode() in environment


async def test_a_child_is_out_of_reach_of_the_terminals_signals(tmp_path: Path) -> None:
    async with running(tmp_path) as child:
        await child.start()
        assert os.getpgid(child.pid) != os.getpgrp()


async def test_a_program_that_cannot_be_started_is_an_error_at_once(tmp_path: Path) -> None:
    child = Child("cloud", [], (), str(tmp_path / "none"))
    with pytest.raises(ClusterError, match=r"could not be started \(No such file"):
        async with asyncio.timeout(5):
            await child.start()
    await child.stop(5)


async def test_stopping_a_child_that_is_just_being_started_leaves_no_process(
    tmp_path: Path,
) -> None:
    child = Child("cloud", [], (), interpreter(tmp_path, "silent"))
    async with Tasks() as tasks:
        starting = tasks.spawn(child.start(), "start")
        for _ in range(20):
            if not child._making.locked():
                await asyncio.sleep(0)
        assert child._making.locked(), "its process is being made"
        await child.stop(5)
        assert child._current is not None
        assert child._current.ended
        starting.cancel()


async def test_a_replaced_child_ends_by_itself_and_is_not_started_again(
    tmp_path: Path, events: io.StringIO
) -> None:
    async with running(tmp_path) as child:
        await child.start()
        first = child.pid
        assert await child.replace()
        second = child.pid
        assert second not in (0, first)
        assert child.ready.is_set()
        while len(child._all) > 1:
            child._changed.clear()
            await child._changed.wait()
        assert child.pid == second
        assert child.ready.is_set()
        os.kill(second, signal.SIGKILL)
        assert await incarnation(child, second) != second, "the second is watched as the first was"
    logged = events.getvalue()
    assert "child_replaced" in logged
    assert logged.count("child_ended") == 1
    starts = [line for line in diary(tmp_path) if "started" in line]
    assert ["--take-over" in line for line in starts] == [False, True, False]


async def test_one_that_does_not_come_to_serve_changes_nothing(
    tmp_path: Path, events: io.StringIO
) -> None:
    async with running(tmp_path, "unfit") as child:
        await child.start()
        first = child.pid
        assert not await child.replace()
        assert child.pid == first
        assert child.ready.is_set()
    assert "child_not_replaced" in events.getvalue()
    assert "child_ended" not in events.getvalue()


async def test_what_does_not_serve_cannot_be_replaced(tmp_path: Path) -> None:
    async with running(tmp_path) as child:
        assert not await child.replace()
    assert not (tmp_path / "diary").exists()


async def test_both_are_stopped_while_one_follows_the_other(tmp_path: Path) -> None:
    async with running(tmp_path, "slow") as child:
        await child.start()
        async with Tasks() as tasks:
            replacing = tasks.spawn(child.replace(), "replace")
            while len(child._all) < 2:  # noqa: ASYNC110 - nothing tells that a process was made
                await asyncio.sleep(0.01)
            await child.stop(5)
            assert not await replacing
        assert child._all == set()
