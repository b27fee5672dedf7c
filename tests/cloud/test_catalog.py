"""What manifests offer: services, the workloads behind them, previews, and a branch's changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lapdev.cloud import catalog
from lapdev.cloud.catalog import WorkloadEdit
from lapdev.cluster.manifests import parse_objects
from lapdev.errors import ConfigError, NotFound
from lapdev.model import ClusterId, Environment, EnvironmentId, EnvironmentKind, PortMap
from tests.support.shop_manifests import configured, deployment, service, shop


def environment(*manifests: dict[str, Any], base: EnvironmentId | None = None) -> Environment:
    kind = EnvironmentKind.BRANCH if base else EnvironmentKind.SHARED
    return Environment(
        EnvironmentId("e" * 16), "shop", kind, ClusterId("c"), "ns", base, 1, tuple(manifests)
    )


def test_a_list_is_unpacked() -> None:
    wrapped = {"kind": "List", "items": shop()[:2]}
    assert catalog.flatten([wrapped, *shop()[2:]]) == tuple(shop())


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"kind": "Deployment"},
        {"kind": "Deployment", "metadata": "web"},
        {"kind": "Deployment", "metadata": {}},
        {"kind": "Deployment", "metadata": {"name": 7}},
    ],
)
def test_an_object_without_a_name_is_told_by_its_place(item: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"object 2 .* has no name"):
        catalog.flatten([deployment("web"), item])


@pytest.mark.parametrize("items", [["x"], [{"kind": "List", "items": []}], [None]])
def test_a_list_of_anything_but_objects_is_refused(items: list[Any]) -> None:
    with pytest.raises(ConfigError, match="List may hold"):
        catalog.flatten([{"kind": "List", "items": items}])


def test_a_branch_sees_its_own_versions_among_its_bases_objects() -> None:
    base = environment(*shop())
    branch = environment(deployment("api", image="shop:2"), base=base.id)
    found = catalog.effective(branch, base)
    images = {w.name: w.pod.containers[0].image for w in found.workloads}
    assert images == {"web": "shop:1", "api": "shop:2"}
    assert [s.name for s in found.services] == ["web", "api"]


def test_equal_objects_are_parsed_once_while_they_are_asked_about() -> None:
    parsed = catalog.Parsed()
    first = parsed(shop())
    for number in range(catalog.REMEMBERED - 1):
        parsed([deployment(f"app-{number}")])
        assert parsed(shop()) is first
    assert parsed([*shop(), deployment("other")]) is not first
    for number in range(catalog.REMEMBERED):
        parsed([deployment(f"new-{number}")])
    assert parsed(shop()) is not first
    with pytest.raises(ConfigError):
        parsed([{"kind": "Deployment", "metadata": {"name": "wrong"}}])


def test_an_unknown_service_or_port_is_answered_with_those_there_are() -> None:
    manifests = parse_objects(shop())
    assert catalog.service_port(manifests, "web", 9229).name == "tcp-debug"
    with pytest.raises(NotFound) as caught:
        catalog.service_named(manifests, "cart")
    assert caught.value.hint == "the services are: api, web"
    with pytest.raises(NotFound, match="service web has no port 80") as caught:
        catalog.service_port(manifests, "web", 80)
    assert caught.value.hint == "its ports are: 8080, 9229"


def test_the_workload_behind_a_service_carries_all_its_labels() -> None:
    manifests = parse_objects(shop())
    assert catalog.workload_behind(manifests, manifests.services[1]).name == "api"


@pytest.mark.parametrize(
    ("labels", "why"), [({"app": "other"}, "no workload"), ({}, "several workloads: web, api")]
)
def test_a_service_before_none_or_several_workloads_is_refused(
    labels: dict[str, str], why: str
) -> None:
    objects = [deployment("web"), deployment("api")]
    for item in objects:
        item["spec"]["template"]["metadata"]["labels"]["tier"] = "all"
    front = service("front")
    front["spec"]["selector"] = labels or {"tier": "all"}
    manifests = parse_objects([*objects, front])
    with pytest.raises(ConfigError, match=why):
        catalog.workload_behind(manifests, manifests.services[0])


def test_without_a_wish_all_ports_go_where_the_app_listens() -> None:
    web = parse_objects(shop()).services[0]
    assert catalog.port_maps(web, ()) == (PortMap(8080, 3000), PortMap(9229, 9229))


def test_a_wished_port_must_exist_and_be_named_once() -> None:
    web = parse_objects(shop()).services[0]
    assert catalog.port_maps(web, [PortMap(8080, 9)]) == (PortMap(8080, 9),)
    with pytest.raises(NotFound, match="no port 80"):
        catalog.port_maps(web, [PortMap(80, 9)])
    with pytest.raises(ConfigError, match="8080 is named twice"):
        catalog.port_maps(web, [PortMap(8080, 1), PortMap(8080, 2)])


# A branch's changes


def test_a_patch_changes_the_bases_version_and_later_the_branchs_own() -> None:
    first = catalog.changed_workload(
        "api", None, shop(), WorkloadEdit(patch={"api": {"image": "shop:2"}})
    )
    second = catalog.changed_workload(
        "api", first, shop(), WorkloadEdit(patch={"": {"env": {"A": "1"}}})
    )
    (container,) = second["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "shop:2"
    assert container["env"] == [{"name": "A", "value": "1"}]


def test_what_was_given_is_left_as_it_was() -> None:
    base = shop()
    before = copy.deepcopy(base)
    catalog.changed_workload("api", None, base, WorkloadEdit(patch={"": {"image": "x"}}))
    assert base == before


def test_a_whole_manifest_takes_the_place_of_any_other() -> None:
    whole = deployment("api", image="mine:7")
    assert catalog.changed_workload("api", None, shop(), WorkloadEdit(manifest=whole)) == whole


@pytest.mark.parametrize("manifest", [deployment("web"), service("api")])
def test_a_manifest_of_something_else_is_refused(manifest: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not one workload named api"):
        catalog.changed_workload("api", None, shop(), WorkloadEdit(manifest=manifest))


def test_a_workload_the_base_does_not_have_is_not_found() -> None:
    with pytest.raises(NotFound) as caught:
        catalog.changed_workload("cart", None, shop(), WorkloadEdit(patch={"": {}}))
    assert caught.value.hint == "the workloads are: api, web"


def test_a_nameless_patch_needs_a_single_container() -> None:
    base = [deployment("api", containers=("app", "logs"))]
    with pytest.raises(ConfigError) as caught:
        catalog.changed_workload("api", None, base, WorkloadEdit(patch={"": {"image": "x"}}))
    assert caught.value.hint == "name one of: app, logs"


# Every kind of workload


def workload(kind: str, name: str = "api", image: str = "shop:1") -> dict[str, Any]:
    """A workload of any kind whose pods carry app=name."""
    template = deployment(name, image)["spec"]["template"]
    made = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}}
    selector = {"matchLabels": {"app": name}}
    if kind in ("Job", "CronJob"):
        template["spec"]["restartPolicy"] = "Never"
    match kind:
        case "Pod":
            made["metadata"]["labels"] = {"app": name}  # type: ignore[index]
            return {**made, "apiVersion": "v1", "spec": template["spec"]}
        case "Job":
            return {**made, "apiVersion": "batch/v1", "spec": {"template": template}}
        case "CronJob":
            job = {"spec": {"template": template}}
            spec = {"schedule": "* * * * *", "jobTemplate": job}
            return {**made, "apiVersion": "batch/v1", "spec": spec}
        case "StatefulSet":
            spec = {"selector": selector, "serviceName": name, "template": template}
            return {**made, "spec": spec}
    return {**made, "spec": {"selector": selector, "template": template}}


KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")


@pytest.mark.parametrize("kind", KINDS)
def test_a_workload_of_any_kind_is_changed_by_patch_and_by_manifest(kind: str) -> None:
    base = [workload(kind), service("api")]
    patched = catalog.changed_workload(
        "api", None, base, WorkloadEdit(patch={"": {"image": "shop:2"}})
    )
    assert patched == workload(kind, image="shop:2")
    whole = workload(kind, image="mine:7")
    assert catalog.changed_workload("api", None, base, WorkloadEdit(manifest=whole)) == whole
    branch = environment(patched, base=environment(*base).id)
    (found,) = catalog.effective(branch, environment(*base)).workloads
    assert (found.kind, found.pod.containers[0].image) == (kind, "shop:2")


def test_a_branch_cannot_make_another_kind_of_a_workload() -> None:
    edit = WorkloadEdit(manifest=workload("StatefulSet"))
    with pytest.raises(ConfigError, match="not one workload named api") as caught:
        catalog.changed_workload("api", None, shop(), edit)
    assert "kind: Deployment" in caught.value.hint


def test_a_change_may_refer_to_what_the_base_has_and_to_nothing_else() -> None:
    base = [*shop(), configured("ConfigMap", "settings", LEVEL="debug")]
    source = {"configMapKeyRef": {"name": "settings", "key": "LEVEL"}}
    env = [{"name": "LEVEL", "valueFrom": source}]
    edit = WorkloadEdit(patch={"": {"env": env}})
    catalog.changed_workload("api", None, base, edit)
    source["configMapKeyRef"]["key"] = "COLOUR"
    with pytest.raises(ConfigError, match="ConfigMap/settings has no key 'COLOUR'"):
        catalog.changed_workload("api", None, base, edit)


# What a laptop can take


def test_a_job_with_a_services_labels_does_not_count_beside_what_stays() -> None:
    migration = workload("Job", "migrate")
    migration["spec"]["template"]["metadata"]["labels"] = {"app": "api"}
    manifests = parse_objects([*shop(), migration])
    assert catalog.workload_behind(manifests, manifests.services[1]).name == "api"


def test_a_service_that_nothing_of_ours_stands_before_cannot_be_intercepted() -> None:
    headless, elsewhere = service("api"), service("mail")
    headless["spec"]["clusterIP"] = "None"
    elsewhere["spec"] = {"type": "ExternalName", "externalName": "mail.test"}
    manifests = parse_objects([deployment("web"), deployment("api"), headless, elsewhere])
    with pytest.raises(ConfigError, match="Service/api is headless") as caught:
        catalog.interceptable(manifests, "api")
    assert "address of its own" in caught.value.hint
    with pytest.raises(ConfigError, match=r"another name for mail\.test and has no pods"):
        catalog.interceptable(manifests, "mail")
    with pytest.raises(ConfigError, match=r"another name for mail\.test"):
        catalog.service_port(manifests, "mail", 25)


# Logs


def test_lines_are_the_branchs_own_where_it_changed_the_workload() -> None:
    base = environment(*shop())
    branch = environment(deployment("api"), base=base.id)
    assert catalog.log_source(branch, base, "api", "") == (branch, "api")
    assert catalog.log_source(branch, base, "web", "web") == (base, "web")
    assert catalog.log_source(base, None, "api", "") == (base, "api")


def test_a_branchs_version_of_what_the_base_lost_prints_nothing() -> None:
    base = environment(deployment("web"))
    branch = environment(deployment("api"), base=base.id)
    assert catalog.log_source(branch, base, "", "") == (base, "web")
    with pytest.raises(NotFound, match="no workload 'api'") as caught:
        catalog.log_source(branch, base, "api", "")
    assert caught.value.hint == "the workloads are: web"


def test_which_workload_and_container_must_be_said_where_it_is_not_clear() -> None:
    base = environment(*shop())
    with pytest.raises(ConfigError, match="several workloads") as caught:
        catalog.log_source(base, None, "", "")
    assert caught.value.hint == "name one of: api, web"
    with pytest.raises(NotFound, match="web has no container 'x'") as missing:
        catalog.log_source(base, None, "web", "x")
    assert missing.value.hint == "its containers are: web"
