"""Preview requests through the running cloud and a real tunnel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lapdev.tunnel import Tunnel
from tests.support.raw import (
    AppConnection,
    RawClient,
    RecordingApp,
    answer_every_request,
    recording_app,
)
from tests.support.running_cloud import (
    RunningCloud,
    StandInManager,
    connected,
    running_cloud,
)
from tests.support.shop_manifests import ingress, shop


@dataclass
class Stage:
    cloud: RunningCloud
    manager: StandInManager
    web: RecordingApp
    shop: str
    """The host of the shared environment's preview."""
    branch: str
    branch_id: str
    tunnel: Tunnel
    """The manager's end."""


@asynccontextmanager
async def stage(tmp_path: Path, script: object = answer_every_request) -> AsyncIterator[Stage]:
    """A cloud with an environment and a branch, and a manager that serves `web`."""
    async with recording_app(script) as web, running_cloud(tmp_path) as cloud:  # type: ignore[arg-type]
        manager = StandInManager({"web": web})
        async with connected(cloud, "manager", cloud.cluster_token, manager) as tunnel:
            body = {"name": "shop", "kind": "shared", "manifests": shop()}
            await cloud.ok("POST", "/environments", body)
            branch = await cloud.ok("POST", "/environments/shop/branches", {"name": "fix"})
            yield Stage(
                cloud,
                manager,
                web,
                await cloud.label_of("shop"),
                await cloud.label_of("fix"),
                branch["id"],
                tunnel,
            )


@asynccontextmanager
async def browser(cloud: RunningCloud) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_unix_connection(cloud.address.removeprefix("unix:"))
    yield RawClient(reader, writer)
    writer.close()


def get(host: str, path: str = "/", *fields: str) -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode()


def seen(app: RecordingApp) -> str:
    return b"".join(bytes(connection) for connection in app.connections).decode("latin-1")


