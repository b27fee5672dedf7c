"""A sidecar in the test's own loop, and snapshots in one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lapdev.cluster.driver import SidecarLaunch
from lapdev.model import (
    BranchRoute,
    EnvironmentId,
    InterceptRoute,
    Protocol,
    RouteSnapshot,
    SidecarIdentity,
    SidecarPort,
)
from lapdev.sidecar.app import Sidecar

BASE = EnvironmentId("base000000000000")
ONE = EnvironmentId("one0000000000000")
TWO = EnvironmentId("two0000000000000")
NO_MANAGER = "unix:/nonexistent/manager.sock"
SERVICE_PORT = 80
SERVICE = f"api:{SERVICE_PORT}"

IDENTITY = SidecarIdentity("ns", BASE, "staging", "api", "api-0")


def launch(
    app_port: int,
    protocol: Protocol = Protocol.HTTP,
    identity: SidecarIdentity = IDENTITY,
    manager: str = NO_MANAGER,
) -> SidecarLaunch:
    """A launch document for one service port on loopback, on whatever proxy port is free."""
    port = SidecarPort(0, SERVICE_PORT, app_port, "api", protocol)
    return SidecarLaunch(
        identity, (port,), manager, "pod-token", bind_host="127.0.0.1", admin="127.0.0.1:0"
    )


def snapshot(*rows: BranchRoute | InterceptRoute, generation: int = 1) -> RouteSnapshot:
    """The routes of one workload of the base."""
    return RouteSnapshot(
        BASE,
        "staging",
        "api",
        generation,
        f"digest {generation}",
        tuple(row for row in rows if isinstance(row, BranchRoute)),
        tuple(row for row in rows if isinstance(row, InterceptRoute)),
    )


def branch(identity: EnvironmentId, name: str, address: str) -> BranchRoute:
    """A branch whose version of the service port is at `address`."""
    return BranchRoute(identity, name, {SERVICE: address})


@asynccontextmanager
async def running(document: SidecarLaunch, *rows: BranchRoute) -> AsyncIterator[Sidecar]:
    """A sidecar that serves, with `rows` in force when there are any."""
    async with Sidecar(document, document.admin) as sidecar:
        if rows:
            sidecar.routes.apply(snapshot(*rows))
        yield sidecar
