"""Pods without isolation share the machine's ports: whose is which."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lapdev.cluster.machine_ports import SERVICE, STRANGER, MachinePorts
from lapdev.cluster.open_sandbox import OpenSandbox
from lapdev.cluster.sandbox import Place, Program
from lapdev.cluster.spawner import Child, Spawner
from lapdev.cluster.subnets import LOOPBACK_RANGE, AddressPlan
from tests.cluster.contract import deployment, spec
from tests.cluster.local_world import local_world
from tests.cluster.sandboxes import PATH

# Prints the port, which the kernel chose where it is 0; IPv6 sockets take IPv4 as well.
LISTEN = """
import os, signal, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
kept = socket.create_server(
    (sys.argv[1], int(sys.argv[2])), family=family, dualstack_ipv6=family == socket.AF_INET6)
if sys.argv[3:] and os.fork():
    kept.close()
else:
    print(kept.getsockname()[1], flush=True)
signal.pause()
"""


@dataclass
class Machine:
    web: OpenSandbox
    db: OpenSandbox


@asynccontextmanager
async def machine(folder: Path) -> AsyncIterator[Machine]:
    """Two pods of it."""
    spawner, ports = Spawner(sys.executable, isolation=False), MachinePorts()
    await spawner.start()
    subnet = AddressPlan(LOOPBACK_RANGE, first=os.getpid()).take()
    pods = [
        OpenSandbox(spawner, Place(name, "shop", subnet.pods.take(), subnet, "", folder), ports)
        for name in ("web-x", "db-x")
    ]
    try:
        yield Machine(*pods)
    finally:
        for pod in pods:
            await pod.kill()
        ports.close()
        await spawner.aclose()


async def listener(pod: OpenSandbox, *words: str) -> tuple[Child, int]:
    """The process, and the port it listens on."""
    read_end, write_end = os.pipe()
    command = [sys.executable, "-S", "-c", LISTEN, *words]
    child = await pod.spawn(Program(command, PATH, "/", write_end, container="app"))
    os.close(write_end)
    with os.fdopen(read_end) as reader:
        return child, int(await asyncio.to_thread(reader.readline))


async def test_each_pod_has_the_ports_of_its_own_address(tmp_path: Path) -> None:
    async with machine(tmp_path) as here:
        for pod in (here.web, here.db):
            child, port = await listener(pod, pod.place.ip, "0")
            assert pod.listening_ports() == {port}
            assert pod.port_owners() == {port: {child.pid}}


async def test_what_listens_everywhere_is_its_own_pods_only(tmp_path: Path) -> None:
    async with machine(tmp_path) as here:
        assert here.web.listening_ports() == frozenset()  # others' sockets are known by now
        web, four = await listener(here.web, "0.0.0.0", "0")
        _, six = await listener(here.web, "::", "0", "in a child process")
        assert here.web.listening_ports() == {four, six}
        assert here.web.port_owners()[four] == {web.pid}
        assert here.db.listening_ports() == frozenset()
        for port in (four, six):
            socket.create_connection((here.web.place.ip, port)).close()
        told = here.db.why_not_listening(four)
        assert told.startswith(
            f"does not listen on port {four} yet, which container app of pod web-x has"
        )
        assert {four, six} <= here.db.strange_ports()["container app of pod web-x"]


async def test_an_app_on_localhost_is_told_where_to_listen(tmp_path: Path) -> None:
    async with machine(tmp_path) as here:
        web, port = await listener(here.web, "127.0.0.1", "0")
        assert here.web.listening_ports() == frozenset()
        assert here.web.why_not_listening(port) == (
            f"listens on 127.0.0.1:{port} only: without isolation an app has to listen on $POD_IP"
            " or 0.0.0.0"
        )
        assert here.web.port_owners() == {port: {web.pid}}
        assert here.db.why_not_listening(port) == f"does not listen on port {port} yet"


async def test_strangers_ports_are_not_the_pods(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", LISTEN, "127.64.0.15", "0"]
    async with machine(tmp_path) as here:
        with socket.create_server(("", 0)) as own:
            other = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, start_new_session=True
            )
            assert other.stdout is not None
            port = int(await other.stdout.readline())
            strange = here.web.strange_ports()
            assert own.getsockname()[1] in strange[SERVICE]
            assert port in strange[STRANGER]
            assert here.web.listening_ports() == frozenset()
            other.kill()
            await other.wait()


def http_server(port: int, *more: str) -> dict[str, Any]:
    """An app as people have it: it knows nothing of lapdev."""
    web = deployment("web")
    (container,) = web["spec"]["template"]["spec"]["containers"]
    container["command"] = [sys.executable, "-m", "http.server", str(port), *more]
    container["ports"] = [{"containerPort": port}]
    return web


def free_port() -> int:
    with socket.create_server(("", 0)) as probe:
        return int(probe.getsockname()[1])


async def test_an_ordinary_app_becomes_ready_and_a_second_one_is_told_who_has_the_port(
    tmp_path: Path,
) -> None:
    async with local_world(tmp_path, isolation=False) as (driver, world):
        assert "localhost" in driver.detail
        port = free_port()
        await driver.apply(spec(http_server(port)))
        await world.wait_ready()
        (pod,) = driver.pods("shop")
        _, writer = await asyncio.open_connection(pod.ip, port)
        writer.close()
        await driver.apply(dataclasses.replace(spec(http_server(port)), name="other"))
        told = f"port {port} is taken by container web of pod {pod.name} (without isolation"
        await world.wait(lambda: told in driver.status("other")[0].detail)
