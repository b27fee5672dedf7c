"""The sidecar's composition root: what it is made of, the order it starts and stops in."""

from __future__ import annotations

import asyncio
import importlib
import secrets
import signal
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from lapdev.cluster.driver import SidecarLaunch
from lapdev.log import AccessLog, get_logger, stderr_write
from lapdev.model import RoleName
from lapdev.net.admin import AdminServer, Metric
from lapdev.net.process import notify_ready
from lapdev.net.tasks import Tasks
from lapdev.settings import SidecarSettings
from lapdev.sidecar.counters import Counters, Gauges, exposed
from lapdev.sidecar.feed import RouteFeed, Routes
from lapdev.sidecar.inbound import ServedPort
from lapdev.sidecar.laptops import LaptopOptions, Laptops
from lapdev.sidecar.launch import read_launch
from lapdev.sidecar.requests import Shared

if TYPE_CHECKING:
    from lapdev.tunnel import Uplink

FEED_PATH = "/_lapdev/tunnel/pod"


async def run(settings: SidecarSettings) -> None:
    """Serves until SIGTERM or SIGINT, then lets open exchanges finish.

    Raises:
        ConfigError: the launch document is wrong, or a port cannot be listened on.
    """
    launch = read_launch(settings.launch_fd)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Sidecar(launch, settings.admin or launch.admin) as sidecar:
        notify_ready(settings.ready_fd)
        await stop.wait()
        await sidecar.drain()


class Sidecar:
    """A running sidecar. Entering the `async with` block serves; leaving it leaves nothing open."""

    def __init__(self, launch: SidecarLaunch, admin: str) -> None:
        self.launch = launch
        self.instance = secrets.token_hex(16)
        self.routes = Routes()
        self.feed = RouteFeed(self.routes)
        self.counters = Counters()
        self.access = AccessLog(stderr_write, "sidecar")
        self.tasks = Tasks()
        self.laptops = Laptops(LaptopOptions(self.instance, self.launch.ca_file))
        self.routes.follow(self.laptops.apply)
        shared = Shared(launch.identity, self.routes, self.counters, self.access, self.tasks)
        self.ports = [
            ServedPort(port, launch.app_host, shared, self.laptops) for port in launch.ports
        ]
        self.admin = AdminServer(admin, self._metrics, self._ready)
        self.addresses: list[str] = []
        """Where the ports are served, in the order of the launch document."""
        self._serving = False
        self._uplink: Uplink | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Sidecar:
        async with AsyncExitStack() as stack:
            stack.callback(self.access.flush)
            stack.push_async_callback(self.tasks.aclose)
            stack.push_async_callback(self.laptops.aclose)
            for port in self.ports:
                stack.push_async_callback(port.aclose)
                self.addresses.append(await port.start(self.launch.bind_host))
            stack.push_async_callback(self.admin.aclose)
            await self.admin.start()
            # Last: the app is reachable before the manager is looked for.
            self.tasks.spawn(self._follow_manager(), "route feed")
            self._stack = stack.pop_all()
        self._serving = True
        identity = self.launch.identity
        get_logger().info(
            "sidecar_started",
            environment=identity.environment_name,
            workload=identity.workload,
            identity=identity.pod,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._serving = False
        await self._stack.aclose()

    async def drain(self) -> None:
        """Not ready, nothing new accepted, and every connection over or cut."""
        self._serving = False
        for port in self.ports:
            await port.stop_accepting()
        async with asyncio.TaskGroup() as group:
            for port in self.ports:
                group.create_task(port.aclose(), name="port drains")

    async def _follow_manager(self) -> None:
        if "lapdev.tunnel" not in sys.modules:
            # In a thread: importing takes longer than answering the first request may.
            await asyncio.to_thread(importlib.import_module, "lapdev.tunnel")
        from lapdev.tunnel import Uplink, UplinkOptions

        manager = self.launch.manager
        if "://" not in manager and not manager.startswith("unix:"):
            manager = f"http://{manager}"
        options = UplinkOptions(
            address=manager,
            path=FEED_PATH,
            token=self.launch.token,
            role="sidecar",
            instance=self.instance,
            peer_role=RoleName.MANAGER,
        )
        self._uplink = Uplink(options, self.feed)
        await self._uplink.run()

    def _ready(self) -> tuple[bool, str]:
        return (True, "") if self._serving else (False, "stopping")

    def _metrics(self) -> list[Metric]:
        open_connections = sum(port.open_connections for port in self.ports)
        now = Gauges(open_connections, self.routes.generation, self.feed.up)
        metrics = exposed(self.counters, now)
        if self._uplink is not None:
            from lapdev.tunnel import tunnel_metrics

            ends = {"manager": [self._uplink], "cloud": self.laptops.uplinks}
            metrics += tunnel_metrics(ends)
        return metrics
