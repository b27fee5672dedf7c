"""The world under test: a cloud, managers that dial it over links of their own, apps in pods.

Two tenants are two clusters of one cloud: faults hit the link of the first, the second must feel
nothing. Everything is a real process; nothing is shared with the rig but files and sockets.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.faults import application, network
from tests.faults.checker import Probe
from tests.faults.client import Doors
from tests.faults.processes import Role
from tests.support.memory_group import MemoryGroup, memory_group
from tests.support.needs import PROJECT
from tests.support.packet_path import PacketPath

PORT = 8080
TCP_PREVIEWS = "127.0.0.1:20000-20019"
LINK_PORT, RELAY_PORT = 8081, 8090
"""Where the link that faults hit reaches the cloud: packets of it are known by that."""
SETTLE_TIMEOUT = 60.0


@dataclass(slots=True)
class Tenant:
    """One cluster with its manager and one environment."""

    name: str
    folder: Path
    manager: Role | None
    """None: the application is on a laptop."""
    doors: Doors | None = None

    @property
    def journal(self) -> Path:
        return self.folder / f"{self.name}.journal"

    def executed(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []


@dataclass(slots=True)
class World:
    folder: Path
    cloud: Role
    tenants: dict[str, Tenant] = field(default_factory=dict)
    more: list[Role] = field(default_factory=list)
    """Others that take part in a fault."""
    cluster_ids: dict[str, str] = field(default_factory=dict)
    """By their names: what managers are called in the cloud's log."""
    dialling: list[int] = field(default_factory=list)
    """Processes that hold the link that is hit, beside the manager."""
    cloud_memory: MemoryGroup | None = None
    """What the cloud has to live within."""
    link_up: Callable[[], Any] = None  # type: ignore[assignment]
    """Whether the link that is hit stands: asked of the manager, if nothing else is said."""
    _api: httpx.AsyncClient | None = None

    def __post_init__(self) -> None:
        self.link_up = self._manager_is_up

    async def _manager_is_up(self) -> bool:
        return (await self.manager.metrics())["lapdev_uplink_up"] == 1

    @property
    def diallers(self) -> list[int]:
        """Process ids of those that dialled the link that is hit."""
        manager = self.main.manager
        return [*self.dialling, *([manager.pid] if manager else [])]

    @property
    def main(self) -> Tenant:
        return self.tenants["main"]

    @property
    def manager(self) -> Role:
        assert self.main.manager is not None
        return self.main.manager

    @property
    def roles(self) -> list[Role]:
        managers = [each.manager for each in self.tenants.values() if each.manager is not None]
        return [self.cloud, *managers, *self.more]

    @property
    def token(self) -> str:
        return (self.folder / "token").read_text().strip()

    def cluster_token(self, cluster: str) -> str:
        return (self.folder / f"{cluster}.cluster").read_text().strip()

    def secrets(self) -> tuple[str, ...]:
        files = [self.folder / "token", *(self.folder / f"{name}.cluster" for name in self.tenants)]
        return tuple(path.read_text().strip() for path in files if path.exists())

    async def api(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an API call that must succeed."""
        if self._api is None:
            headers = {"authorization": f"Bearer {self.token}"}
            base = f"http://127.0.0.1:{PORT}/api/v1"
            self._api = httpx.AsyncClient(base_url=base, headers=headers, timeout=30)
        answer = await self._api.request(method, path, json=body)
        if not answer.is_success:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    async def wait(
        self, condition: Callable[[], Any], what: str, timeout: float = SETTLE_TIMEOUT
    ) -> float:
        """Seconds until the condition held; it is looked at twenty times a second."""
        begun = time.monotonic()
        while time.monotonic() < begun + timeout:
            try:
                if await condition():
                    return time.monotonic() - begun
            except (httpx.HTTPError, RuntimeError, OSError):
                pass  # not yet
            await asyncio.sleep(0.05)
        raise TimeoutError(f"not within {timeout:g} s: {what}")

    async def wait_connected(self, tenant: str = "main", timeout: float = SETTLE_TIMEOUT) -> float:
        """Seconds until the tenant's manager holds its tunnel."""
        manager = self.tenants[tenant].manager
        assert manager is not None
        return await self.wait(manager.ready, f"the manager of {tenant} is connected", timeout)

    async def wait_serving(self, tenant: str = "main", timeout: float = SETTLE_TIMEOUT) -> float:
        """Seconds until a request to the tenant's application is answered by it."""
        return await self.wait(lambda: self.serves(tenant), f"{tenant} is served", timeout)

    async def serves(self, tenant: str = "main") -> bool:
        doors = self.tenants[tenant].doors
        assert doors is not None
        url = f"http://{doors.address[0]}:{doors.address[1]}/small?name=look&bytes=1"
        async with httpx.AsyncClient(timeout=5) as client:
            return (await client.get(url, headers={"host": doors.http})).status_code == 200

    async def look(self) -> dict[str, Probe]:
        return {role.name: await role.look() for role in self.roles if role.answers}

    async def aclose(self) -> None:
        if self._api is not None:
            await self._api.aclose()
        for role in reversed(self.roles):
            await role.end()


def cloud_role(folder: Path, cluster: str, address: str = "127.0.0.1") -> Role:
    flags = [
        "--role",
        "cloud",
        f"--listen=127.0.0.1:{PORT}",
        f"--internal-listen={address}:{LINK_PORT}",
        f"--tcp-previews={TCP_PREVIEWS}",
    ]
    flags += [
        f"--data-dir={folder}/cloud",
        f"--cluster-name={cluster}",
        f"--admin=unix:{folder}/cloud.admin",
    ]
    flags += [
        f"--cluster-token-file={folder}/{cluster}.cluster",
        f"--bootstrap-token-file={folder}/token",
    ]
    flags += [f"--public-url=http://{address}:{PORT}"]
    return Role("cloud", folder, flags, f"{folder}/cloud.admin")


def manager_role(folder: Path, tenant: str, port: int, name: str = "", links: int = 0) -> Role:
    """A manager of the tenant's cluster; `links` of 0: as many as it likes."""
    name = name or f"manager-{tenant}"
    flags = ["--role", "manager", "--no-isolation", f"--cloud=http://127.0.0.1:{port}"]
    flags += [
        f"--token-file={folder}/{tenant}.cluster",
        f"--runtime-dir={folder}/{name}",
        f"--admin=unix:{folder}/{name}.admin",
    ]
    flags += [f"--tunnel-links={links}"] if links else []
    return Role(name, folder, flags, f"{folder}/{name}.admin")


def manifests(journal: Path) -> list[dict[str, Any]]:
    """The recording application behind one Service with three ports."""
    ports = {
        "http": application.HTTP_PORT,
        "websocket": application.WEBSOCKET_PORT,
        "tcp": application.TCP_PORT,
    }
    environ = {"JOURNAL": str(journal), "PYTHONPATH": str(PROJECT)}
    container = {
        "name": "app",
        "image": "example/recording",
        "command": [sys.executable, "-P", "-m", "tests.faults.application"],
        "env": [{"name": name, "value": value} for name, value in environ.items()],
        "ports": [{"containerPort": port} for port in ports.values()],
    }
    spec = {"terminationGracePeriodSeconds": 2, "containers": [container]}
    template = {"metadata": {"labels": {"app": "app"}}, "spec": spec}
    deployment = {"selector": {"matchLabels": {"app": "app"}}, "template": template}
    service_ports = [{"name": name, "port": port} for name, port in ports.items()]
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "app"},
            "spec": deployment,
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "app"},
            "spec": {"selector": {"app": "app"}, "ports": service_ports},
        },
    ]


