"""Bar: 1,000 requests of both branches and the baseline over eight connections to the API."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from urllib.parse import urlsplit

import pytest

from lapdev.demo import shop
from tests.support import demo, needs
from tests.support.raw import connect

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REQUESTS = 1_000
VISITORS = 24
API_CONNECTIONS = 8


async def test_a_thousand_interleaved_requests_are_all_answered_by_their_own_versions() -> None:
    needs.userns()
    with demo.places() as where, demo.running(where) as shown:
        edge = shown.ready["edge"]
        hosts = {name: urlsplit(url).netloc for name, url in shown.ready["previews"].items()}
        answers = await interleave(edge, hosts)
        assert sum(answers.values()) == REQUESTS
        assert dict(answers) == {
            (name, *versions.values()): answers[(name, *versions.values())]
            for name, versions in shop.expected().items()
        }, "0 wrong"
        for name in ("shop", "checkout-v2"):
            seen = await ask(edge, hosts[name], "/connections")
            assert 1 < seen["opened"] <= API_CONNECTIONS, f"the API of {name}: {seen}"
            assert seen["retries"] == 0


async def interleave(edge: str, hosts: dict[str, str]) -> Counter[tuple[str, ...]]:
    """(preview, versions of web, api and search) → how often that was answered."""
    order = [name for name in hosts for _ in range(REQUESTS // len(hosts) + 1)][:REQUESTS]
    random.Random(8).shuffle(order)
    answers: Counter[tuple[str, ...]] = Counter()
    queue = iter(order)

    async def visit() -> None:
        # Each visitor has one connection, over which requests to all three previews go.
        async with connect(edge) as client:
            for name in queue:
                client.send(f"GET /hops.json HTTP/1.1\r\nHost: {hosts[name]}\r\n\r\n".encode())
                status, _, body = await client.response()
                assert status == 200, body
                versions = shop.versions_in(json.loads(body))
                answers[(name, *versions.values())] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(VISITORS):
            group.create_task(visit())
    return answers


async def ask(edge: str, host: str, path: str) -> dict[str, int]:
    async with connect(edge) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return dict(json.loads((await client.response())[2]))
