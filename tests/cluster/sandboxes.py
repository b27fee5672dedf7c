"""Isolated sandboxes without the driver around them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lapdev.cluster.cgroups import Limits
from lapdev.cluster.network import Network
from lapdev.cluster.sandbox import IsolatedSandbox, Place, Program
from lapdev.cluster.spawner import Child, Spawner
from lapdev.cluster.subnets import ISOLATED_RANGE, AddressPlan, Subnet

PATH = {"PATH": os.defpath}


@dataclass
class Ground:
    """One namespace of pods: what makes sandboxes in it."""

    spawner: Spawner
    network: Network
    subnet: Subnet
    bridge: str
    folder: Path
    limits: Limits | None = None

    def make(self, name: str = "web-x", **more: Any) -> IsolatedSandbox:
        ip = self.subnet.pods.take()
        folder = self.folder / "pods" / name
        place = Place(name, "shop", ip, self.subnet, self.bridge, folder, **more)
        return IsolatedSandbox(self.spawner, self.network, place, self.limits)


@asynccontextmanager
async def ground(folder: Path) -> AsyncIterator[Ground]:
    spawner = Spawner(sys.executable, isolation=True)
    network = Network()
    await spawner.start()
    await network.start()
    subnet = AddressPlan(ISOLATED_RANGE).take()
    try:
        bridge = await network.add_namespace(subnet)
        yield Ground(spawner, network, subnet, bridge, folder)
        await network.remove_namespace(subnet)
    finally:
        await network.aclose()
        await spawner.aclose()


@asynccontextmanager
async def sandbox(folder: Path, **more: Any) -> AsyncIterator[IsolatedSandbox]:
    """One that has started, and its end."""
    async with ground(folder) as place:
        made = place.make(**more)
        await made.start()
        try:
            yield made
        finally:
            await made.kill()


async def run(
    where: IsolatedSandbox, *command: str, beside: Child | None = None, **more: Any
) -> tuple[int, str]:
    """Exit status and output of a program in the sandbox."""
    read_end, write_end = os.pipe()
    program = Program([*command], PATH, more.pop("cwd", "/"), write_end, **more)
    try:
        child = await where.spawn(program, beside=beside)
    finally:
        os.close(write_end)
    with os.fdopen(read_end) as reader:
        printed = await asyncio.to_thread(reader.read)
    return await child.wait(), printed


async def sh(where: IsolatedSandbox, script: str, **more: Any) -> str:
    """What a shell script in the sandbox prints; it has to end well."""
    status, printed = await run(where, "/bin/sh", "-euc", script, **more)
    assert status == 0, printed
    return printed
