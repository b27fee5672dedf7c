"""Faults of the processes: killed, stopped, frozen, doubled. F1, F2, F4, F5 and F18."""

from __future__ import annotations

import asyncio
import time
from functools import partial

from tests.faults.crowd import Crowd, crowd
from tests.faults.history import STREAMS, Kind, Operation, Outcome
from tests.faults.load import LOAD_L, Volume
from tests.faults.processes import Role
from tests.faults.stage import (
    LOST,
    OPENED,
    Scenario,
    Stage,
    fails_during_the_fault,
    never_fails,
)
from tests.faults.world import LINK_PORT, manager_role

MANAGERS = 200
DRAIN_SECONDS = 30.0
HANDSHAKES = 55
"""A second: 50 and what the clocks of two processes make of it."""


async def cloud_killed(stage: Stage, managers: int) -> None:
    """SIGKILL, and a new one after two seconds: everybody comes back, and not all at once."""
    world = stage.world
    async with crowd(world.cluster_token("crowd"), LINK_PORT, managers) as others:
        await others.wait_up(managers, 60)
        with stage.fault("cloud killed"):
            await world.cloud.kill()
            await asyncio.sleep(2)
            stage.renewed.add("cloud")
            await world.cloud.start()
            others.mark()
            serving = asyncio.get_running_loop().create_task(world.wait_serving())
            first = await world.wait_connected()
            stage.measure("first request s", await serving - first, 5)
            await others.wait_up(managers, 60)
            _measure_return(stage, others)


