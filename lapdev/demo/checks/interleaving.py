"""Per request, never per connection: all previews through the same few connections."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import httpx

from lapdev.demo import shop
from lapdev.demo.checks.scene import Scene, require

ROUNDS = 20
REQUESTS = 1_000
VISITORS = 32
API_CONNECTIONS = 8
SEED = 20_26


async def check_one_connection(scene: Scene) -> str:
    """One TCP connection to the edge, a different Host on each request."""
    client = await scene.visitor(connections=1)
    used: set[object] = set()
    for number in range(ROUNDS):
        for name, wanted in shop.expected().items():
            answer = await client.get("/hops.json", headers={"host": scene.hosts[name]})
            used.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
            problem = shop.problem_with(answer.json(), wanted)
            require(not problem, f"request {number} to {name}: {problem}")
    require(len(used) == 1, f"{len(used)} connections were used instead of one")
    return f"{ROUNDS * 3} requests over 1 connection, 0 wrong"


async def check_thousand(scene: Scene) -> str:
    """The web service's pool of eight connections carries requests of all branches, mixed."""
    client = await scene.visitor(connections=VISITORS)
    expected = shop.expected()
    order = [name for name in expected for _ in range(REQUESTS // len(expected) + 1)][:REQUESTS]
    random.Random(SEED).shuffle(order)  # noqa: S311 - the same order each time is the point
    before = await _connections(scene, client, {})
    problems: Counter[str] = Counter()
    queue = iter(order)

    async def visit() -> None:
        for name in queue:
            answer = await client.get("/hops.json", headers={"host": scene.hosts[name]})
            problem = shop.problem_with(answer.json(), expected[name])
            if problem:
                problems[f"{name}: {problem}"] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(VISITORS):
            group.create_task(visit())
    after = await _connections(scene, client, before)
    wrong = sum(problems.values())
    require(not wrong, f"{wrong} of {REQUESTS} wrong: {problems.most_common(1)}")
    seen = {name: after[name]["opened"] for name in after}
    for name, count in seen.items():
        require(count <= API_CONNECTIONS, f"the API of {name} saw {count} connections")
    retries = after[shop.BASE]["retries"] - before[shop.BASE]["retries"]
    require(not retries, f"the web service had to ask {retries} times again")
    counts = ", ".join(f"{name} {count}" for name, count in seen.items())
    return f"{REQUESTS} requests, 0 wrong; connections the APIs saw: {counts}"


Counts = dict[str, dict[str, int]]


async def _connections(scene: Scene, client: httpx.AsyncClient, since: Counts) -> Counts:
    """For the base's API and the one of the branch that changes it: connections used `since`."""
    names = [shop.BASE, *(edit.name for edit in shop.branches() if edit.workload == "api")]
    found = {}
    for name in names:
        after = since.get(name, {}).get("requests", 0)
        path = f"/connections?after={after}"
        answer = await client.get(path, headers={"host": scene.hosts[name]})
        found[name] = dict(answer.raise_for_status().json())
    return found
