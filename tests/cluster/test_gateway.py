"""What pods find at their gateway."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from lapdev.cluster.gateway import Gateway
from lapdev.cluster.name_server import Answer
from lapdev.cluster.options import EdgeDoor, LocalOptions
from lapdev.cluster.subnets import ISOLATED_RANGE, AddressPlan
from lapdev.errors import ClusterError
from tests.cluster.sandboxes import ground, run, sh
from tests.support.in_outer import in_outer


def options(folder: Path) -> LocalOptions:
    edge = EdgeDoor("Lapdev.localhost", 8080, f"unix:{folder}/edge.sock")
    return LocalOptions(folder, "unix:/m", edge=edge)


def resolve(name: str) -> Answer | None:
    return Answer(("198.18.2.1",)) if name == "api.shop.svc.cluster.local" else None


def test_preview_urls_lead_to_the_gateway_and_nothing_else_does(tmp_path: Path) -> None:
    gateway = Gateway(options(tmp_path), AddressPlan(ISOLATED_RANGE).take(), "env0", resolve)
    here = Answer(("198.18.0.1",))
    assert gateway.resolve("shop-api.lapdev.localhost") == here
    assert gateway.resolve("api.shop.svc.cluster.local") == Answer(("198.18.2.1",))
    for name in ("lapdev.localhost", "notlapdev.localhost", "lapdev.localhost.example"):
        assert gateway.resolve(name) is None
    without = LocalOptions(tmp_path, "unix:/m")
    gateway = Gateway(without, AddressPlan(ISOLATED_RANGE).take(), "env0", resolve)
    assert gateway.resolve("shop-api.lapdev.localhost") is None


GET = """
import urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open("http://shop-api.lapdev.localhost:8080/x", timeout=5).read().decode())
"""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    host = next(line for line in head.splitlines() if line.startswith("Host: "))
    writer.write(f"HTTP/1.0 200 OK\r\n\r\n{head.split()[1]} {host}".encode())
    writer.close()
    await writer.wait_closed()


@in_outer
async def test_a_pod_reaches_a_preview_url_while_the_gateway_is_open(folder: Path) -> None:
    edge = await asyncio.start_unix_server(answer, folder / "edge.sock")
    async with ground(folder) as place:
        gateway = Gateway(options(folder), place.subnet, place.bridge, resolve)
        await gateway.open()
        pod = place.make()
        await pod.start()
        assert await sh(pod, "getent hosts api") == "198.18.2.1      api.shop.svc.cluster.local\n"
        status, printed = await run(pod, sys.executable, "-S", "-c", GET)
        assert (status, printed) == (0, "/x Host: shop-api.lapdev.localhost:8080\n")
        many = f"for n in $(seq 8); do {sys.executable} -S -c '{GET}' & done; wait"
        assert (await sh(pod, many)).count("/x Host: ") == 8
        edge.close()
        await edge.wait_closed()
        status, printed = await run(pod, sys.executable, "-S", "-c", GET)
        assert "Connection reset" in printed
        await gateway.aclose()
        await gateway.aclose()
        status, printed = await run(pod, sys.executable, "-S", "-c", GET)
        assert "Name or service not known" in printed or "name resolution" in printed
        await pod.kill()


@in_outer
async def test_a_gateway_that_cannot_open_leaves_nothing_open(folder: Path) -> None:
    async with ground(folder) as place:
        taken = Gateway(options(folder), place.subnet, place.bridge, resolve)
        await taken.open()
        with pytest.raises(ClusterError, match="pods cannot resolve names"):
            await Gateway(options(folder), place.subnet, place.bridge, resolve).open()
        await taken.aclose()
        again = Gateway(options(folder), place.subnet, place.bridge, resolve)
        await again.open()
        await again.aclose()
