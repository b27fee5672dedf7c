"""Every preview URL answers with its own versions, as JSON and as a page."""

from __future__ import annotations

from lapdev.demo import shop
from lapdev.demo.checks.scene import Scene, require


async def check_previews(scene: Scene) -> str:
    client = await scene.visitor(connections=3)
    runtime = ""
    for name, wanted in shop.expected().items():
        hops = await scene.hops(client, name)
        problem = shop.problem_with(hops, wanted)
        require(not problem, f"{name}: {problem}")
        page = await client.get("/", headers={"host": scene.hosts[name], "accept": "text/html"})
        require(page.status_code == 200, f"{name}: the page has status {page.status_code}")
        require(all(f">{hop['version']}<" in page.text for hop in hops), f"{name}: page lacks hops")
        require(page.text.count('aria-current="page"') == 1, f"{name}: page knows not its own name")
        runtime = str(hops[2]["runtime"])
    return f"{len(shop.expected())} previews, pages and hops; search runs on {runtime}"
