"""A local process takes a service's traffic, for the base or for one branch, and gives it back."""

from __future__ import annotations

import time

import httpx

from lapdev.demo import shop
from lapdev.demo.checks.laptop import Laptop
from lapdev.demo.checks.scene import Scene, require
from lapdev.demo.waiting import unheard, wait_until

TAKE_TIMEOUT = 10.0
GIVE_BACK_TIMEOUT = 10.0
AT_ONCE = 1.5
"""Seconds within which a request is answered although the laptop is gone."""

ROUNDS = 10
BASE = shop.BASE
BRANCH = "checkout-v2"


async def check_base(scene: Scene) -> str:
    """An intercept on the shared environment takes requests without a branch, and only those."""
    client = await scene.visitor()
    laptop = await scene.laptop(BASE)
    intercept = await scene.intercept(BASE, "api", laptop)
    on = await _wait_for(scene, client, BASE, api="laptop")
    for _ in range(ROUNDS):
        await _require(scene, client, BASE, api="laptop")
        for edit in shop.branches():
            await _require(scene, client, edit.name)
    await scene.remove(intercept)
    off = await _wait_for(scene, client, BASE)
    return f"on after {on:.2f} s, off after {off:.2f} s; branches undisturbed"


async def check_branch(scene: Scene) -> str:
    """An intercept on a branch takes that branch's requests and no others."""
    client = await scene.visitor()
    laptop = await scene.laptop(BRANCH)
    intercept = await scene.intercept(BRANCH, "api", laptop)
    on = await _wait_for(scene, client, BRANCH, api="laptop")
    for _ in range(ROUNDS):
        await _require(scene, client, BRANCH, api="laptop")
        await _require(scene, client, BASE)
        await _require(scene, client, "search-fix")
    await scene.remove(intercept)
    off = await _wait_for(scene, client, BRANCH)
    return f"on after {on:.2f} s, off after {off:.2f} s; base undisturbed"


async def check_program_gone(scene: Scene) -> str:
    """The local program stops while the laptop stays connected: the cluster's version answers."""
    client, laptop = await _intercepted_base(scene)
    await laptop.stop_program()
    slowest = await _require_no_gap(scene, client)
    return f"the cluster's version answered at once, slowest after {slowest * 1000:.0f} ms"


async def check_laptop_gone(scene: Scene) -> str:
    """The laptop vanishes without a word: the cluster's version answers."""
    client, laptop = await _intercepted_base(scene)
    await laptop.kill_link()
    slowest = await _require_no_gap(scene, client)
    return f"the cluster's version answered at once, slowest after {slowest * 1000:.0f} ms"


async def _intercepted_base(scene: Scene) -> tuple[httpx.AsyncClient, Laptop]:
    client = await scene.visitor()
    laptop = await scene.laptop(BASE)
    await scene.intercept(BASE, "api", laptop)
    await _wait_for(scene, client, BASE, api="laptop")
    return client, laptop


async def _require_no_gap(scene: Scene, client: httpx.AsyncClient) -> float:
    """Every request is answered right and soon; returns the slowest one's seconds."""
    slowest = 0.0
    for _ in range(ROUNDS):
        started = time.monotonic()
        await _require(scene, client, BASE)
        slowest = max(slowest, time.monotonic() - started)
    require(slowest < AT_ONCE, f"a request took {slowest:.1f} s")
    return slowest


async def _wait_for(scene: Scene, client: httpx.AsyncClient, preview: str, **changed: str) -> float:
    async def problem() -> str:
        return await scene.expect(client, preview, **changed)

    return await wait_until(problem, TAKE_TIMEOUT if changed else GIVE_BACK_TIMEOUT, unheard)


async def _require(scene: Scene, client: httpx.AsyncClient, preview: str, **changed: str) -> None:
    problem = await scene.expect(client, preview, **changed)
    require(not problem, problem)