def _measure_return(stage: Stage, others: Crowd) -> None:
    times = others.since_mark()
    stage.measure("managers back s", times[-1], 15)
    stage.measure("half of them back s", times[len(times) // 2], 3)
    busiest = max(sum(begun <= each < begun + 1 for each in times) for begun in times)
    stage.measure("handshakes in the busiest second", busiest, HANDSHAKES)


async def cloud_stopped(stage: Stage) -> None:
    """SIGTERM: what ends within its drain time is not cut, nothing new is taken."""
    world = stage.world
    flying = list(stage.history.running.values())
    with stage.fault("cloud stopped"):
        code, seconds = await world.cloud.stop()
        stage.measure("exit after s", seconds, DRAIN_SECONDS + 1)
        stage.check(code == 0, f"the cloud's exit code is {code}")
        stage.renewed.add("cloud")
        await world.cloud.start()
        await world.wait_serving()
    cut = [each for each in flying if each.outcome == Outcome.CUT]
    codes = [each.detail for each in cut if each.kind == Kind.WEBSOCKET]
    away = [each for each in codes if "1001" in each]
    stage.measure("websockets told 1001", len(away))
    stage.check(len(away) == len(codes), f"websockets ended otherwise: {set(codes) - set(away)}")


async def cloud_taken_over(stage: Stage) -> None:
    """A new cloud takes the sockets over; the old one finishes what it has, and ends."""
    world = stage.world
    old = world.cloud
    new = Role("cloud-next", world.folder, [*old.flags, "--take-over"], old.admin)
    stage.renewed.add(new.name)
    with stage.fault("cloud taken over"):
        begun = time.monotonic()
        await new.start()
        stage.measure("new one ready s", time.monotonic() - begun)
        begun = time.monotonic()
        world.cloud = new
        world.more.append(old)

        async def has_the_tunnels() -> bool:
            return bool(stage.tunnel_lines(OPENED))

        async def serves() -> bool:
            return any(line["event"] == "exchange_finished" for line in new.log())

        moved = await world.wait(has_the_tunnels, "the tunnel is the new one's")
        stage.measure("tunnels at the new one s", moved, 2)
        stage.measure("new one serves s", moved + await world.wait(serves, "it serves"), 2.3)
        assert old.process is not None
        async with asyncio.timeout(2 * DRAIN_SECONDS):
            code = await old.process.wait()
        stage.measure("old one gone s", time.monotonic() - begun, DRAIN_SECONDS + 3)
        stage.check(code == 0, f"the old cloud's exit code is {code}")
    await stage.sleep(20)


def only_what_lasts(stage: Stage, operation: Operation) -> bool:
    """WebSockets and raw TCP that were open before end with the old process."""
    (fault,) = stage.history.faults
    return operation.kind in (Kind.WEBSOCKET, Kind.TCP) and operation.begun < fault.begun


def not_what_could_end(stage: Stage, operation: Operation) -> bool:
    """A drain cuts raw TCP and WebSockets, and refuses what is new; nothing else may fail."""
    new = any(each.overlaps(operation.begun, operation.begun, 3) for each in stage.history.faults)
    lasting = operation.kind in (Kind.WEBSOCKET, Kind.TCP)
    return fails_during_the_fault(stage, operation) and (new or lasting)


async def manager_killed(stage: Stage) -> None:
    """SIGKILL, and a new one at once: what hung on the old process ends soon, with an answer."""
    world = stage.world
    lost, opened = len(stage.tunnel_lines(LOST)), len(stage.tunnel_lines(OPENED))
    flying = list(stage.history.running.values())
    with stage.fault("manager killed") as fault:
        await world.manager.kill()

        async def noticed() -> bool:
            return len(stage.tunnel_lines(LOST)) > lost

        stage.measure("cloud notices s", await world.wait(noticed, "the cloud notices"), 1)
        stage.renewed.add(world.manager.name)
        await world.manager.start()

        async def greeted() -> bool:
            return len(stage.tunnel_lines(OPENED)) > opened

        await world.wait(greeted, "the new process says hello")

        async def all_ended() -> bool:
            return all(each.ended for each in flying if each.tenant == "main")

        ended = await world.wait(all_ended, "what was in flight ends")
        stage.measure("in flight ended s after the hello", ended, 1)
        stage.measure("serving s after the hello", ended + await world.wait_serving(), 5)
    operations = stage.history.operations
    refused = [each for each in operations if each.status == 503 and each.begun > fault.begun]
    stage.measure("held at most s", max((each.seconds for each in refused), default=0), 3.5)


async def manager_frozen(stage: Stage, seconds: float) -> None:
    """SIGSTOP, and SIGCONT: a short one is only felt, a long one ends the session cleanly."""
    world = stage.world
    lost = len(stage.tunnel_lines(LOST))
    with stage.fault("manager frozen"):
        begun = time.monotonic()
        world.manager.freeze()
        try:
            if seconds * stage.scale > 20:

                async def noticed() -> bool:
                    return len(stage.tunnel_lines(LOST)) > lost

                stage.measure("cloud notices s", await world.wait(noticed, "the cloud notices"), 21)
            await asyncio.sleep(max(begun + seconds * stage.scale - time.monotonic(), 0))
        finally:
            world.manager.thaw()
        stage.measure("back after s", await world.wait_serving(), 5)
        stage.measure("moving after s", await stage.wait_moving())


async def two_managers(stage: Stage) -> None:
    """A second process of the same cluster: both serve. Then two that claim to be one."""
    world = stage.world
    second = manager_role(world.folder, "main", LINK_PORT, "manager-second")
    world.more.append(second)
    with stage.fault("a second manager"):
        await second.start()
        await world.wait(second.ready, "the second manager is connected")
        await stage.sleep(20)
        served = (await second.metrics())["lapdev_streams_total"]
        stage.measure("streams of the second", served)
        await second.stop()
        world.more.remove(second)
        await stage.sleep(5)
    with stage.fault("twins"):
        async with crowd(world.cluster_token("crowd"), LINK_PORT, 2, instance="the-same") as twins:
            await twins.wait_up(1, 10)
            await asyncio.sleep(20)
            stage.measure("switches in 20 s", twins.comings - 2, 2)


def only_streams_of_the_second(stage: Stage, operation: Operation) -> bool:
    """A manager that is stopped cuts what cannot end in its drain time."""
    return fails_during_the_fault(stage, operation) and operation.kind in STREAMS


CALM = Volume(requests=20, downloads=1, uploads=1, websockets=2, tcp=1)

PROCESS_FAULTS = (
    Scenario(
        "F1",
        f"the cloud is killed and started again after 2 s, {MANAGERS} managers",
        partial(cloud_killed, managers=MANAGERS),
        may_fail=fails_during_the_fault,
        clusters=("crowd",),
        volume=CALM,
        tenants=("main",),
        kernel_says_goodbye=True,
    ),
    Scenario(
        "F2",
        "the cloud gets SIGTERM under load",
        cloud_stopped,
        may_fail=not_what_could_end,
        tenants=("main",),
    ),
    Scenario(
        "F3",
        "a new cloud takes over from the old one",
        cloud_taken_over,
        may_fail=only_what_lasts,
        tenants=("main",),
    ),
    Scenario("F4", "a manager is killed", manager_killed, may_fail=fails_during_the_fault),
    Scenario(
        "F5",
        "a manager is frozen for 5 s",
        partial(manager_frozen, seconds=5),
        may_fail=never_fails,
        volume=LOAD_L.lighter(0.5),
    ),
    Scenario(
        "F5-long",
        "a manager is frozen for 60 s",
        partial(manager_frozen, seconds=60),
        may_fail=fails_during_the_fault,
    ),
    Scenario(
        "F18",
        "two managers with one token; two with one name",
        two_managers,
        may_fail=only_streams_of_the_second,
        clusters=("crowd",),
        volume=CALM,
    ),
)
