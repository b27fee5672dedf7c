"""Ends that come back, or whose place another takes: nothing of the old one clings to the new.

The numbers are those of a list of faults that other products of this kind have had.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lapdev.errors import StreamRefused
from lapdev.model import InterceptId
from lapdev.tunnel import Tunnel
from lapdev.wire.control import InterceptTarget, ServiceTarget
from tests.cloud.test_devices import ask, cloud_with_laptop, intercept
from tests.support.raw import RecordingApp
from tests.support.running_cloud import RunningCloud, StandInLaptop, StandInManager, connected

PORT = 8080
FIRST_LINE = b"GET /who HTTP/1.1"


@asynccontextmanager
async def another_laptop(
    cloud: RunningCloud, app: RecordingApp | None, device: str = "laptop-1"
) -> AsyncIterator[StandInLaptop]:
    """A second process of a device, at work in the same environment."""
    laptop = StandInLaptop(app=app)
    async with connected(cloud, "devbox", cloud.token, laptop) as laptop.tunnel:
        await laptop.start("shop", device)
        yield laptop


def cut(tunnel: Tunnel) -> None:
    for number in tunnel.links:
        tunnel._links[number].websocket.abort()


async def test_w_12_after_a_reconnect_streams_go_over_the_connection_of_the_hour(
    tmp_path: Path,
) -> None:
    async with cloud_with_laptop(tmp_path) as (cloud, manager, laptop, namespace):
        await laptop.start("shop")
        made, token = await intercept(cloud, manager, "shop")
        async with connected(cloud, "sidecar", token, StandInManager()) as sidecar:
            assert laptop.tunnel is not None
            for _ in range(3):
                cut(laptop.tunnel)
                cut(sidecar)
                service = ServiceTarget(namespace, "api", PORT)
                assert await ask(laptop.tunnel, service) == FIRST_LINE
                assert await ask(sidecar, InterceptTarget(InterceptId(made), PORT)) == FIRST_LINE


async def test_w_14_the_end_of_a_displaced_session_takes_nothing_from_its_successor(
    tmp_path: Path,
) -> None:
    async with cloud_with_laptop(tmp_path) as (cloud, manager, laptop, namespace):
        await laptop.start("shop")
        made, token = await intercept(cloud, manager, "shop")
        async with (
            another_laptop(cloud, laptop.app) as newer,
            connected(cloud, "sidecar", token, StandInManager()) as sidecar,
        ):
            assert laptop.tunnel is not None
            assert newer.tunnel is not None
            await laptop.tunnel.aclose("displaced")
            assert await ask(newer.tunnel, ServiceTarget(namespace, "api", PORT)) == FIRST_LINE
            assert await ask(sidecar, InterceptTarget(InterceptId(made), PORT)) == FIRST_LINE
            cut(newer.tunnel)  # and its own reconnection is not refused
            assert await ask(newer.tunnel, ServiceTarget(namespace, "api", PORT)) == FIRST_LINE
            listed = await cloud.ok("GET", "/environments/shop/intercepts")
            assert [item["id"] for item in listed["intercepts"]] == [made]


async def test_w_15_a_sidecar_reaches_a_laptop_that_came_back_without_new_routes(
    tmp_path: Path,
) -> None:
    async with cloud_with_laptop(tmp_path) as (cloud, manager, laptop, _):
        await laptop.start("shop")
        made, token = await intercept(cloud, manager, "shop")
        target = InterceptTarget(InterceptId(made), PORT)
        async with connected(cloud, "sidecar", token, StandInManager()) as sidecar:
            assert await ask(sidecar, target) == FIRST_LINE
            assert laptop.tunnel is not None
            pushed = len(manager.applied)
            await laptop.tunnel.aclose("the laptop is shut")
            with pytest.raises(StreamRefused):
                while True:
                    await ask(sidecar, target)
            async with another_laptop(cloud, laptop.app):
                assert await ask(sidecar, target) == FIRST_LINE
            assert len(manager.applied) == pushed


async def test_w_16_a_restarted_manager_knows_the_intercepts_and_hears_of_their_end(
    tmp_path: Path,
) -> None:
    async with cloud_with_laptop(tmp_path) as (cloud, manager, laptop, _):
        await laptop.start("shop")
        made, token = await intercept(cloud, manager, "shop")
        restarted = StandInManager()
        async with connected(cloud, "manager", cloud.cluster_token, restarted):
            async with asyncio.timeout(10):
                while "shop" not in restarted.held:
                    await restarted.heard.get()
            assert [(g.intercept.id, g.token) for g in restarted.held["shop"].intercepts] == [
                (made, token)
            ]
            await cloud.ok("DELETE", f"/intercepts/{made}")
            async with asyncio.timeout(10):
                while restarted.held["shop"].intercepts:
                    await restarted.heard.get()