async def test_a_preview_host_reaches_its_service(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, browser(on.cloud) as client:
        client.send(get(on.shop, "/cart?a=1"))
        status, _, body = await client.response()
        assert (status, body) == (200, b"GET /cart?a=1 HTTP/1.1")


async def test_requests_of_one_connection_go_to_the_app_on_one_connection(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, browser(on.cloud) as client:
        for number in range(20):
            client.send(get((on.shop, on.branch)[number % 2], f"/{number}"))
            assert (await client.response())[2] == f"GET /{number} HTTP/1.1".encode()
        assert len(on.web.connections) == 1


async def test_the_branch_travels_with_branch_requests_only(tmp_path: Path) -> None:
    forged = "tracestate: lapdev-env-id=aaaaaaaaaaaaaaaa,v=1"
    async with stage(tmp_path) as on, browser(on.cloud) as client:
        client.send(get(on.shop, "/base", forged))
        await client.response()
        assert "lapdev-env-id" not in seen(on.web)
        assert "v=1" in seen(on.web)
        client.send(get(on.branch, "/branch", forged))
        await client.response()
        assert f"lapdev-env-id={on.branch_id},v=1" in seen(on.web)
        assert "aaaaaaaaaaaaaaaa" not in seen(on.web)


async def test_a_host_that_is_no_preview_is_404_for_people_and_programs(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, browser(on.cloud) as client:
        client.send(get("80-nobody-aaaaaaaaaaaa.lapdev.localhost", "/", "Accept: text/html"))
        status, headers, page = await client.response()
        assert status == 404
        assert headers["content-type"].startswith("text/html")
        assert b"no preview under this address" in page
        client.send(get("80-nobody-aaaaaaaaaaaa.lapdev.localhost"))
        status, headers, body = await client.response()
        assert (status, headers["lapdev-error"]) == (404, "no_route; hop=edge")
        assert json.loads(body)["error"]["hint"]


async def test_a_cluster_that_is_away_is_503_and_comes_back_unasked(tmp_path: Path) -> None:
    async with recording_app(answer_every_request) as web, running_cloud(tmp_path) as cloud:
        body = {"name": "shop", "kind": "shared", "manifests": shop()}
        await cloud.ok("POST", "/environments", body)
        host = await cloud.label_of("shop")
        async with browser(cloud) as client:
            client.send(get(host))
            status, headers, _ = await client.response()
            assert (status, headers["retry-after"]) == (503, "2")
            assert headers["lapdev-error"].startswith("not_ready")
            client.send(get(host, "/held"))  # a request in the gap waits for the tunnel
            manager = StandInManager({"web": web})
            async with connected(cloud, "manager", cloud.cluster_token, manager):
                assert (await client.response())[2] == b"GET /held HTTP/1.1"


async def test_an_app_that_refuses_connections_is_502_from_the_hop_that_saw_it(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as on:
        on.manager.apps["web"] = RecordingApp(port=1)  # nothing listens there
        async with browser(on.cloud) as client:
            client.send(get(on.shop))
            status, headers, _ = await client.response()
            assert status == 502
            assert headers["lapdev-error"].startswith("connect_failed")


async def test_an_app_that_closes_every_connection_costs_no_request(tmp_path: Path) -> None:
    async def one_answer(connection: AppConnection) -> None:
        head = await connection.read_head()
        connection.answer(head.split(b"\r\n", 1)[0])

    async with stage(tmp_path, one_answer) as on, browser(on.cloud) as client:
        for number in range(10):
            client.send(get(on.shop, f"/{number}"))
            assert (await client.response())[2] == f"GET /{number} HTTP/1.1".encode()


async def test_a_deleted_preview_is_gone_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, browser(on.cloud) as client:
        await on.cloud.ok("DELETE", "/environments/fix")
        client.send(get(on.branch))
        assert (await client.response())[0] == 404
        assert on.manager.deleted == [on.branch_id]


async def test_only_hosts_we_know_reach_the_api(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        public = await _public_port(cloud)
        reader, writer = await asyncio.open_connection("127.0.0.1", public)
        client = RawClient(reader, writer)
        token = f"Authorization: Bearer {cloud.token}"
        for host, expected in [
            ("127.0.0.1", 200),
            ("lapdev.localhost", 200),
            ("evil.example", 404),
            ("lapdev.localhost.evil.example", 404),
        ]:
            client.send(get(host, "/api/v1/environments", token))
            assert (await client.response())[0] == expected
        writer.close()


async def _public_port(cloud: RunningCloud) -> int:
    """The port in the preview URLs, which is the public one."""
    import httpx

    await cloud.ok("POST", "/environments", {"name": "x", "kind": "shared", "manifests": shop()})
    view = await cloud.ok("GET", "/environments/x")
    return httpx.URL(view["previews"][0]["url"]).port or 80


# Paths


async def test_each_path_of_an_ingress_goes_to_its_service_on_one_connection(
    tmp_path: Path,
) -> None:
    async with recording_app(answer_every_request) as api, stage(tmp_path) as on:
        on.manager.apps["api"] = api
        pages = ingress("pages", ("/web", "web", 8080), ("/api", "api", 8080))
        put = await on.cloud.ok("PUT", "/environments/shop", {"manifests": [*shop(), pages]})
        (label,) = [p["label"] for p in put["previews"] if p["name"] == "pages"]
        host = f"{label}.lapdev.localhost"
        async with browser(on.cloud) as client:
            for _ in range(3):
                for path in ("/web", "/api", "/web/x?q=/api", "/api/y"):
                    client.send(get(host, path))
                    assert (await client.response())[2] == f"GET {path} HTTP/1.1".encode()
            client.send(get(host, f"http://{host}/api/absolute"))
            assert (await client.response())[2] == b"GET /api/absolute HTTP/1.1"
        assert seen(api).count("GET /api") == 7
        assert (seen(api) + seen(on.web)).count("GET /web") == 6
        assert (len(api.connections), len(on.web.connections)) == (1, 1)


async def test_a_path_that_nothing_answers_is_404_and_names_no_service(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        only = ingress("pages", ("/web", "web", 8080))
        put = await on.cloud.ok("PUT", "/environments/shop", {"manifests": [*shop(), only]})
        (label,) = [p["label"] for p in put["previews"] if p["name"] == "pages"]
        host = f"{label}.lapdev.localhost"
        async with browser(on.cloud) as client:
            for request in (
                get(host, "/"),
                get(host, "/webs"),
                f"OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(),
            ):
                client.send(request)
                status, headers, page = await client.response()
                assert (status, headers["lapdev-error"]) == (404, "no_route; hop=edge")
                assert b"Nothing answers this path" in page
                assert b"shop" not in page
            client.send(get(host, "/web"))
            assert (await client.response())[0] == 200


async def test_a_branch_shows_its_own_version_by_path_too(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, browser(on.cloud) as client:
        pages = ingress("pages", ("/", "web", 8080))
        await on.cloud.ok("PUT", "/environments/shop", {"manifests": [*shop(), pages]})
        found = (await on.cloud.ok("GET", "/environments/fix/previews"))["previews"]
        (label,) = [p["label"] for p in found if p["name"] == "pages"]
        client.send(get(f"{label}.lapdev.localhost", "/x"))
        assert (await client.response())[0] == 200
        assert f"lapdev-env-id={on.branch_id}" in seen(on.web)


# The listener for pods


async def test_the_listener_for_pods_serves_previews_and_nothing_else(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/e.sock")
        client = RawClient(reader, writer)
        client.send(get(on.shop, "/hello"))
        assert (await client.response())[2] == b"GET /hello HTTP/1.1"
        token = f"Authorization: Bearer {on.cloud.token}"
        manager = f"Authorization: Bearer {on.cloud.cluster_token}"
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        for host in ("127.0.0.1", "localhost", "lapdev.localhost", "evil.example"):
            client.send(get(host, "/api/v1/environments", token))
            assert (await client.response())[0] == 404
            client.send(get(host, "/_lapdev/tunnel/manager", manager, *upgrade))
            assert (await client.response())[0] == 404
        writer.close()
