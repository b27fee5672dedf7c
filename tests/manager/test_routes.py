"""A plan in, route snapshots out."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from lapdev.manager.plan import Place, plan_namespace
from lapdev.manager.routes import route_snapshots, rows_digest
from lapdev.model import BranchRoute, EnvironmentId, InterceptId, InterceptRoute, RouteSnapshot
from lapdev.wire.control import ApplyEnvironment
from tests.support.wishes import API, base, branch, deployment, grant, service

SHOP = base().environment.id
V2 = branch("v2").environment.id
WEB_V2 = deployment("web", ports={"http": 3000})


def snapshots(
    *held: ApplyEnvironment, host: str = "{}.shop.svc", floor: int = 0
) -> dict[Place, RouteSnapshot]:
    plan = plan_namespace(held)
    assert plan is not None
    return route_snapshots(plan, host.format, floor)


def routes(found: dict[Place, RouteSnapshot], workload: str) -> RouteSnapshot:
    return found[Place(SHOP, workload)]


def test_every_workload_has_a_snapshot_and_unchanged_ones_have_no_rows() -> None:
    found = snapshots(base(), branch("v2", API[0]))
    assert set(found) == {Place(SHOP, "api"), Place(SHOP, "web"), Place(V2, "api")}
    assert routes(found, "web").branches == ()
    assert (routes(found, "api").environment_name, routes(found, "api").workload) == ("shop", "api")


def test_the_base_of_a_changed_workload_leads_to_the_branchs_service() -> None:
    (row,) = routes(snapshots(base(), branch("v2", API[0])), "api").branches
    assert (row.branch, row.name) == (V2, "v2")
    assert row.ports.keys() == {"api:80"}
    assert row.ports["api:80"].startswith("api-")
    assert row.ports["api:80"].endswith(".shop.svc:80")


def test_a_branch_has_one_row_over_all_services_of_the_workload() -> None:
    more = service("more", (80, 8080), (9090, 8080), selector={"app": "api"})
    (row,) = routes(snapshots(base(*API, more), branch("v2", API[0])), "api").branches
    assert {port: row.ports[port].partition("-")[0] for port in row.ports} == {
        "api:80": "api",
        "more:80": "more",
        "more:9090": "more",
    }


def test_an_ipv6_host_is_bracketed() -> None:
    (row,) = routes(snapshots(base(), branch("v2", API[0]), host="fd00::1"), "api").branches
    assert row.ports == {"api:80": "[fd00::1]:80"}


def test_a_branchs_own_sidecar_diverts_nothing() -> None:
    found = snapshots(
        base(intercepts=[grant("i1")]), branch("v2", API[0], intercepts=[grant("i2")])
    )
    own = found[Place(V2, "api")]
    assert (own.environment, own.environment_name, own.workload) == (V2, "v2", "api")
    assert own.branches == ()
    assert own.intercepts == ()
    assert len(routes(found, "api").intercepts) == 2


def test_an_intercept_on_a_workload_the_branch_has_not_changed_is_attached() -> None:
    held = base(), branch("v2", API[0], intercepts=[grant("i1", workload="web", service="web")])
    found = snapshots(*held)
    assert [(r.intercept, r.branch) for r in routes(found, "web").intercepts] == [("i1", V2)]
    assert routes(found, "web").branches == ()


def test_rows_go_with_the_override_and_with_the_branch() -> None:
    both = snapshots(base(), branch("v2", API[0], WEB_V2))
    one = snapshots(base(), branch("v2", API[0]))
    none = snapshots(base())
    assert [len(routes(found, "web").branches) for found in (both, one, none)] == [1, 0, 0]
    assert [len(routes(found, "api").branches) for found in (both, one, none)] == [1, 1, 0]
    assert routes(both, "api").digest == routes(one, "api").digest
    assert routes(one, "web").digest == routes(none, "web").digest


def test_the_generation_never_falls_when_a_branch_goes() -> None:
    assert routes(snapshots(base(generation=3), branch("v2", generation=8)), "web").generation == 8
    assert routes(snapshots(base(generation=3), floor=8), "web").generation == 8
    assert routes(snapshots(base(generation=9), floor=8), "web").generation == 9


def test_a_digest_is_a_sha256_and_does_not_depend_on_the_order_of_arrival() -> None:
    held = [base(), branch("v2", API[0], intercepts=[grant("i1")]), branch("v3", API[0])]
    digests = [routes(snapshots(*order), "api").digest for order in (held, held[::-1])]
    assert digests[0] == digests[1]
    assert len(bytes.fromhex(digests[0])) == 32


words = st.sampled_from(["a", "b", "c"])
branch_rows = st.builds(
    BranchRoute,
    branch=words.map(EnvironmentId),
    name=words,
    ports=st.dictionaries(words, words, max_size=2),
)
intercept_rows = st.builds(
    InterceptRoute,
    intercept=words.map(InterceptId),
    branch=st.none() | words.map(EnvironmentId),
    service=words,
    ports=st.tuples(st.integers(1, 3)),
    token=words,
    cloud=words,
    include_branches=st.booleans(),
)
tables = st.tuples(st.lists(branch_rows, max_size=2), st.lists(intercept_rows, max_size=2))
Table = tuple[Sequence[BranchRoute], Sequence[InterceptRoute]]


@given(tables, tables)
def test_digests_are_equal_exactly_when_the_rows_are(first: Table, second: Table) -> None:
    assert (rows_digest(*first) == rows_digest(*second)) == (first == second)


changes = st.fixed_dictionaries(
    {
        name: st.none() | st.tuples(st.booleans(), st.booleans(), st.booleans())
        for name in ("v2", "v3")
    }
)
"""Per branch: none, or whether it changes api, changes web, and intercepts web."""


@given(changes, changes, st.integers(1, 9), st.integers(1, 9))
def test_a_snapshots_digest_changes_exactly_when_its_rows_do(
    first: dict[str, tuple[bool, bool, bool] | None],
    second: dict[str, tuple[bool, bool, bool] | None],
    first_generation: int,
    second_generation: int,
) -> None:
    one = snapshots(base(generation=first_generation), *_branches(first))
    two = snapshots(base(generation=second_generation), *_branches(second))
    for place in one.keys() & two.keys():
        rows = [(found.branches, found.intercepts) for found in (one[place], two[place])]
        assert (one[place].digest == two[place].digest) == (rows[0] == rows[1])


def _branches(wanted: dict[str, tuple[bool, bool, bool] | None]) -> list[ApplyEnvironment]:
    return [
        branch(
            name,
            *([API[0]] if api else []),
            *([WEB_V2] if web else []),
            intercepts=[grant(f"i-{name}", workload="web")] if intercepted else [],
        )
        for name, choice in wanted.items()
        if choice is not None
        for api, web, intercepted in [choice]
    ]
