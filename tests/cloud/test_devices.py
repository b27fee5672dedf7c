"""Laptops, sidecars and managers meet in the cloud: who may reach what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lapdev.errors import CallFailed, StreamRefused
from lapdev.model import InterceptId
from lapdev.tunnel import Tunnel
from lapdev.wire.control import InterceptTarget, ReportCluster, ServiceTarget, Target
from tests.support.raw import answer_every_request, recording_app
from tests.support.running_cloud import (
    RunningCloud,
    StandInLaptop,
    StandInManager,
    connected,
    running_cloud,
)
from tests.support.shop_manifests import service, shop


class Collecting(asyncio.Protocol):
    """Keeps what a stream brings until it is enough."""

    def __init__(self) -> None:
        self.data = b""
        self.enough = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        if b"HTTP/1.1" in self.data.partition(b"\r\n\r\n")[2]:
            self.enough.set()


async def ask(tunnel: Tunnel, target: Target) -> bytes:
    """One GET over a new stream; the answer's body. Raises StreamRefused."""
    collecting = Collecting()
    stream = tunnel.open_stream(target, collecting)
    stream.write(b"GET /who HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(10):
        await stream.wait_accepted()
        await collecting.enough.wait()
    stream.close()
    return collecting.data.partition(b"\r\n\r\n")[2]


@asynccontextmanager
async def cloud_with_laptop(
    tmp_path: Path,
) -> AsyncIterator[tuple[RunningCloud, StandInManager, StandInLaptop, str]]:
    """A shop, its manager, and a laptop connected to the cloud; yields the namespace last."""
    async with (
        recording_app(answer_every_request) as app,
        recording_app(answer_every_request) as local,
        running_cloud(tmp_path) as cloud,
    ):
        manager, laptop = StandInManager({"api": app}), StandInLaptop(app=local)
        async with (
            connected(cloud, "manager", cloud.cluster_token, manager),
            connected(cloud, "devbox", cloud.token, laptop) as tunnel,
        ):
            laptop.tunnel = tunnel
            body = {"name": "shop", "kind": "shared", "manifests": shop()}
            view = await cloud.ok("POST", "/environments", body)
            yield cloud, manager, laptop, view["namespace"]


async def intercept(
    cloud: RunningCloud, manager: StandInManager, environment: str
) -> tuple[str, str]:
    """(id, token) of a new intercept on api, the token as the manager was given it."""
    wish = {
        "service": "api",
        "device": "laptop-1",
        "ports": [{"service_port": 8080, "local_port": 9000}],
    }
    made = await cloud.ok("POST", f"/environments/{environment}/intercepts", wish)
    async with asyncio.timeout(10):
        while True:
            held = manager.held.get(environment)
            for grant in held.intercepts if held else ():
                if grant.intercept.id == made["id"]:
                    return made["id"], grant.token
            await manager.heard.get()


async def test_a_laptop_reaches_the_services_of_its_environment(tmp_path: Path) -> None:
    async with cloud_with_laptop(tmp_path) as (_, _manager, laptop, namespace):
        state = await laptop.start("shop")
        assert {service.name for service in state.services} == {"web", "api"}
        assert laptop.tunnel is not None
        answer = await ask(laptop.tunnel, ServiceTarget(namespace, "api", 8080))
        assert answer == b"GET /who HTTP/1.1"


@pytest.mark.parametrize(
    ("namespace", "service", "port"),
    [("", "api", 1), ("", "redis", 6379), ("kube-system", "api", 8080), ("", "127.0.0.1", 22)],
)
async def test_a_laptop_reaches_nothing_else(
    tmp_path: Path, namespace: str, service: str, port: int
) -> None:
    async with cloud_with_laptop(tmp_path) as (_, _manager, laptop, own):
        await laptop.start("shop")
        assert laptop.tunnel is not None
        with pytest.raises(StreamRefused) as caught:
            await ask(laptop.tunnel, ServiceTarget(namespace or own, service, port))
        assert caught.value.cause == "no_route"


async def test_without_a_session_a_laptop_reaches_nothing(tmp_path: Path) -> None:
    async with cloud_with_laptop(tmp_path) as (_, _manager, laptop, namespace):
        assert laptop.tunnel is not None
        with pytest.raises(StreamRefused) as caught:
            await ask(laptop.tunnel, ServiceTarget(namespace, "api", 8080))
        assert caught.value.cause == "forbidden"


async def test_a_branch_session_sees_the_services_of_its_base(tmp_path: Path) -> None:
    async with cloud_with_laptop(tmp_path) as (cloud, _, laptop, namespace):
        await cloud.ok("POST", "/environments/shop/branches", {"name": "fix"})
        state = await laptop.start("fix")
        assert (state.environment_name, state.namespace) == ("fix", namespace)
        assert {service.name for service in state.services} == {"web", "api"}


async def test_an_intercept_reaches_the_laptop_and_its_token_nothing_else(tmp_path: Path) -> None:
    async with cloud_with_laptop(tmp_path) as (cloud, manager, laptop, namespace):
        await laptop.start("shop")
        made, token = await intercept(cloud, manager, "shop")
        async with connected(cloud, "sidecar", token, StandInManager()) as tunnel:
            target = InterceptTarget(InterceptId(made), 8080)
            assert await ask(tunnel, target) == b"GET /who HTTP/1.1"
            for other in (
                InterceptTarget(InterceptId("someoneelses0000"), 8080),
                ServiceTarget(namespace, "api", 8080),
            ):
                with pytest.raises(StreamRefused) as caught:
                    await ask(tunnel, other)
                assert caught.value.cause == "forbidden"
            with pytest.raises(CallFailed):
                await tunnel.call(ReportCluster("1", "local"))
        assert laptop.states[-1].intercepts[0].id == made


async def test_an_intercept_without_its_laptop_is_refused_at_once(tmp_path: Path) -> None:
    async with cloud_with_laptop(tmp_path) as (cloud, manager, _, _namespace):
        made, token = await intercept(cloud, manager, "shop")
        async with connected(cloud, "sidecar", token, StandInManager()) as tunnel:
            with pytest.raises(StreamRefused) as caught:
                await ask(tunnel, InterceptTarget(InterceptId(made), 8080))
            assert "not connected" in caught.value.detail


async def test_removing_an_intercept_ends_what_its_token_opened(tmp_path: Path) -> None:
    async with cloud_with_laptop(tmp_path) as (cloud, manager, laptop, _):
        await laptop.start("shop")
        made, token = await intercept(cloud, manager, "shop")
        closed = asyncio.Event()

        class Sidecar(StandInManager):
            def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
                closed.set()

        async with connected(cloud, "sidecar", token, Sidecar()):
            await cloud.ok("DELETE", f"/intercepts/{made}")
            async with asyncio.timeout(5):
                await closed.wait()


@pytest.mark.parametrize("role", ["manager", "sidecar", "devbox"])
async def test_a_tunnel_needs_its_own_kind_of_token(tmp_path: Path, role: str) -> None:
    async with running_cloud(tmp_path) as cloud:
        right = {"manager": cloud.cluster_token, "devbox": cloud.token}.get(role)
        tokens = ["nonsense", cloud.token, cloud.cluster_token]
        for token in [token for token in tokens if token != right]:
            fields = {
                "connection": "upgrade",
                "upgrade": "websocket",
                "authorization": f"Bearer {token}",
            }
            answer = await cloud.api.get(f"/_lapdev/tunnel/{role}", headers=fields)
            assert answer.status_code == (401 if token == "nonsense" else 403)
        answer = await cloud.api.get(f"/_lapdev/tunnel/{role}?token={right}")
        assert answer.status_code == 400


async def test_a_devbox_makes_no_other_calls_and_names_its_environment(tmp_path: Path) -> None:
    async with cloud_with_laptop(tmp_path) as (_, _manager, laptop, _namespace):
        assert laptop.tunnel is not None
        with pytest.raises(CallFailed) as caught:
            await laptop.tunnel.call(ReportCluster("1", "local"))
        assert caught.value.cause == "forbidden"
        with pytest.raises(CallFailed) as caught:
            await laptop.start("nowhere")
        assert caught.value.cause == "not_found"


async def test_a_devbox_that_names_none_gets_the_only_environment(tmp_path: Path) -> None:
    async with cloud_with_laptop(tmp_path) as (cloud, _manager, laptop, _namespace):
        assert (await laptop.start("")).environment_name == "shop"
        await cloud.ok("POST", "/environments/shop/branches", {"name": "fix"})
        with pytest.raises(CallFailed, match="there are several environments") as several:
            await laptop.start("")
        assert several.value.hint == "name one with --environment: fix, shop"
        await cloud.ok("DELETE", "/environments/fix")
        await cloud.ok("DELETE", "/environments/shop")
        with pytest.raises(CallFailed, match="there is no environment yet"):
            await laptop.start("")


async def test_a_session_learns_which_services_its_environment_offers_now(tmp_path: Path) -> None:
    async with cloud_with_laptop(tmp_path) as (cloud, _, laptop, namespace):
        await cloud.ok("POST", "/environments/shop/branches", {"name": "fix"})
        await laptop.start("fix")
        mail = service("mail")
        mail["spec"]["selector"] = {"app": "api"}
        patch = {"patch": {"": {"image": "shop:2"}}}
        await cloud.ok("PUT", "/environments/fix/workloads/api", patch)
        assert not laptop.states, "the same services are no news"
        await cloud.ok("PUT", "/environments/shop", {"manifests": [*shop(), mail]})
        async with asyncio.timeout(5):
            await laptop.told.wait()
        assert {s.name for s in laptop.states[-1].services} == {"web", "api", "mail"}
        assert laptop.states[-1].environment_name == "fix"
        assert laptop.tunnel is not None
        with pytest.raises(StreamRefused) as caught:
            await ask(laptop.tunnel, ServiceTarget(namespace, "mail", 8080))
        assert caught.value.detail != "this is not a service port of the active environment"
