"""From a namespace's plan to the route snapshots of its sidecars. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from hashlib import sha256

from lapdev.manager.plan import BranchService, NamespacePlan, Place
from lapdev.model import BranchRoute, EnvironmentId, InterceptRoute, RouteSnapshot


def route_snapshots(
    plan: NamespacePlan, service_host: Callable[[str], str], floor: int = 0
) -> dict[Place, RouteSnapshot]:
    """What each sidecar of the namespace should hold.

    Args:
        service_host: name of a branch Service → the host other pods dial.
        floor: the newest generation this namespace ever had; with a deleted branch its own goes.
    """
    generation = max(plan.generation, floor)
    found = {}
    for place in plan.places:
        branches: tuple[BranchRoute, ...] = ()
        intercepts: tuple[InterceptRoute, ...] = ()
        if place.environment == plan.base.id:
            # Requests meet the base's sidecar first. A branch's own sidecar diverts nothing.
            rows = plan.branch_services.get(place.workload, [])
            branches = _branch_routes(rows, service_host)
            intercepts = tuple(plan.intercepts.get(place.workload, ()))
        found[place] = RouteSnapshot(
            environment=place.environment,
            environment_name=plan.names[place.environment],
            workload=place.workload,
            generation=generation,
            digest=rows_digest(branches, intercepts),
            branches=branches,
            intercepts=intercepts,
        )
    return found


def rows_digest(branches: Iterable[BranchRoute], intercepts: Iterable[InterceptRoute]) -> str:
    """SHA-256 over the canonical JSON of the rows: equal exactly when the rows are."""
    rows = [
        [dataclasses.asdict(row) for row in branches],
        [dataclasses.asdict(row) for row in intercepts],
    ]
    return sha256(json.dumps(rows, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _branch_routes(
    rows: Iterable[BranchService], service_host: Callable[[str], str]
) -> tuple[BranchRoute, ...]:
    """One route per branch, over all its Services of the workload."""
    routes: dict[EnvironmentId, BranchRoute] = {}
    for row in sorted(rows, key=lambda row: row.branch):
        route = routes.setdefault(row.branch, BranchRoute(row.branch, row.branch_name, {}))
        host = service_host(row.service)
        shown = f"[{host}]" if ":" in host else host
        for port in row.ports:
            route.ports[f"{row.base_service}:{port}"] = f"{shown}:{port}"
    return tuple(routes.values())
