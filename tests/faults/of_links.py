"""Faults of the link between a manager and the cloud: F6 to F9 and F12, and many in a row."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial

from tests.faults import network
from tests.faults.load import LOAD_L, TRANSFERS, Volume
from tests.faults.relay import Toxics
from tests.faults.stage import (
    HOST,
    LOST,
    OPENED,
    Scenario,
    Stage,
    fails_during_the_fault,
    never_fails,
)
from tests.faults.world import LINK_PORT

DEAD_SECONDS, BACK_SECONDS, GRACE_SECONDS = 20.0, 6.0, 30.0
BOTH = (network.TO_CLOUD, network.TO_DIALLER)


async def silent_partition(
    stage: Stage, seconds: float, directions: tuple[str, ...] = BOTH
) -> None:
    """Packets vanish; both ends notice, streams wait, and go on when it is over."""
    lost_before = len(stage.tunnel_lines(LOST))
    with stage.fault("silence"):
        begun = time.monotonic()
        with network.silence(HOST, LINK_PORT, directions):
            if seconds * stage.scale > DEAD_SECONDS:
                stage.measure(
                    "dialler notices s",
                    await stage.wait_link(False, 2 * DEAD_SECONDS),
                    DEAD_SECONDS + 1,
                )

                async def acceptor_knows() -> bool:
                    return len(stage.tunnel_lines(LOST)) > lost_before

                await stage.world.wait(acceptor_knows, "the cloud notices", 2 * DEAD_SECONDS)
                stage.measure("acceptor notices s", time.monotonic() - begun, DEAD_SECONDS + 2)
            await asyncio.sleep(max(begun + seconds * stage.scale - time.monotonic(), 0))
        stage.measure("back after s", await stage.wait_link(True, 60), BACK_SECONDS)
        stage.measure("moving after s", await stage.wait_moving())


async def reset_storm(stage: Stage, seconds: float) -> None:
    """The connection is reset every two seconds: nothing fails, everything goes on."""
    end = time.monotonic() + seconds * stage.scale
    resets = 0
    with stage.fault("resets"):
        while time.monotonic() < end:
            await asyncio.sleep(2)
            resets += await network.reset(HOST, LINK_PORT)
            stage.measure("back after s", await stage.wait_link(True, 30), BACK_SECONDS)
    stage.measure("resets", resets)
    stage.measure("resumes", len(stage.tunnel_lines(OPENED, status="resumed")))
    await stage.check_counters()


async def slices(stage: Stage, seconds: float) -> None:
    """Every write on the link is of one to seven bytes."""
    assert stage.relay is not None
    before = await _cpu_seconds(stage, seconds)
    with stage.fault("slices"):
        stage.relay.toxics = Toxics(slices=(1, 7))
        within = await _cpu_seconds(stage, seconds)
        stage.relay.toxics = Toxics()
    stage.measure("CPU, times", within / before if before else 0.0)
    stage.check(stage.relay.connections, "the link did not stay on its connection")


async def _cpu_seconds(stage: Stage, seconds: float) -> float:
    """What cloud and manager used meanwhile."""
    name = "process_cpu_seconds_total"
    roles = (stage.world.cloud, stage.world.manager)
    before = sum([(await role.metrics())[name] for role in roles])
    await stage.sleep(seconds)
    return sum([(await role.metrics())[name] for role in roles]) - before


KINDS = ("reset", "kill", "silence 21 s", "silence 25 s")
"""Five of each make twenty. A silence that is shorter than a death costs no connection; it is a
fault more, not one of the twenty."""
SHORT_SILENCES, SHORT_SILENCE = 5, "silence 10 s"


async def twenty_faults(stage: Stage, count: int) -> None:
    """Faults of every kind in random order, each while every stream is on its way."""
    kinds = [KINDS[number % len(KINDS)] for number in range(count)]
    kinds += [SHORT_SILENCE] * (SHORT_SILENCES if count >= len(KINDS) else 0)
    stage.random.shuffle(kinds)
    broken, lasting = 0, 0
    for kind in kinds:
        await _every_stream_is_on_its_way(stage)
        chosen = stage.random.choice([*stage.link_connections(), None])
        local = chosen.local[1] if chosen else 0
        hit = len(stage.link_connections()) if chosen is None else 1
        before = {each.inode for each in stage.link_connections()}
        with stage.fault(kind):
            await _one(stage, kind, local)
            stage.measure("back after s", await stage.wait_link(True, 60), BACK_SECONDS)
            stage.measure("moving after s", await stage.wait_moving())
            await stage.wait_links(len(before))
        now = {each.inode for each in stage.link_connections()}
        broken += len(before - now)
        lasting += bool(before - now)
        short = (
            kind.startswith("silence") and float(kind.split(" ")[1]) * stage.scale <= DEAD_SECONDS
        )
        stage.check(short or len(before - now) >= hit, f"{kind} broke nothing")
    resumed = len(stage.tunnel_lines(OPENED, status="resumed"))
    stage.measure("faults", len(kinds))
    stage.measure("faults that broke connections", lasting)
    stage.measure("connections lost", broken)
    stage.measure("resumes", resumed)
    stage.check(resumed >= broken, f"{broken} connections were lost and {resumed} resumed")
    if stage.scale == 1:
        stage.check(lasting >= count, f"only {lasting} faults broke a connection")
    await stage.check_counters()
    ended = [
        line
        for line in stage.world.cloud.log()
        if line["event"] in ("tunnel_ended", "stream_reset")
    ]
    stage.measure("resets in the log", len(ended), 0)


async def _one(stage: Stage, kind: str, local: int) -> None:
    if kind == "reset":
        await network.reset(HOST, LINK_PORT, local)
    elif kind == "kill":
        owners = stage.world.diallers
        killed = sum(network.kill_sockets(pid, HOST, LINK_PORT, local) for pid in owners)
        stage.check(killed, "no socket was killed")
    else:
        with network.silence(HOST, LINK_PORT, local=local):
            await stage.sleep(float(kind.split(" ")[1]))


async def _every_stream_is_on_its_way(stage: Stage) -> None:
    """Each has moved bytes just now, and none has ended meanwhile.

    A request's head and a `100 Continue` are less than an eighth of a window: they stay
    unacknowledged in the direction in which a transfer does not run.
    """
    for _ in range(200):
        watched = stage.history.streams()
        mark = time.monotonic()
        await asyncio.sleep(0.1)
        if watched and all(each.moved_at > mark and not each.ended for each in watched):
            return
    stage.findings.append("not every stream was on its way")


LINK_FAULTS = (
    Scenario(
        "F6",
        "silent partition, a little shorter than the grace",
        partial(silent_partition, seconds=25),
    ),
    Scenario(
        "F6-long",
        "silent partition of 2 minutes",
        partial(silent_partition, seconds=120),
        may_fail=fails_during_the_fault,
    ),
    Scenario(
        "F7",
        "one way partition: what the cloud sends is lost",
        partial(silent_partition, seconds=25, directions=(network.TO_DIALLER,)),
    ),
    Scenario("F8", "a reset every two seconds for 60 s", partial(reset_storm, seconds=60)),
    Scenario(
        "F12",
        "writes of one to seven bytes on the link",
        partial(slices, seconds=30),
        may_fail=never_fails,
        volume=replace(LOAD_L.lighter(0.005), requests=10),
        relayed=True,
    ),
    *(
        Scenario(
            f"B2-{links}",
            f"20 faults in a row, {links} link{'s' if links > 1 else ''}",
            partial(twenty_faults, count=20),
            volume=TRANSFERS,
            tenants=("main",),
            links=links,
        )
        for links in (1, 4)
    ),
    Scenario(
        "B2-expose",
        "20 faults in a row, over `lapdev expose`",
        partial(twenty_faults, count=20),
        volume=replace(TRANSFERS, tcp=2),
        tenants=("main",),
        exposed=True,
    ),
)


SMOKE_VOLUME = Volume(
    requests=20,
    downloads=2,
    uploads=2,
    transfer_bytes=30_000_000,
    transfer_rate=1_000_000,
    websockets=3,
    websocket_interval=0.05,
    tcp=1,
)


async def smoke(stage: Stage) -> None:
    """A reset, a killed socket and a short silence, in random order."""
    kinds = ["reset", "kill", "silence 2 s"]
    stage.random.shuffle(kinds)
    for kind in kinds:
        await _every_stream_is_on_its_way(stage)
        with stage.fault(kind):
            await _one(stage, kind, 0)
            stage.measure("back after s", await stage.wait_link(True, 30), BACK_SECONDS)
            stage.measure("moving after s", await stage.wait_moving())
    stage.measure("resumes", len(stage.tunnel_lines(OPENED, status="resumed")))
    stage.check(stage.numbers["resumes"] >= 2, "the session did not resume")


SMOKE = Scenario(
    "smoke",
    "a reset, a killed socket, a silence of two seconds",
    smoke,
    volume=SMOKE_VOLUME,
    tenants=("main",),
    warm_up=2,
    recovery=2,
    timed=False,
)
