"""The route table: one workload's snapshot, indexed so that a decision costs a look-up.

Every answer `decide` can give is made here, once per snapshot: per service port for requests
without a branch, per (branch, port) for branches that have a row, and per port for all other
branches. Nothing here knows a protocol or a connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from lapdev.model import BranchRoute, EnvironmentId, InterceptId, InterceptRoute, RouteSnapshot


@dataclass(frozen=True, slots=True)
class LaptopCandidate:
    """A developer's machine, reached through the intercept's own tunnel."""

    intercept: InterceptId
    token: str = field(repr=False)
    cloud: str
    port: int
    """The service port: the far end maps it to a local one."""
    branch: EnvironmentId | None = None
    """The branch it is on; None: the environment the sidecar runs in."""


@dataclass(frozen=True, slots=True)
class BranchCandidate:
    """A branch's own version of the workload."""

    branch: EnvironmentId
    name: str
    address: str
    """`host:port` to dial."""


@dataclass(frozen=True, slots=True)
class AppCandidate:
    """The app beside this sidecar."""


Candidate = LaptopCandidate | BranchCandidate | AppCandidate


@dataclass(frozen=True, slots=True)
class Decision:
    """Who may answer, in the order to try; the app is always the last."""

    candidates: tuple[Candidate, ...]
    reason: str
    """Why the first candidate is the first: the word for the answer header."""


APP: Final = AppCandidate()
DIVERTED: Final = Decision((APP,), "diverted")
"""Another sidecar sent it here: nobody else may have it, or it would travel in circles."""
PLAIN: Final = Decision((APP,), "default")
UNKNOWN_BRANCH: Final = Decision((APP,), "not_in_branch")
"""No row for this branch: it did not change the workload, or it is gone. The base serves it."""
NO_ROUTES: Final = Decision((APP,), "no_routes")
"""No snapshot has come yet: the base serves every branch."""


@dataclass(slots=True)
class RouteTable:
    """All decisions of one snapshot. Replaced whole, never changed."""

    environment: str = ""
    plain: dict[str, Decision] = field(default_factory=dict)
    """`service:port` → decision for requests without a branch."""
    branches: dict[tuple[str, str], Decision] = field(default_factory=dict)
    others: dict[str, Decision] = field(default_factory=dict)
    """`service:port` → decision for branches without a row."""
    unknown: Decision = NO_ROUTES
    """For branches without a row, on all other ports."""

    @classmethod
    def from_snapshot(cls, snapshot: RouteSnapshot) -> RouteTable:
        """The table that decides as the snapshot says."""
        laptops = _laptops(snapshot.intercepts)
        wide = _laptops(i for i in snapshot.intercepts if i.include_branches and i.branch is None)
        return cls(
            environment=snapshot.environment,
            plain={
                port: Decision((*found, APP), "intercept")
                for (branch, port), found in laptops.items()
                if branch is None
            },
            branches=_branch_decisions(snapshot.branches, laptops, wide),
            unknown=UNKNOWN_BRANCH,
            others={
                port: Decision((*found, APP), "intercept") for (_, port), found in wide.items()
            },
        )


_Laptops = dict[tuple[EnvironmentId | None, str], list[LaptopCandidate]]
"""(branch, `service:port`) → the intercepts there, in the snapshot's order. None is the base."""


def _laptops(routes: Iterable[InterceptRoute]) -> _Laptops:
    found: _Laptops = {}
    for route in routes:
        for port in route.ports:
            candidate = LaptopCandidate(
                route.intercept, route.token, route.cloud, port, route.branch
            )
            found.setdefault((route.branch, f"{route.service}:{port}"), []).append(candidate)
    return found


def _branch_decisions(
    rows: Iterable[BranchRoute], laptops: _Laptops, wide: _Laptops
) -> dict[tuple[str, str], Decision]:
    """Per branch and port: its intercepts, its service, the base's wide intercepts, the app."""
    found: dict[tuple[EnvironmentId, str], list[Candidate]] = {
        (branch, port): [*candidates]
        for (branch, port), candidates in laptops.items()
        if branch is not None
    }
    for row in rows:
        for port, address in row.ports.items():
            service = BranchCandidate(row.branch, row.name, address)
            found.setdefault((row.branch, port), []).append(service)
    return {
        (branch, port): Decision(
            (*first, *wide.get((None, port), ()), APP),
            "branch" if isinstance(first[0], BranchCandidate) else "intercept",
        )
        for (branch, port), first in found.items()
    }
