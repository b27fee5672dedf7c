"""Facts in, a namespace's spec out."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lapdev.cluster.driver import WorkloadSpec
from lapdev.errors import ConfigError
from lapdev.manager.plan import NamespacePlan, Place, explain, plan_namespace
from lapdev.model import EnvironmentId, EnvironmentKind, Service
from lapdev.wire.control import ApplyEnvironment
from tests.support.wishes import API, WEB, base, branch, deployment, grant, service

SHOP = base().environment.id
V2 = branch("v2").environment.id


def plan(*held: ApplyEnvironment, **refused: str) -> NamespacePlan:
    found = plan_namespace(held, {EnvironmentId(key): text for key, text in refused.items()})
    assert found is not None
    return found


def workload(found: NamespacePlan, name: str) -> WorkloadSpec:
    return {spec.name: spec for spec in found.spec.workloads}[name]


def services(found: NamespacePlan) -> dict[str, Service]:
    return {spec.name: spec for spec in found.spec.services}


def pod_labels(spec: WorkloadSpec) -> dict[str, str]:
    labels: dict[str, str] = spec.manifest["spec"]["template"]["metadata"]["labels"]
    return labels


def guarded(spec: WorkloadSpec) -> list[tuple[str, int, int]]:
    """(service, its port, the app's port) of each port the workload's sidecar stands before."""
    assert spec.sidecar is not None
    return [(p.service, p.service_port, p.target_port) for p in spec.sidecar.ports]


def proxies(spec: WorkloadSpec) -> dict[str, int]:
    """`service:port` → where the workload's sidecar listens for it."""
    assert spec.sidecar is not None
    return {port.key: port.proxy_port for port in spec.sidecar.ports}


# The base


def test_a_namespace_without_a_base_has_no_plan() -> None:
    assert plan_namespace([branch("v2", deployment("api"))]) is None
    assert plan_namespace([]) is None


def test_the_base_keeps_its_names_and_its_own_labels() -> None:
    found = plan(base())
    assert found.spec.name == "shop"
    assert [spec.name for spec in found.spec.workloads] == ["api", "web"]
    labels = pod_labels(workload(found, "api"))
    assert labels["app"] == "api"
    assert labels["lapdev.dev/environment"] == SHOP
    selector = workload(found, "api").manifest["spec"]["selector"]["matchLabels"]
    assert selector.items() <= labels.items()
    assert selector["lapdev.dev/environment"] == SHOP


def test_manifests_that_leave_out_selector_and_labels_are_marked_too() -> None:
    bare = deployment("job")
    del bare["spec"]["selector"]
    bare["spec"]["template"]["metadata"] = None
    labels = pod_labels(workload(plan(base(bare)), "job"))
    assert labels["lapdev.dev/environment"] == SHOP


def test_what_the_cloud_sent_is_not_changed() -> None:
    held = base(), branch("v2", deployment("api"))
    before = copy.deepcopy(held)
    plan(*held)
    assert held == before


def test_a_service_targets_the_sidecar_and_the_sidecar_the_app() -> None:
    found = plan(base())
    assert guarded(workload(found, "api")) == [("api", 80, 8080)]
    (port,) = services(found)["api"].ports
    assert (port.port, port.target) == (80, proxies(workload(found, "api"))["api:80"])


def test_users_are_told_the_services_as_they_wrote_them() -> None:
    found = plan(base(), branch("v2", deployment("api", ports={"http": 8080})))
    assert [(s.name, s.selector, s.ports[0].target) for s in found.services] == [
        ("api", {"app": "api"}, "http"),
        ("web", {"app": "web"}, 3000),
    ]


def test_the_sidecar_knows_where_it_stands() -> None:
    found = plan(base(), branch("v2", deployment("api", ports={"http": 8080})))
    stands = [spec.sidecar.identity for spec in found.spec.workloads if spec.sidecar]
    assert [
        (i.namespace, i.environment, i.environment_name, i.workload, i.pod) for i in stands
    ] == [
        ("shop", SHOP, "shop", "api", ""),
        ("shop", SHOP, "shop", "web", ""),
        ("shop", V2, "v2", "api", ""),
    ]


def test_a_workload_behind_no_service_gets_no_sidecar() -> None:
    found = plan(base(deployment("worker"), *API))
    assert workload(found, "worker").sidecar is None
    assert workload(found, "api").sidecar is not None


def test_a_service_that_selects_nothing_is_left_as_it_is() -> None:
    lonely = service("lonely", (80, "http"))
    assert services(plan(base(*API, lonely)))["lonely"].ports[0].target == "http"


def test_objects_inside_a_list_are_found() -> None:
    bundle = {"kind": "List", "items": [*API, {"kind": "List", "items": list(WEB)}]}
    found = plan(base(bundle))
    assert [spec.name for spec in found.spec.workloads] == ["api", "web"]
    assert set(services(found)) == {"api", "web"}


# Proxy ports


def test_every_service_port_has_a_proxy_port_of_its_own() -> None:
    found = plan(base(API[0], service("api", (80, "http"), (9090, 9090))))
    assert guarded(workload(found, "api")) == [("api", 80, 8080), ("api", 9090, 9090)]
    assert len(set(proxies(workload(found, "api")).values())) == 2


def test_ports_that_containers_declare_or_services_target_are_skipped() -> None:
    own = proxies(workload(plan(base()), "api"))["api:80"]
    declared = deployment("api", ports={"http": 8080, "a": own, "b": own + 1})
    found = plan(base(declared, service("api", (80, "http"), (81, own + 2))))
    assert proxies(workload(found, "api"))["api:80"] == own + 3


def test_two_services_of_one_workload_do_not_share_a_proxy_port() -> None:
    twin = service("api-internal", (80, 8080), selector={"app": "api"})
    found = plan(base(*API, twin))
    assert guarded(workload(found, "api")) == [("api", 80, 8080), ("api-internal", 80, 8080)]
    own = proxies(workload(found, "api"))
    assert own["api:80"] != own["api-internal:80"]
    assert services(found)["api-internal"].ports[0].target == own["api-internal:80"]


def test_a_service_of_two_workloads_has_the_same_proxy_port_in_both() -> None:
    tier = {"tier": "back"}
    back = service("back", (80, "http"), selector=tier)
    second = deployment("second", labels=tier | {"app": "second"}, ports={"http": 2222})
    alone = proxies(workload(plan(base(second, back)), "second"))["back:80"]
    taken = {"http": 1111, "x": alone}
    first = deployment("first", labels=tier | {"app": "first"}, ports=taken)
    found = plan(base(first, second, back))
    assert guarded(workload(found, "first")) == [("back", 80, 1111)]
    assert guarded(workload(found, "second")) == [("back", 80, 2222)]
    shared = {proxies(workload(found, name))["back:80"] for name in ("first", "second")}
    assert shared == {services(found)["back"].ports[0].target} == {alone + 1}


def test_a_named_target_port_that_nobody_declares_is_an_error_with_the_names() -> None:
    with pytest.raises(ConfigError, match=r"Service/api.*'admin'.*Deployment/api"):
        plan(base(API[0], service("api", (80, "admin"))))


# Branches


def test_a_branch_runs_only_what_it_changed_under_a_name_of_its_own() -> None:
    found = plan(base(), branch("v2", deployment("api", ports={"http": 8080})))
    name = found.places[Place(V2, "api")]
    assert name.startswith("api-")
    assert name != "api"
    assert [spec.name for spec in found.spec.workloads] == ["api", "web", name]
    assert workload(found, name).manifest["metadata"]["name"] == name


def test_names_of_branches_are_stable_and_differ_between_branches() -> None:
    changed = deployment("api", ports={"http": 8080})
    found = plan(base(), branch("v2", changed), branch("v3", changed))
    again = plan(branch("v3", changed), base(generation=9), branch("v2", changed, generation=4))
    assert found.places == again.places
    assert len(set(found.places.values())) == 4


def test_long_names_are_cut_to_63_octets_and_stay_apart() -> None:
    long = "a" * 60
    names = [long + "xx", long + "yy"]
    manifests = [
        item
        for name in names
        for item in (deployment(name, ports={"http": 80}), service(name, (80, "http")))
    ]
    changed = [deployment(name, ports={"http": 80}) for name in names]
    found = plan(base(*manifests), branch("v2", *changed))
    cut = [found.places[Place(V2, name)] for name in names]
    assert len(set(cut)) == 2
    assert all(len(name) <= 63 for name in [*cut, *services(found)])
    assert len(services(found)) == 4


def test_base_services_do_not_select_branch_pods_nor_branch_services_base_pods() -> None:
    changed = deployment("api", ports={"http": 8080})
    found = plan(base(), branch("v2", changed), branch("v3", changed))

    def behind(item: Service) -> list[str]:
        return [
            spec.name
            for spec in found.spec.workloads
            if item.selector.items() <= pod_labels(spec).items()
        ]

    owners = {name: behind(item) for name, item in services(found).items()}
    assert owners["api"] == ["api"]
    assert owners["web"] == ["web"]
    assert sorted(map(tuple, owners.values())) == sorted((n,) for n in found.places.values())


def test_branch_services_are_found_by_selector_not_by_name() -> None:
    front = service("front", (8000, "http"), selector={"app": "api"})
    other = service("gate", (9000, 8080), selector={"app": "api"})
    found = plan(base(API[0], front, other, *WEB), branch("v2", API[0]))
    (row_front, row_other) = found.branch_services["api"]
    assert row_front.service.startswith("front-")
    assert row_front.ports == (8000,)
    assert row_other.service.startswith("gate-")
    assert row_other.ports == (9000,)
    assert row_front.branch == V2
    assert row_front.branch_name == "v2"


def test_two_services_of_one_workload_may_use_one_port_number_in_a_branch_too() -> None:
    metrics = service("metrics", (80, 9090), selector={"app": "api"})
    found = plan(base(*API, metrics), branch("v2", API[0]))
    assert found.problems == {}
    copy = workload(found, found.places[Place(V2, "api")])
    assert guarded(copy) == [("api", 80, 8080), ("metrics", 80, 9090)]
    rows = {row.base_service: row for row in found.branch_services["api"]}
    assert {name: row.ports for name, row in rows.items()} == {"api": (80,), "metrics": (80,)}
    targets = [services(found)[rows[name].service].ports[0].target for name in ("api", "metrics")]
    assert targets == [proxies(copy)["api:80"], proxies(copy)["metrics:80"]]


def test_a_branch_service_targets_the_sidecar_of_the_branchs_copy() -> None:
    own = proxies(workload(plan(base()), "api"))["api:80"]
    changed = deployment("api", ports={"http": 8181, "taken": own})
    found = plan(base(), branch("v2", changed))
    copy = workload(found, found.places[Place(V2, "api")])
    assert guarded(copy) == [("api", 80, 8181)]
    (row,) = found.branch_services["api"]
    assert services(found)[row.service].ports[0].target == proxies(copy)["api:80"] == own + 1


def test_a_branch_that_changes_labels_stays_behind_the_bases_services() -> None:
    changed = deployment("api", labels={"app": "api-next"}, ports={"http": 8080})
    found = plan(base(), branch("v2", changed))
    (row,) = found.branch_services["api"]
    spec = workload(found, found.places[Place(V2, "api")])
    assert services(found)[row.service].selector.items() <= pod_labels(spec).items()
    assert pod_labels(spec)["app"] == "api-next"


def test_a_changed_workload_behind_no_service_runs_without_a_route() -> None:
    found = plan(base(deployment("worker"), *API), branch("v2", deployment("worker")))
    assert Place(V2, "worker") in found.places
    assert found.branch_services.get("worker", []) == []


# What cannot run


BAD_BRANCHES: list[tuple[str, tuple[dict[str, Any], ...], str]] = [
    ("unknown workload", (deployment("apo"),), "workload apo is not in the base environment shop"),
    ("port renamed", (deployment("api", ports={"web": 8080}),), "targets the port named 'http'"),
    ("not a manifest", ({"kind": "Deployment"},), "Deployment/?"),
    ("kind we do not run", ({"kind": "Gizmo", "metadata": {"name": "db"}},), "Gizmo"),
]


@pytest.mark.parametrize(
    ("manifests", "problem"),
    [row[1:] for row in BAD_BRANCHES],
    ids=[row[0] for row in BAD_BRANCHES],
)
def test_a_bad_branch_has_a_problem_and_harms_nobody(
    manifests: tuple[dict[str, Any], ...], problem: str
) -> None:
    good = branch("good", deployment("web", ports={"http": 3000}))
    found = plan(base(), branch("v2", *manifests), good)
    assert problem in found.problems[V2]
    assert set(found.problems) == {V2}
    assert found.places.keys() == plan(base(), good).places.keys()


def test_the_workloads_of_a_branch_that_can_run_do() -> None:
    changed = branch("v2", deployment("gone"), deployment("web"), deployment("also-gone"))
    found = plan(base(), changed)
    assert Place(V2, "web") in found.places
    assert "workload gone" in found.problems[V2]
    assert "workload also-gone" in found.problems[V2]


def test_a_bad_base_is_an_error() -> None:
    with pytest.raises(ConfigError):
        plan(base({"kind": "Deployment"}), branch("v2", API[0]))


def test_a_refused_branch_keeps_its_intercepts_but_runs_nothing() -> None:
    refused = branch("v2", API[0], intercepts=[grant("i1")])
    found = plan(base(), refused, **{V2: "no command"})
    assert found.problems == {V2: "no command"}
    assert Place(V2, "api") not in found.places
    assert [route.intercept for route in found.intercepts["api"]] == ["i1"]


def test_a_branch_of_another_base_and_a_second_base_are_problems() -> None:
    stray = branch("v2", API[0], base=EnvironmentId("another"))
    second = base(id=EnvironmentId("zzz"), name="second", kind=EnvironmentKind.PERSONAL)
    found = plan(base(), stray, second)
    assert found.base.name == "shop"
    assert set(found.problems) == {V2, "zzz"}
    assert "belongs to environment shop" in found.problems[EnvironmentId("zzz")]


def test_an_error_is_explained_with_its_remedy() -> None:
    assert explain(ConfigError("no command")) == "no command"
    assert explain(ConfigError("no command", hint="set one")) == "no command (set one)"


# Intercepts


def test_intercepts_attach_to_the_base_workload_whosever_they_are() -> None:
    found = plan(
        base(intercepts=[grant("i2"), grant("i3", workload="web", service="web")]),
        branch("v2", API[0], intercepts=[grant("i1")]),
        branch("v3", intercepts=[grant("i4", 80, 9090, include_branches=True)]),
    )
    rows = [(r.intercept, r.branch, r.ports, r.include_branches) for r in found.intercepts["api"]]
    assert rows == [
        ("i1", V2, (80,), False),
        ("i2", None, (80,), False),
        ("i4", branch("v3").environment.id, (80, 9090), True),
    ]
    assert [route.intercept for route in found.intercepts["web"]] == ["i3"]


def test_an_intercept_on_a_personal_environment_is_on_the_environment_itself() -> None:
    personal = base(kind=EnvironmentKind.PERSONAL, intercepts=[grant("i1")])
    (route,) = plan(personal).intercepts["api"]
    assert route.branch is None


def test_an_intercept_without_a_workload_is_on_those_behind_its_service() -> None:
    found = plan(base(intercepts=[grant("i1", workload="", service="web")]))
    assert set(found.intercepts) == {"web"}


def test_the_generation_is_the_newest_of_base_and_branches() -> None:
    assert plan(base(generation=3), branch("v2", generation=7), branch("v3")).generation == 7
    assert plan(base(generation=9), branch("v2", generation=7)).generation == 9
