"""Tables of cases: who answers a request, in which order, and for what reason."""

from __future__ import annotations

import pytest

from lapdev.model import BranchRoute, EnvironmentId, InterceptId, InterceptRoute, RouteSnapshot
from lapdev.routing.decide import decide
from lapdev.routing.table import BranchCandidate, Candidate, LaptopCandidate, RouteTable

BASE = EnvironmentId("base000000000000")
ONE = EnvironmentId("one0000000000000")
TWO = EnvironmentId("two0000000000000")

SERVICE_ONE = BranchRoute(ONE, "one", {"web:80": "10.0.0.1:80"})
SERVICE_TWO = BranchRoute(TWO, "two", {"web:80": "10.0.0.2:80"})
ON_BASE = InterceptRoute(InterceptId("base"), None, "web", (80,), "t1", "unix:/c")
ON_BASE_WIDE = InterceptRoute(InterceptId("wide"), None, "web", (80,), "t2", "unix:/c", True)
ON_ONE = InterceptRoute(InterceptId("one"), ONE, "web", (80,), "t3", "unix:/c")


def spell(candidate: Candidate) -> str:
    match candidate:
        case LaptopCandidate():
            return f"laptop {candidate.intercept}"
        case BranchCandidate():
            return f"branch {candidate.name}"
        case _:
            return "app"


Rows = tuple[BranchRoute | InterceptRoute, ...]

CASES: list[tuple[str, Rows, str | None, bool, str, str, list[str]]] = [
    # what it shows, rows, branch, diverted, port, reason, candidates
    ("nothing known", (), None, False, "web:80", "default", ["app"]),
    ("branch without any rows", (), ONE, False, "web:80", "not_in_branch", ["app"]),
    ("another branch's row", (SERVICE_ONE,), TWO, False, "web:80", "not_in_branch", ["app"]),
    ("its own row", (SERVICE_ONE,), ONE, False, "web:80", "branch", ["branch one", "app"]),
    ("one of two", (SERVICE_ONE, SERVICE_TWO), TWO, False, "web:80",
     "branch", ["branch two", "app"]),
    ("no branch beside rows", (SERVICE_ONE,), None, False, "web:80", "default", ["app"]),
    ("a port the row lacks", (SERVICE_ONE,), ONE, False, "web:81", "not_in_branch", ["app"]),
    ("another service's port of that number", (SERVICE_ONE,), ONE, False, "admin:80",
     "not_in_branch", ["app"]),
    ("an intercept of another service", (ON_BASE,), None, False, "admin:80", "default", ["app"]),
    ("the pod's own environment", (SERVICE_ONE,), BASE, False, "web:80", "default", ["app"]),
    ("base intercept", (ON_BASE,), None, False, "web:80", "intercept", ["laptop base", "app"]),
    ("base intercept, own id", (ON_BASE,), BASE, False, "web:80",
     "intercept", ["laptop base", "app"]),
    ("base intercept, other port", (ON_BASE,), None, False, "web:81", "default", ["app"]),
    ("base intercept, branch", (ON_BASE, SERVICE_ONE), ONE, False, "web:80", "branch",
     ["branch one", "app"]),
    ("base intercept, unchanged branch", (ON_BASE,), ONE, False, "web:80",
     "not_in_branch", ["app"]),
    ("wide intercept, no branch", (ON_BASE_WIDE,), None, False, "web:80", "intercept",
     ["laptop wide", "app"]),
    ("wide intercept, unchanged branch", (ON_BASE_WIDE,), ONE, False, "web:80", "intercept",
     ["laptop wide", "app"]),
    ("wide intercept after the branch", (ON_BASE_WIDE, SERVICE_ONE), ONE, False, "web:80", "branch",
     ["branch one", "laptop wide", "app"]),
    ("branch intercept", (ON_ONE,), ONE, False, "web:80", "intercept", ["laptop one", "app"]),
    ("branch intercept, base request", (ON_ONE,), None, False, "web:80", "default", ["app"]),
    ("branch intercept, other branch", (ON_ONE,), TWO, False, "web:80", "not_in_branch", ["app"]),
    ("everything at once", (ON_BASE, ON_BASE_WIDE, SERVICE_ONE, ON_ONE), ONE, False, "web:80",
     "intercept", ["laptop one", "branch one", "laptop wide", "app"]),
    ("diverted with everything", (ON_BASE_WIDE, SERVICE_ONE, ON_ONE), ONE, True, "web:80",
     "diverted",
     ["app"]),
    ("diverted without a branch", (ON_BASE,), None, True, "web:80", "diverted", ["app"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "branch", "diverted", "port", "reason", "candidates"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_the_candidates_come_in_the_order_of_the_architecture(
    rows: Rows, branch: str | None, diverted: bool, port: str, reason: str, candidates: list[str]
) -> None:
    table = RouteTable.from_snapshot(
        RouteSnapshot(
            BASE,
            "staging",
            "api",
            7,
            "digest",
            tuple(row for row in rows if isinstance(row, BranchRoute)),
            tuple(row for row in rows if isinstance(row, InterceptRoute)),
        )
    )
    decision = decide(table, branch, diverted, port)
    assert [spell(c) for c in decision.candidates] == candidates
    assert decision.reason == reason


def test_a_sidecar_without_a_snapshot_serves_its_app() -> None:
    table = RouteTable()
    assert decide(table, None, False, "web:80").reason == "default"
    assert decide(table, ONE, False, "web:80").reason == "no_routes"
