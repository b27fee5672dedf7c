"""Routes: whole, newest wins, kept while the manager is away."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from lapdev.errors import CallFailed, StreamRefused
from lapdev.model import EnvironmentId, InterceptId, RouteSnapshot
from lapdev.routing.decide import decide
from lapdev.sidecar.app import FEED_PATH
from lapdev.sidecar.feed import Routes
from lapdev.wire.control import ApplyRoutes, Done, InterceptTarget, RoutesApplied
from tests.support.raw import answer_every_request, recording_app
from tests.support.sidecar import ONE, branch, launch, running, snapshot
from tests.support.tunnel_peer import tunnel_peer


def test_a_snapshot_replaces_all_routes() -> None:
    routes = Routes()
    assert routes.apply(snapshot(branch(ONE, "one", "10.0.0.1:80")))
    assert decide(routes.table, ONE, False, "api:80").reason == "branch"
    assert routes.names == {ONE: "one"}
    assert routes.apply(snapshot(generation=2))
    assert decide(routes.table, ONE, False, "api:80").reason == "not_in_branch"
    assert routes.names == {}


def test_an_older_generation_changes_nothing() -> None:
    routes = Routes()
    routes.apply(snapshot(branch(ONE, "one", "10.0.0.1:80"), generation=7))
    assert not routes.apply(snapshot(generation=6))
    assert (routes.generation, routes.digest) == (7, "digest 7")
    assert decide(routes.table, ONE, False, "api:80").reason == "branch"


def test_equal_content_keeps_the_table_and_takes_the_generation() -> None:
    routes = Routes()
    first = snapshot(branch(ONE, "one", "10.0.0.1:80"))
    routes.apply(first)
    table = routes.table
    assert routes.apply(dataclasses.replace(first, generation=9))
    assert routes.table is table
    assert routes.generation == 9


def test_followers_hear_what_is_in_force_and_nothing_else() -> None:
    routes = Routes()
    heard: list[RouteSnapshot] = []
    routes.follow(heard.append)
    routes.apply(snapshot(generation=2))
    routes.apply(snapshot(generation=1))
    assert [item.generation for item in heard] == [2]


async def test_the_manager_pushes_routes_and_hears_what_is_held(tmp_path: Path) -> None:
    async with (
        recording_app(answer_every_request) as app,
        tunnel_peer("pod-token", address=f"unix:{tmp_path}/m") as manager,
        running(launch(app.port, manager=manager.address)) as sidecar,
    ):
        tunnel = await manager.wait_up()
        assert manager.paths == [FEED_PATH]
        assert sidecar.feed.up
        rows = branch(ONE, "one", "10.0.0.1:80")
        assert await tunnel.call(ApplyRoutes(snapshot(rows, generation=4))) == RoutesApplied(
            4, "digest 4"
        )
        assert await tunnel.call(ApplyRoutes(snapshot(generation=3))) == RoutesApplied(
            4, "digest 4"
        )
        assert decide(sidecar.routes.table, ONE, False, "api:80").reason == "branch"
        with pytest.raises(CallFailed, match="takes no Done"):
            await tunnel.call(Done())
        stream = tunnel.open_stream(InterceptTarget(InterceptId("i"), 80), asyncio.Protocol())
        with pytest.raises(StreamRefused):
            await stream.wait_accepted()


async def test_the_last_routes_hold_while_the_manager_is_away(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/m"
    async with (
        recording_app(answer_every_request) as app,
        running(launch(app.port, manager=address)) as sidecar,
    ):
        async with tunnel_peer("pod-token", address=address) as manager:
            tunnel = await manager.wait_up()
            await tunnel.call(ApplyRoutes(snapshot(branch(ONE, "one", "10.0.0.1:80"))))
        assert decide(sidecar.routes.table, EnvironmentId(ONE), False, "api:80").reason == "branch"
        async with tunnel_peer("pod-token", address=address) as manager:
            await (await manager.wait_up()).call(ApplyRoutes(snapshot(generation=2)))
        assert sidecar.routes.generation == 2
