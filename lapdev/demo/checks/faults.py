"""SIGKILL of a sidecar, of the cloud, of the manager: each comes back while the rest runs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from lapdev.demo import shop
from lapdev.demo.checks import processes
from lapdev.demo.checks.scene import CheckFailedError, Scene, require
from lapdev.demo.waiting import unheard, wait_until

RECOVERY_TIMEOUT = 60.0
VICTIM = "checkout-v2"
ASK_INTERVAL = 0.02


async def check_sidecar_killed(scene: Scene) -> str:
    """The sidecar of one branch's pod dies: that branch recovers, the others never notice."""
    victim = processes.sidecar_beside(scene.stage.supervisor.pids()["manager"], "api.py", "v2")
    others = [name for name in scene.hosts if name != VICTIM]
    async with _bystanders(scene, others) as seen:
        os.kill(victim, signal.SIGKILL)
        await wait_until(lambda: _still_there(victim), RECOVERY_TIMEOUT, unheard)
        seconds = await _recovery(scene)
    return f"back after {seconds:.1f} s; {seen.asked} requests to the others, 0 wrong"


async def check_cloud_killed(scene: Scene) -> str:
    """The cloud dies: no connection is refused, pods and manager go on, sessions are re-made."""
    pids = scene.stage.supervisor.pids()
    pods = processes.descendants(pids["manager"])
    os.kill(pids["cloud"], signal.SIGKILL)
    await wait_until(lambda: _still_there(pids["cloud"]), RECOVERY_TIMEOUT, unheard)
    seconds = await _recovery(scene)
    now = scene.stage.supervisor.pids()
    require(now["cloud"] != pids["cloud"], "the cloud was not started again")
    require(now["manager"] == pids["manager"], "the manager was started again, too")
    left = processes.descendants(pids["manager"])
    require(pods == left, f"{len(pods - left)} processes of pods ended, {len(left - pods)} began")
    return f"back after {seconds:.1f} s; the manager and {len(pods)} processes of pods went on"


async def check_manager_killed(scene: Scene) -> str:
    """The manager dies, and its pods with it: a new one starts them again; the cloud goes on."""
    pids = scene.stage.supervisor.pids()
    pods = processes.descendants(pids["manager"])
    os.kill(pids["manager"], signal.SIGKILL)
    await wait_until(lambda: _still_there(pids["manager"]), RECOVERY_TIMEOUT, unheard)
    await scene.stage.api.call("GET", "/environments")
    status = await _status_meanwhile(scene)
    seconds = await _recovery(scene)
    now = scene.stage.supervisor.pids()
    require(now["cloud"] == pids["cloud"], "the cloud was started again, too")
    require(now["manager"] != pids["manager"], "the manager was not started again")
    alive = [pid for pid in pods if processes.is_alive(pid)]
    require(not alive, f"{len(alive)} processes of the killed manager's pods are still there")
    return f"back after {seconds:.1f} s; meanwhile the edge answered {status} and the API went on"


async def _recovery(scene: Scene) -> float:
    return await wait_until(scene.stage.ask_all, RECOVERY_TIMEOUT, unheard)


async def _still_there(pid: int) -> str:
    return f"process {pid} is still there" if processes.is_alive(pid) else ""


async def _status_meanwhile(scene: Scene) -> int:
    client = await scene.visitor()
    answer = await client.get("/hops.json", headers={"host": scene.hosts[shop.BASE]})
    status = answer.status_code
    require(status in (200, 502, 503), f"the edge answered {status} while the manager was away")
    return status


@dataclass(slots=True)
class _Seen:
    asked: int = 0
    problems: list[str] = field(default_factory=list)


@asynccontextmanager
async def _bystanders(scene: Scene, previews: Sequence[str]) -> AsyncIterator[_Seen]:
    """Asks the previews over and over while the block runs; any wrong answer fails the check."""
    client = await scene.visitor(connections=len(previews))
    seen, over = _Seen(), asyncio.Event()

    async def ask(name: str) -> None:
        while not over.is_set():
            try:
                problem = await scene.expect(client, name)
            except (httpx.HTTPError, CheckFailedError) as exc:
                problem = str(exc)
            seen.asked += 1
            if problem:
                seen.problems.append(problem)
            await asyncio.sleep(ASK_INTERVAL)

    async with asyncio.TaskGroup() as group:
        for name in previews:
            group.create_task(ask(name))
        try:
            yield seen
        finally:
            over.set()
    require(not seen.problems, f"{len(seen.problems)} wrong meanwhile: {seen.problems[:1]}")
