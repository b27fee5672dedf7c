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
from tests.support.shop_manifests import deployment, service, shop


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
