"""The route table holds every decision of a snapshot, and shows no secret."""

from __future__ import annotations

from lapdev.model import BranchRoute, EnvironmentId, InterceptId, InterceptRoute, RouteSnapshot
from lapdev.routing.decide import decide
from lapdev.routing.table import APP, BranchCandidate, LaptopCandidate, RouteTable

BASE = EnvironmentId("base000000000000")
ONE = EnvironmentId("one0000000000000")


def snapshot(
    branches: tuple[BranchRoute, ...] = (), intercepts: tuple[InterceptRoute, ...] = ()
) -> RouteSnapshot:
    return RouteSnapshot(BASE, "staging", "api", 1, "digest", branches, intercepts)


def test_an_empty_snapshot_holds_no_rows() -> None:
    table = RouteTable.from_snapshot(snapshot())
    assert (table.plain, table.branches, table.others) == ({}, {}, {})
    assert table.environment == BASE


def test_every_port_of_a_branch_row_gets_its_own_address() -> None:
    row = BranchRoute(ONE, "one", {"web:80": "10.0.0.1:80", "web:81": "10.0.0.1:8081"})
    table = RouteTable.from_snapshot(snapshot((row,)))
    assert table.branches[ONE, "web:80"].candidates == (
        BranchCandidate(ONE, "one", "10.0.0.1:80"),
        APP,
    )
    assert table.branches[ONE, "web:81"].candidates == (
        BranchCandidate(ONE, "one", "10.0.0.1:8081"),
        APP,
    )


def test_two_intercepts_on_one_port_keep_the_order_of_the_snapshot() -> None:
    rows = tuple(
        InterceptRoute(InterceptId(name), None, "web", (80,), "token-" + name, "unix:/c")
        for name in ("first", "second")
    )
    table = RouteTable.from_snapshot(snapshot(intercepts=rows))
    names = [
        c.intercept for c in table.plain["web:80"].candidates if isinstance(c, LaptopCandidate)
    ]
    assert names == ["first", "second"]


def test_a_token_never_shows_in_a_representation() -> None:
    row = InterceptRoute(InterceptId("i"), None, "web", (80,), "very-secret", "unix:/c")
    table = RouteTable.from_snapshot(snapshot(intercepts=(row,)))
    assert "very-secret" not in repr(table)


def test_ten_thousand_branches_cost_one_entry_each_and_no_search() -> None:
    rows = tuple(
        BranchRoute(EnvironmentId(f"b{n:015}"), f"b{n}", {"web:80": f"10.0.0.1:{n % 65535 + 1}"})
        for n in range(10_000)
    )
    table = RouteTable.from_snapshot(snapshot(rows))
    assert len(table.branches) == 10_000
    last = rows[-1]
    assert decide(table, last.branch, False, "web:80") is table.branches[last.branch, "web:80"]
