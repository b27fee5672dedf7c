"""Plans for workloads of every kind, their ConfigMaps and Secrets, and what one says of another."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lapdev.cluster.driver import NamespaceSpec, WorkloadSpec
from lapdev.cluster.manifests import parse_workload
from lapdev.errors import ConfigError
from lapdev.manager.plan import NamespacePlan, Place, plan_namespace
from lapdev.manager.readings import Readings
from lapdev.model import Service
from lapdev.wire.control import ApplyEnvironment
from tests.support.wishes import (
    API,
    WEB,
    as_kind,
    base,
    branch,
    config,
    deployment,
    headless,
    reading,
    service,
)

SHOP = base().environment.id
V2 = branch("v2").environment.id
V3 = branch("v3").environment.id
KINDS = ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"]


def plan(*held: ApplyEnvironment, readings: Readings | None = None) -> NamespacePlan:
    found = plan_namespace(held, readings=readings)
    assert found is not None
    return found


def specs(found: NamespacePlan) -> dict[str, WorkloadSpec]:
    return {spec.name: spec for spec in found.spec.workloads}


def services(found: NamespacePlan) -> dict[str, Service]:
    return {item.name: item for item in found.spec.services}


def pod_labels(spec: WorkloadSpec) -> dict[str, str]:
    return parse_workload(spec.manifest).pod.labels


# Kinds


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_runs_in_the_base_and_changed_in_a_branch(kind: str) -> None:
    db = as_kind(deployment("db", ports={"sql": 5432}), kind)
    found = plan(base(*API, db, service("db", (5432, "sql"))), branch("v2", db))
    name = found.places[Place(V2, "db")]
    own = specs(found)[name]
    assert name.startswith("db-")
    assert own.manifest["kind"] == found.facts[Place(V2, "db")].kind == kind
    assert own.manifest["metadata"]["name"] == name
    assert own.sidecar is not None
    (row,) = found.branch_services["db"]
    behind = {
        item.name: [
            n for n, s in specs(found).items() if item.selector.items() <= pod_labels(s).items()
        ]
        for item in found.spec.services
    }
    assert behind == {"api": ["api"], "db": ["db"], row.service: [name]}


def test_a_branch_may_change_the_kind_of_a_workload() -> None:
    found = plan(base(), branch("v2", as_kind(API[0], "StatefulSet")))
    assert found.problems == {}
    assert specs(found)[found.places[Place(V2, "api")]].manifest["kind"] == "StatefulSet"
    assert len(found.branch_services["api"]) == 1


def test_a_migration_with_its_apps_labels_has_no_sidecar_and_gets_no_requests() -> None:
    job = as_kind(deployment("migrate", labels={"app": "api"}), "Job")
    found = plan(base(*API, job), branch("v2", job))
    assert specs(found)["migrate"].sidecar is None
    assert specs(found)[found.places[Place(V2, "migrate")]].sidecar is None
    assert (
        not services(found)["api"].selector.items() <= pod_labels(specs(found)["migrate"]).items()
    )
    assert found.branch_services["migrate"] == []


def test_headless_services_lead_to_the_pods_own_ports_of_the_base_alone() -> None:
    peers = headless(service("db", (5432, "sql")))
    db = as_kind(deployment("db", ports={"sql": 5432}), "StatefulSet")
    found = plan(base(db, peers), branch("v2", db))
    assert specs(found)["db"].sidecar is None
    assert services(found).keys() == {"db"}
    passed = services(found)["db"]
    assert (passed.headless, passed.ports[0].target) == (True, "sql")
    assert passed.selector.items() <= pod_labels(specs(found)["db"]).items()
    copied = specs(found)[found.places[Place(V2, "db")]]
    assert not passed.selector.items() <= pod_labels(copied).items()


def test_another_name_for_a_host_passes_as_it_is() -> None:
    away = {
        "kind": "Service",
        "metadata": {"name": "away"},
        "spec": {"type": "ExternalName", "externalName": "db.example.com"},
    }
    found = plan(base(*API, away))
    assert services(found)["away"] == next(s for s in found.services if s.name == "away")


def test_a_service_of_a_workload_with_its_port_and_of_one_without_leads_to_the_first() -> None:
    both = {"app": "shop"}
    web = deployment("web", labels=both, ports={"http": 8080})
    worker = deployment("worker", labels=both)
    found = plan(base(web, worker, service("web", (80, "http"), selector=both)))
    selector = services(found)["web"].selector
    behind = [n for n, s in specs(found).items() if selector.items() <= pod_labels(s).items()]
    assert behind == ["web"]
    assert specs(found)["worker"].sidecar is None


def test_a_branchs_copy_shares_no_data_with_the_base() -> None:
    db = as_kind(
        deployment("db"),
        "StatefulSet",
        volumeClaimTemplates=[
            {
                "metadata": {"name": "data"},
                "spec": {"resources": {"requests": {"storage": "1Gi"}}},
            }
        ],
    )
    files = copy.deepcopy(API[0])
    files["spec"]["template"]["spec"]["volumes"] = [
        {"name": "files", "persistentVolumeClaim": {"claimName": "files"}}
    ]
    found = plan(base(db, files, API[1]), branch("v2", db, files), branch("v3", files))
    owners = {place: specs(found)[name].claims_of for place, name in found.places.items()}
    assert owners == {
        Place(SHOP, "db"): "",  # the namespace's
        Place(SHOP, "api"): "",
        Place(V2, "db"): V2,
        Place(V2, "api"): V2,
        Place(V3, "api"): V3,
    }


def test_a_deployment_that_is_updated_in_place_stays_one() -> None:
    app = {**API[0], "metadata": {"name": "api", "annotations": {"lapdev.dev/update": "in-place"}}}
    found = plan(base(app, API[1]), branch("v2", app))
    strategies = {parse_workload(spec.manifest).strategy for spec in found.spec.workloads}
    assert strategies == {"InPlace"}


# ConfigMaps and Secrets


def test_the_driver_gets_what_workloads_refer_to_and_nothing_else() -> None:
    api = reading(API[0], ("ConfigMap", "settings"), ("Secret", "keys"))
    found = plan(base(api, API[1], config("settings"), config("keys", "Secret"), config("unused")))
    assert [(item.kind, item.name) for item in found.spec.configs] == [
        ("ConfigMap", "settings"),
        ("Secret", "keys"),
    ]


def test_a_branch_has_the_bases_configs_those_the_base_does_not_use_too() -> None:
    more = config("more")
    found = plan(base(*API, more), branch("v2", reading(API[0], ("ConfigMap", "more"))))
    assert [item.name for item in found.spec.configs] == ["more"]
    assert found.problems == {}


def test_a_branch_that_refers_to_what_is_not_there_is_a_problem_of_its_own() -> None:
    found = plan(base(), branch("v2", reading(API[0], ("ConfigMap", "gone"))))
    assert "ConfigMap/gone" in found.problems[V2]
    assert set(found.places) == {Place(SHOP, "api"), Place(SHOP, "web")}


def test_a_base_that_refers_to_what_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match="Secret/gone"):
        plan(base(reading(API[0], ("Secret", "gone"))))


# What one says of another


def unchanged(before: NamespaceSpec, after: NamespaceSpec) -> set[str]:
    """The workloads whose specs are equal."""
    known = {spec.name: spec for spec in before.workloads}
    return {spec.name for spec in after.workloads if known.get(spec.name) == spec}


ADDITIONS: list[tuple[str, tuple[dict[str, Any], ...]]] = [
    ("a workload", (deployment("more", ports={"http": 8080}),)),
    ("a service of another", (service("web-too", (80, 3000), selector={"app": "web"}),)),
    ("a service of nobody", (service("no", (80, 15101), (81, 15102)),)),
    ("a headless service of it", (headless(service("peers", (80, 1), selector={"app": "api"})),)),
    ("a job with its labels", (as_kind(deployment("job", labels={"app": "api"}), "Job"),)),
    ("a config", (config("more", key="value"),)),
]


@pytest.mark.parametrize("added", [row[1] for row in ADDITIONS], ids=[row[0] for row in ADDITIONS])
@pytest.mark.parametrize("first", [True, False])
def test_what_is_added_beside_a_workload_does_not_change_it(
    added: tuple[dict[str, Any], ...], first: bool
) -> None:
    objects = (*added, *API, *WEB) if first else (*API, *WEB, *added)
    before = plan(base(), branch("v2", API[0]))
    after = plan(base(*objects), branch("v2", API[0]))
    assert unchanged(before.spec, after.spec) >= {"api", before.places[Place(V2, "api")]}
    again = plan(base(), branch("v2", API[0]))
    assert unchanged(after.spec, again.spec) >= {"api", before.places[Place(V2, "api")]}


def test_another_branch_changes_no_spec_but_its_own() -> None:
    before = plan(base(), branch("v2", API[0]))
    after = plan(base(), branch("v2", API[0]), branch("v1", API[0], WEB[0]))
    assert unchanged(before.spec, after.spec) == {spec.name for spec in before.spec.workloads}
    assert after.spec.services[: len(API)] == before.spec.services[: len(API)]


def test_a_changed_config_changes_no_workloads_spec() -> None:
    api = reading(API[0], ("ConfigMap", "settings"))
    before = plan(base(api, API[1], config("settings", level="info")))
    after = plan(base(api, API[1], config("settings", level="debug")))
    assert unchanged(before.spec, after.spec) == {"api"}
    assert before.spec.configs[0].data == {"level": b"info"}
    assert after.spec.configs[0].data == {"level": b"debug"}


def test_a_plan_made_with_what_was_read_before_is_the_same() -> None:
    readings = Readings()
    held = base(), branch("v2", API[0])
    first = plan(*held, readings=readings)
    changed = base(deployment("api", command="sleep 9", ports={"http": 8080}), API[1], generation=2)
    for later in ((*held,), (changed, held[1]), (*held, branch("v3", WEB[0]))):
        assert plan(*later, readings=readings) == plan(*later)
    assert plan(*held, readings=readings) == first