async def _furnish(world: World, tenant: Tenant) -> None:
    """The tenant's environment is ready and has its previews."""
    name = f"env-{tenant.name}"
    body = {"kind": "shared", "cluster": tenant.name, "manifests": manifests(tenant.journal)}
    await world.api("PUT", f"/environments/{name}", body)

    async def is_ready() -> bool:
        return bool((await world.api("GET", f"/environments/{name}"))["status"] == "ready")

    await world.wait(is_ready, f"{name} is ready")
    made = {}
    for port, tcp in (
        (application.HTTP_PORT, False),
        (application.WEBSOCKET_PORT, False),
        (application.TCP_PORT, True),
    ):
        wish = {"service": "app", "port": port, "tcp": tcp}
        made[port] = urlsplit(
            (await world.api("POST", f"/environments/{name}/previews", wish))["url"]
        )
    raw = made[application.TCP_PORT]
    tenant.doors = Doors(
        ("127.0.0.1", PORT),
        made[application.HTTP_PORT].netloc,
        made[application.WEBSOCKET_PORT].netloc,
        (str(raw.hostname), int(raw.port or 0)),
    )


@asynccontextmanager
async def world(
    *,
    tenants: tuple[str, ...] = ("main", "healthy"),
    clusters: tuple[str, ...] = (),
    relayed: bool = False,
    links: int = 0,
    path: PacketPath | None = None,
    cloud_memory: int = 0,
) -> AsyncIterator[World]:
    """Everything stands and is ready.

    `clusters` are known to the cloud, beside those of the tenants; `relayed`: the first tenant's
    link goes to RELAY_PORT; `path`: we are at its far end, the first tenant at its near one.
    """
    network.bring_up()
    with (
        tempfile.TemporaryDirectory(prefix="ldf-", dir="/tmp") as name,
        memory_group(cloud_memory) if cloud_memory else nullcontext() as group,
    ):
        folder = Path(name)
        made = World(folder, cloud_role(folder, tenants[0]), cloud_memory=group)
        try:
            # A cloud makes one cluster, of the name it is given: the second comes with a restart.
            for tenant in reversed((*tenants, *clusters)):
                if made.cloud.process is not None:
                    await made.cloud.stop()
                made.cloud = cloud_role(folder, tenant, path.far.address if path else "127.0.0.1")
                made.cloud.memory = group
                await made.cloud.start()
            for tenant in tenants:
                first = tenant == "main"
                port = PORT if not first else RELAY_PORT if relayed else LINK_PORT
                manager = manager_role(folder, tenant, port, links=links if first else 0)
                if path is not None and first:
                    manager.place = path.near
                    manager.flags.append(f"--cloud=http://{path.far.address}:{LINK_PORT}")
                made.tenants[tenant] = Tenant(tenant, folder, manager)
                await manager.start()
            for each in made.tenants.values():
                await _furnish(made, each)
            listed = (await made.api("GET", "/clusters"))["clusters"]
            made.cluster_ids = {each["name"]: each["id"] for each in listed}
            made.cloud.away.clear()
            yield made
        finally:
            await made.aclose()
