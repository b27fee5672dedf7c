"""What stands in for kube-proxy."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lapdev.cluster.service_proxy import Front, ServiceProxy
from lapdev.errors import ClusterError
from tests.cluster.clients import client, wait_ready_or_say_why
from tests.cluster.contract import deployment, spec
from tests.cluster.local_world import local_world
from tests.support.in_outer import in_outer


@in_outer
async def test_a_service_takes_its_ready_pods_in_turn(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        api = deployment("api", replicas=2)
        env = api["spec"]["template"]["spec"]["containers"][0]["env"]
        env[1] = {"name": "ANSWER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        await driver.apply(spec(api))
        await world.wait_ready()
        names = {pod.name for pod in driver.pods("shop")}
        script = f"assert sorted([get('api'), get('api')]) == {sorted(names)!r}"
        await driver.apply(spec(api, client("web", script)))
        await wait_ready_or_say_why(world)


@in_outer
async def test_a_service_without_ready_pods_refuses(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        script = """
            import socket
            started = time.monotonic()
            try:
                socket.create_connection(("api", 80), 5)
            except ConnectionRefusedError:
                assert time.monotonic() - started < 1
            else:
                raise SystemExit("accepted")
        """
        await driver.apply(spec(deployment("api", replicas=0), client("web", script)))
        await wait_ready_or_say_why(world)


HOST = "127.64.3.9"


class Backend:
    """A server that says its name, then echoes until the caller ends its direction."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.address = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield "{}:{}".format(*server.sockets[0].getsockname())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.name)
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write(b".")
        writer.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def proxied(*endpoints: str) -> AsyncIterator[tuple[ServiceProxy, list[str]]]:
    current = list(endpoints)
    proxy = ServiceProxy(Front(HOST, free_port(), "", lambda: tuple(current)))
    await proxy.update()
    try:
        yield proxy, current
    finally:
        await proxy.aclose()


async def ask(proxy: ServiceProxy, said: bytes = b"") -> bytes:
    """Everything that comes back after saying this and ending our direction."""
    reader, writer = await asyncio.open_connection(proxy.front.host, proxy.front.port)
    try:
        writer.write(said)
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_half_close_crosses_and_what_was_said_early_arrives() -> None:
    async with Backend("a").serving() as address, proxied(address) as (proxy, _):
        body = b"x" * 1_000_000
        assert await ask(proxy, body) == b"a" + body + b"."


async def test_endpoints_take_turns_and_a_dead_one_is_passed_over() -> None:
    dead = f"{HOST}:{free_port()}"
    async with (
        Backend("a").serving() as first,
        Backend("b").serving() as second,
        proxied(first, dead, second) as (proxy, _),
    ):
        answers = {await ask(proxy) for _ in range(6)}
    assert answers == {b"a.", b"b."}


async def test_nothing_listens_without_endpoints_and_again_with_them() -> None:
    async with Backend("a").serving() as address, proxied() as (proxy, current):
        with pytest.raises(ConnectionRefusedError):
            await ask(proxy)
        current.append(address)
        await proxy.update()
        assert await ask(proxy) == b"a."
        current.clear()
        await proxy.update()
        with pytest.raises(ConnectionRefusedError):
            await ask(proxy)


async def test_when_every_endpoint_is_dead_the_caller_is_reset() -> None:
    async with proxied(f"{HOST}:{free_port()}") as (proxy, _):
        with pytest.raises(ConnectionResetError):
            await ask(proxy, b"hello")


async def test_closing_cuts_what_is_relayed() -> None:
    async with Backend("a").serving() as address, proxied(address) as (proxy, _):
        reader, writer = await asyncio.open_connection(proxy.front.host, proxy.front.port)
        assert await reader.readexactly(1) == b"a"
        await proxy.aclose()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_taken_address_is_a_cluster_error() -> None:
    with socket.create_server((HOST, 0)) as taken:
        proxy = ServiceProxy(Front(HOST, taken.getsockname()[1], "", lambda: ("127.0.0.1:1",)))
        with pytest.raises(ClusterError, match=r"pods cannot dial .*: Address already in use"):
            await proxy.update()
        await proxy.aclose()


async def test_a_retired_proxy_refuses_callers_and_keeps_those_it_has() -> None:
    async with Backend("a").serving() as address, proxied(address) as (proxy, _):
        reader, writer = await asyncio.open_connection(proxy.front.host, proxy.front.port)
        assert await reader.readexactly(1) == b"a"
        await proxy.retire()
        assert proxy.busy
        with pytest.raises(ConnectionRefusedError):
            await ask(proxy)
        writer.write(b"still here")
        writer.write_eof()
        assert await reader.read() == b"still here."
        writer.close()
        await writer.wait_closed()
        assert not proxy.busy


async def test_an_app_that_listens_everywhere_answers_in_its_place() -> None:
    async with Backend("a").serving() as address:
        with socket.create_server(("", 0)) as app:
            front = Front(HOST, app.getsockname()[1], "", lambda: (address,))
            with pytest.raises(ClusterError, match="already in use") as caught:
                await ServiceProxy(front).update()
            assert "listen on $POD_IP" in caught.value.hint
