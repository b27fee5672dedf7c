"""A machine that slept: noticed by its clocks, and what tunnels do about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lapdev.tunnel.sleep_watch import SleepWatch, seconds_asleep
from lapdev.wire.control import ReportCluster
from tests.support.tunnel_ends import FAST, connected
from tests.support.watch import Watch


class Clock:
    """How long the machine has slept."""

    def __init__(self) -> None:
        self.asleep = 1000.0
        self.looks = 0
        self.watch = Watch()

    def __call__(self) -> float:
        self.looks += 1
        self.watch()
        return self.asleep


async def test_a_jump_of_the_clock_is_told_once() -> None:
    clock, woken = Clock(), Watch()
    wakes: list[int] = []

    def woke() -> None:
        wakes.append(clock.looks)
        woken()

    watch = SleepWatch(woke, 0.001, clock)
    watch.start()
    watch.start()
    await clock.watch.until(lambda: clock.looks > 3)
    assert not wakes, "a clock that just goes on means nothing"
    clock.asleep += 3600
    await woken.until(lambda: wakes)
    seen = clock.looks
    await clock.watch.until(lambda: clock.looks > seen + 3)
    assert len(wakes) == 1
    watch.stop()
    watch.stop()


async def test_little_differences_between_clocks_mean_nothing() -> None:
    clock = Clock()
    wakes: list[int] = []
    watch = SleepWatch(lambda: wakes.append(1), 0.001, clock)
    watch.start()
    for _ in range(5):
        clock.asleep += 1.0
        looks = clock.looks
        await clock.watch.until(lambda looks=looks: clock.looks > looks)  # type: ignore[misc]
    assert not wakes
    watch.stop()


def test_this_machines_clock_does_not_jump_by_itself() -> None:
    assert abs(seconds_asleep() - seconds_asleep()) < 1.0


async def test_both_ends_ask_at_once_and_a_dead_connection_is_given_up_soon(
    tmp_path: Path,
) -> None:
    liveness = replace(FAST.mux.liveness, wake_probe_timeout=0.05)
    async with connected(tmp_path, replace(FAST, mux=replace(FAST.mux, liveness=liveness))) as ends:
        websocket = ends.acceptor.tunnel._links[0].websocket
        assert websocket._transport is not None
        websocket._transport.pause_reading()  # the network forgot us while we slept
        ends.uplink._woke()
        await ends.watcher.wait_until(lambda seen: bool(seen.down))
        assert "silent" in str(ends.watcher.down[0])
        await ends.watcher.wait_until(lambda seen: seen.up == [False, True])
        ends.acceptor.server._woke()
        await ends.tunnel.call(ReportCluster(version="0.1", driver="local"))
        assert ends.acceptor.tunnel.connected, "a peer that answers is kept"
        assert len(ends.watcher.down) == 1


async def test_a_dialler_that_waits_for_its_next_try_tries_at_once(tmp_path: Path) -> None:
    options = replace(FAST, retry_first=3600.0, retry_most=3600.0)
    async with connected(tmp_path, options, wait=False) as ends:
        ends.acceptor.refuse_with = 500
        failed = Watch()
        ends.uplink.on_failed = failed
        await failed.until(lambda: ends.uplink.last_error is not None)
        ends.acceptor.refuse_with = 0
        ends.uplink._woke()
        assert (await ends.uplink.wait_up()).connected
