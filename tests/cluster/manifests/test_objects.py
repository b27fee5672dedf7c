"""All objects of an environment together."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import WorkloadKind, parse_objects
from lapdev.errors import ConfigError
from tests.cluster.manifests import everything, test_deployment, test_service

DEPLOYMENT = test_deployment.manifest()
SERVICE = test_service.manifest({"port": 80})


def test_deployments_and_services_are_told_apart() -> None:
    manifests = parse_objects([DEPLOYMENT, SERVICE])
    assert [item.name for item in manifests.workloads] == ["api"]
    assert [item.name for item in manifests.services] == ["api"]


def test_lists_are_opened_and_empty_documents_ignored() -> None:
    inner = {"kind": "List", "items": [SERVICE]}
    documents: list[Any] = [None, {"kind": "List", "items": [DEPLOYMENT, inner]}]
    manifests = parse_objects(documents)
    assert len(manifests.workloads) == len(manifests.services) == 1


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        ({"kind": "Widget", "metadata": {"name": "x"}}, "^Widget/x: this kind is not supported"),
        ({"metadata": {"name": "x"}}, "^object without kind/x: "),
        ({"kind": "Widget", "metadata": ["x"]}, r"^Widget/\?: "),
        ({"kind": ["Job"], "metadata": {"name": "x"}}, "^object without kind/x: "),
    ],
)
def test_an_unknown_kind_is_refused_with_what_is_supported(item: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        parse_objects([item])
    assert "Deployment, StatefulSet, " in caught.value.hint


def test_what_is_no_object_is_refused_by_its_place() -> None:
    with pytest.raises(ConfigError, match="object 2: is str, not a Kubernetes object"):
        parse_objects([SERVICE, "text"])  # type: ignore[list-item]


@pytest.mark.parametrize("item", [DEPLOYMENT, SERVICE])
def test_a_name_may_be_there_once(item: Any) -> None:
    with pytest.raises(ConfigError, match=f"{item['kind']}/api: is there twice"):
        parse_objects([item, item])


def test_what_means_nothing_here_is_accepted_and_listed() -> None:
    rule = {"kind": "NetworkPolicy", "metadata": {"name": "deny"}}
    manifests = parse_objects([{"kind": "Namespace", "metadata": {"name": "shop"}}, rule, SERVICE])
    assert manifests.ignored == ("Namespace/shop", "NetworkPolicy/deny")
    assert [item.name for item in manifests.services] == ["api"]


def test_objects_of_every_kind_are_told_apart() -> None:
    manifests = parse_objects(everything.objects())
    assert [item.kind for item in manifests.workloads] == list(WorkloadKind)
    assert [item.name for item in manifests.services] == ["web", "pods", "far"]
    assert {(item.kind, item.name) for item in manifests.configs} == {
        ("ConfigMap", "conf"),
        ("Secret", "keys"),
    }
    assert manifests.configs_by_name()["Secret", "keys"].data == {"k": b"s3cret", "s": b"plain"}
    assert [item.name for item in manifests.ingresses] == ["shop"]
    assert manifests.ignored == ("Namespace/shop",)


def named(item: dict[str, Any], kind: str = "", **metadata: str) -> dict[str, Any]:
    return {**item, "kind": kind or item["kind"], "metadata": {"name": "api", **metadata}}


def test_workloads_of_all_kinds_share_their_names() -> None:
    with pytest.raises(
        ConfigError, match="StatefulSet/api: Deployment/api has the same name"
    ) as caught:
        parse_objects([DEPLOYMENT, named(DEPLOYMENT, "StatefulSet")])
    assert "name one of the two differently" in caught.value.hint


def test_an_environment_is_one_namespace() -> None:
    assert parse_objects([named(DEPLOYMENT, namespace="a"), SERVICE]).services
    elsewhere = {"kind": "Role", "metadata": {"name": "x", "namespace": "kube-system"}}
    assert parse_objects([named(SERVICE, namespace="a"), elsewhere]).ignored
    with pytest.raises(
        ConfigError,
        match=r"^Service/api: metadata\.namespace: is 'b', and Deployment/api: metadata\.namespace"
        r" is 'a': an environment is one namespace",
    ) as caught:
        parse_objects([named(DEPLOYMENT, namespace="a"), named(SERVICE, namespace="b")])
    assert "leave metadata.namespace out" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [("ReplicaSet", "write it as a Deployment"), ("Kustomization", "kubectl kustomize")],
)
def test_what_has_a_substitute_is_told_so(kind: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=f"{kind}/api: this kind is not supported") as caught:
        parse_objects([named(DEPLOYMENT, kind)])
    assert remedy in caught.value.hint


@pytest.mark.parametrize("items", ["x", {"a": 1}, [["x"]]])
def test_a_list_holds_objects(items: Any) -> None:
    with pytest.raises(ConfigError):
        parse_objects([{"kind": "List", "items": items}])


def test_a_claim_has_a_name() -> None:
    with pytest.raises(ConfigError, match=r"PersistentVolumeClaim/\?: metadata\.name"):
        parse_objects([{"kind": "PersistentVolumeClaim"}])


def test_lists_are_opened_to_a_depth() -> None:
    item = SERVICE
    for _ in range(4):
        item = {"kind": "List", "items": [item]}
    assert parse_objects([item]).services
    with pytest.raises(ConfigError, match="lists in lists"):
        parse_objects([{"kind": "List", "items": [item]}])


def test_nothing_of_a_complaint_steers_a_terminal() -> None:
    item = {"kind": "\x1b[2JWidget", "metadata": {"name": "\x1b[1m" + "x" * 10_000}}
    with pytest.raises(ConfigError) as caught:
        parse_objects([item])
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) < 300


def test_kinds_that_are_not_supported_are_told_all_at_once() -> None:
    widgets = [named(SERVICE, kind) for kind in ("Widget", "Gadget", *(["Thing"] * 9))]
    with pytest.raises(ConfigError) as caught:
        parse_objects([DEPLOYMENT, *widgets])
    assert str(caught.value).startswith(
        "Widget/api: this kind is not supported (nor are those of Gadget/api, Thing/api, "
    )
    assert " and 2 more)" in str(caught.value)


def test_the_dump_of_a_deployment_is_the_deployment() -> None:
    def made_by(kind: str) -> list[dict[str, Any]]:
        return [{"kind": kind, "name": "api", "controller": True}]

    replica_set = named(DEPLOYMENT, "ReplicaSet")
    replica_set["metadata"]["ownerReferences"] = made_by("Deployment")
    pod = named({"spec": {}}, "Pod")
    pod["metadata"]["ownerReferences"] = made_by("ReplicaSet")
    manifests = parse_objects([pod, DEPLOYMENT, replica_set])
    assert [item.kind for item in manifests.workloads] == ["Deployment"]
    assert manifests.ignored == (
        "Pod/api (made by ReplicaSet/api)",
        "ReplicaSet/api (made by Deployment/api)",
    )


def test_what_is_not_read_of_an_object_is_among_what_does_nothing() -> None:
    udp = {**SERVICE, "spec": {**SERVICE["spec"], "ports": [{"port": 53, "protocol": "UDP"}]}}
    assert parse_objects([udp]).ignored == ("Service/api port 53/UDP",)
