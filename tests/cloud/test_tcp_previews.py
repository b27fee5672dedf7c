"""Raw TCP previews: the range of ports, and connections through a running cloud."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from lapdev.cloud.clusters import ClusterLinks
from lapdev.cloud.tcp_previews import TcpPreviews, TcpRange, TcpRoute, parse_tcp_range
from lapdev.errors import ConfigError, Conflict, NotReady
from lapdev.log import AccessLog
from lapdev.model import ClusterId, Environment, EnvironmentId, EnvironmentKind, PreviewUrl
from lapdev.net.overload import Overload
from lapdev.net.tasks import Tasks
from lapdev.routing.hosts import PreviewEntry
from lapdev.tunnel import Tunnel
from tests.support import tunnel_ends
from tests.support.raw import AppConnection, RawClient, RecordingApp, connect, recording_app
from tests.support.running_cloud import RunningCloud, StandInManager, connected, running_cloud
from tests.support.shop_manifests import deployment, service

HOST = "127.0.0.1"

# The setting


def test_a_range_is_a_host_and_two_ports() -> None:
    assert parse_tcp_range("127.0.0.1:20000-20099") == TcpRange("127.0.0.1", 20000, 20099)
    assert parse_tcp_range("[::1]:5-5") == TcpRange("::1", 5, 5)
    assert str(parse_tcp_range("[::1]:5-6")) == "[::1]:5-6"
    assert parse_tcp_range("") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("20000-20099", "is not a range of ports"),
        ("127.0.0.1:20000", "is not a range of ports"),
        ("127.0.0.1:20000-", "is not a range of ports"),
        ("::1:1-2", "is not a range of ports"),
        ("127.0.0.1:1-2\n", "is not a range of ports"),
        ("127.0.0.1:20099-20000", "20099 to 20000"),
        ("127.0.0.1:0-5", "from 1 to 65535"),
        ("127.0.0.1:1-65536", "from 1 to 65535"),
    ],
)
def test_any_other_text_is_refused_with_an_example(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse_tcp_range(text)
    assert "127.0.0.1:20000-20099" in caught.value.hint


def free_ports(count: int) -> TcpRange:
    """Ports in a row that nobody listens at right now, and other tests hardly look at."""
    while True:
        first = random.randrange(21_000, 32_000, 10)
        with contextlib.ExitStack() as held:
            try:
                for offset in range(count):
                    held.enter_context(socket.create_server((HOST, first + offset)))
            except OSError:
                continue
        return TcpRange(HOST, first, first + count - 1)


def test_a_port_that_somebody_has_is_not_chosen() -> None:
    ports = free_ports(3)
    with socket.create_server((HOST, ports.first + 1)):
        assert ports.choose({ports.first}) == ports.last
        with pytest.raises(Conflict, match=r"no port of 127\.0\.0\.1:") as caught:
            ports.choose({ports.first, ports.last})
    assert "wider range" in caught.value.hint


# Connections


def database(value: str = "5432") -> list[dict[str, Any]]:
    made = service("db", {"name": "pg", "port": 5432}, {"name": "other", "port": 5433})
    made["metadata"]["annotations"] = {"lapdev.dev/tcp-preview": value}
    return [deployment("db"), made]


async def reverse(connection: AppConnection) -> None:
    """Answers when it has everything: what a half-closed connection is good for."""
    data = await connection.reader.read()
    connection.send(data[::-1])


@dataclass
class Stage:
    cloud: RunningCloud
    manager: StandInManager
    ports: TcpRange
    preview: Any

    @property
    def port(self) -> int:
        return int(self.preview["url"].rpartition(":")[2])


@contextlib.asynccontextmanager
async def stage(tmp_path: Path, script: Any = reverse, size: int = 2) -> AsyncIterator[Stage]:
    """A database behind a raw TCP preview."""
    ports = free_ports(size)
    async with (
        recording_app(script) as app,
        running_cloud(tmp_path, str(ports)) as cloud,
    ):
        manager = StandInManager({"db": app})
        async with connected(cloud, "manager", cloud.cluster_token, manager):
            put = await cloud.ok("PUT", "/environments/shop", {"manifests": database()})
            yield Stage(cloud, manager, ports, put["previews"][0])


async def rest(client: RawClient) -> bytes:
    """What comes until the end; a reset raises."""
    async with asyncio.timeout(5):
        return await client.reader.read()


async def test_a_connection_reaches_the_service_and_half_close_crosses(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        assert on.preview["url"] == f"tcp://127.0.0.1:{on.port}"
        assert (on.preview["status"], on.port in on.ports) == ("", True)
        async with connect(on.port) as client:
            client.send(b"abc" * 100_000)
            client.writer.write_eof()
            assert await rest(client) == b"cba" * 100_000


async def test_an_app_that_speaks_first_is_heard(tmp_path: Path) -> None:
    async def greet(connection: AppConnection) -> None:
        connection.send(b"* OK ready\r\n")
        await connection.read_exactly(1)

    async with stage(tmp_path, greet) as on, connect(on.port) as client:
        assert await client.read_until(b"\r\n") == b"* OK ready\r\n"


async def test_a_reader_that_does_not_read_slows_the_app(tmp_path: Path) -> None:
    size, written = 64_000_000, asyncio.Event()

    async def flood(connection: AppConnection) -> None:
        connection.writer.transport.set_write_buffer_limits(0)
        connection.send(bytes(size))
        await connection.writer.drain()
        written.set()

    async with stage(tmp_path, flood) as on:
        reader, writer = await asyncio.open_connection(HOST, on.port, limit=1024)
        await on.manager.served.wait()
        for _ in range(20):  # time enough to take it all, for somebody who would
            await on.cloud.ok("GET", "/environments/shop")
        await reader.readexactly(size // 2)
        assert not written.is_set(), "half of it is still the app's"
        await reader.readexactly(size - size // 2)
        await written.wait()
        writer.close()


async def test_a_service_that_refuses_resets_the_connection(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.manager.apps["db"] = RecordingApp(port=1)  # nothing listens there
        async with connect(on.port) as client:
            client.send(b"hello")
            with pytest.raises(ConnectionResetError):
                await rest(client)


async def test_a_removed_preview_closes_its_port_and_its_connections(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, connect(on.port) as client:
        client.send(b"x")
        await on.manager.served.wait()
        put = await on.cloud.ok("PUT", "/environments/shop", {"manifests": database("")})
        assert put["previews"] == []
        with pytest.raises(ConnectionResetError):
            await rest(client)
        with pytest.raises(ConnectionRefusedError):
            async with connect(on.port):
                """Nobody is there any more."""


async def test_a_deleted_environment_closes_its_ports(tmp_path: Path) -> None:
    async with stage(tmp_path) as on, connect(on.port) as client:
        client.send(b"x")
        await on.manager.served.wait()
        await on.cloud.ok("DELETE", "/environments/shop")
        with pytest.raises(ConnectionResetError):
            await rest(client)


async def test_a_full_range_is_refused_and_the_environment_stays_as_it_was(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, size=1) as on:
        answer = await on.cloud.api.put(
            "/api/v1/environments/shop", json={"manifests": database("5432,5433")}
        )
        assert answer.status_code == 409
        assert f"no port of {on.ports} is free" in answer.json()["error"]["detail"]
        body = {"service": "db", "port": 5433, "tcp": True}
        answer = await on.cloud.api.post("/api/v1/environments/shop/previews", json=body)
        assert answer.status_code == 409
        found = await on.cloud.ok("GET", "/environments/shop/previews")
        assert found["previews"] == [on.preview]


async def test_a_port_survives_a_restart_and_one_that_is_taken_says_so_until_it_is_free(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, size=3) as on:
        port, ports = on.port, on.ports
    with socket.create_server((HOST, port)):
        async with running_cloud(tmp_path, str(ports)) as cloud:
            (found,) = (await cloud.ok("GET", "/environments/shop/previews"))["previews"]
            assert found["url"] == f"tcp://127.0.0.1:{port}"
            assert "Address already in use" in found["status"]
    async with running_cloud(tmp_path, str(ports)) as cloud:
        (found,) = (await cloud.ok("GET", "/environments/shop/previews"))["previews"]
        assert (found["url"], found["status"]) == (f"tcp://127.0.0.1:{port}", "")
    async with running_cloud(tmp_path) as cloud:
        (found,) = (await cloud.ok("GET", "/environments/shop/previews"))["previews"]
        assert found["status"] == f"port {port} is not in tcp_previews"


async def test_a_port_that_was_taken_is_tried_again_with_the_next_change(tmp_path: Path) -> None:
    async with stage(tmp_path, size=3) as on:
        port, ports = on.port, on.ports
    taken = socket.create_server((HOST, port))
    async with running_cloud(tmp_path, str(ports)) as cloud:
        taken.close()
        made = await cloud.ok(
            "POST", "/environments/shop/previews", {"service": "db", "port": 5433, "tcp": True}
        )
        found = (await cloud.ok("GET", "/environments/shop/previews"))["previews"]
        assert [preview["status"] for preview in found] == ["", ""]
        assert made in found


async def test_while_its_cluster_is_away_a_connection_waits_and_is_then_reset(
    tmp_path: Path,
) -> None:
    ports = free_ports(2)
    async with running_cloud(tmp_path, str(ports)) as cloud:
        put = await cloud.ok("PUT", "/environments/shop", {"manifests": database()})
        async with connect(int(put["previews"][0]["url"].rpartition(":")[2])) as client:
            client.send(b"hello")
            with pytest.raises(ConnectionResetError):
                await rest(client)


# Over a tunnel at hand


async def test_each_connection_is_one_line_in_the_access_log(tmp_path: Path) -> None:
    lines: list[bytes] = []
    environment = Environment(
        EnvironmentId("e"), "shop", EnvironmentKind.SHARED, ClusterId("c"), "ns", None, 1
    )
    ports = free_ports(1)
    preview = PreviewUrl("5432-db-x", environment.id, "db", 5432, tcp_port=ports.first)
    access = AccessLog(lines.append, "cloud")
    async with tunnel_ends.connected(tmp_path) as ends, Tasks() as tasks:
        ends.watcher.serve = lambda stream: stream.accept(tunnel_ends.Recorder(echo=True))
        links = cast("ClusterLinks", Links(ends.acceptor.tunnel))
        previews = TcpPreviews(ports, tasks, access)
        route = TcpRoute.of(PreviewEntry.of(preview, environment), links)
        await previews.refresh({preview.label: route})
        async with connect(ports.first) as client:
            client.send(b"ping")
            assert await client.read_exactly(4) == b"ping"
            assert previews.connections == 1
            client.writer.write_eof()
            assert await client.read_rest() == b""
        ends.watcher.serve = lambda stream: stream.refuse(NotReady("no pod is ready"))
        async with connect(ports.first) as client:
            with pytest.raises(ConnectionResetError):
                await rest(client)
        overload = Overload(1, lambda: 1)
        overload.look()
        previews.admit = overload.admit
        async with connect(ports.first) as client:
            with pytest.raises(ConnectionResetError):
                await rest(client)
        await previews.drain()
        assert previews.connections == 0
        await previews.aclose()
    access.flush()
    first, second, third = [json.loads(text) for text in b"".join(lines).splitlines()]
    assert (first["method"], first["route"], first["environment"]) == ("STREAM", "db:5432", "shop")
    assert (first["bytes_in"], first["bytes_out"], "error" in first) == (4, 4, False)
    assert second["error"] == "not_ready"
    assert third["error"] == "overloaded"


class Links:
    """The one tunnel a test has at hand."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def elsewhere(self, cluster: object, tunnel: Tunnel) -> bool:
        return False

    async def wait_tunnel(self, cluster: ClusterId) -> Tunnel:
        return self._tunnel
