"""What a spec asks for, checked."""

from __future__ import annotations

import dataclasses

import pytest

from lapdev.cluster.driver import NamespaceSpec, WorkloadSpec
from lapdev.cluster.manifests import WORKLOAD_KINDS, ConfigObject, WorkloadKind, parse_objects
from lapdev.cluster.wanted import endpoint_port, keeps_data, service_port, wanted_namespace
from lapdev.errors import ConfigError, NoRoute
from lapdev.model import Service, ServicePort
from tests.cluster.contract import deployment, service, sidecar, spec
from tests.cluster.manifests import everything


def digest(*, replicas: int = 1, answer: str = "", with_sidecar: bool = False) -> str:
    manifest = deployment("web", answer=answer, replicas=replicas)
    return wanted_namespace(spec(manifest, with_sidecar=with_sidecar)).workloads["web"].digest


def test_the_digest_knows_the_template_and_the_sidecar_but_not_the_replicas() -> None:
    assert digest() == digest(replicas=5)
    assert len({digest(), digest(answer="x"), digest(with_sidecar=True)}) == 3


def test_a_workload_may_be_there_once() -> None:
    twice = WorkloadSpec("web", deployment("web"), None)
    with pytest.raises(ConfigError, match="workload web is there twice"):
        wanted_namespace(NamespaceSpec("shop", (twice, twice)))


def test_a_field_no_pod_has_is_found_before_anything_starts() -> None:
    manifest = deployment("web")
    source = {"fieldRef": {"fieldPath": "status.phase"}}
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["env"].append({"name": "P", "valueFrom": source})
    with pytest.raises(ConfigError, match=r"status\.phase"):
        wanted_namespace(spec(manifest))


def test_a_service_selects_by_all_its_labels() -> None:
    workload = wanted_namespace(spec(deployment("web"))).workloads["web"]
    labels = workload.facts.pod.labels
    assert service("web").selects(labels)
    assert not Service("x", {"app": "web", "tier": "front"}, ()).selects(labels)


def test_the_sidecar_takes_its_own_ports_and_the_container_the_others() -> None:
    manifest = deployment("web")
    guarded = WorkloadSpec("web", manifest, sidecar("web", port=80))
    workload = wanted_namespace(NamespaceSpec("shop", (guarded,))).workloads["web"]
    assert endpoint_port(workload, "web", ServicePort(80, "http")) == 15001
    assert endpoint_port(workload, "other", ServicePort(80, "http")) == 8080
    assert endpoint_port(workload, "web", ServicePort(81, 9000)) == 9000
    assert endpoint_port(workload, "web", ServicePort(81, "none")) is None


def test_a_port_that_is_not_declared_is_no_route() -> None:
    wanted = wanted_namespace(spec(deployment("web")))
    assert service_port(wanted, "web", 80).target == "http"
    with pytest.raises(NoRoute, match="shop has no service web with port 81"):
        service_port(wanted, "web", 81)
    with pytest.raises(NoRoute, match="an unknown namespace"):
        service_port(None, "web", 80)


def test_an_external_name_has_no_pods() -> None:
    workload = wanted_namespace(spec(deployment("web"))).workloads["web"]
    far = Service("far", {}, (), external_name="example.com")
    assert not far.selects(workload.facts.pod.labels)


def test_what_a_volume_needs_has_to_be_there() -> None:
    manifest = deployment("web")
    pod = manifest["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "files", "configMap": {"name": "conf"}}]
    with pytest.raises(ConfigError, match="Deployment/web: volume files: refers to ConfigMap/conf"):
        wanted_namespace(spec(manifest))
    found = dataclasses.replace(spec(manifest), configs=(ConfigObject("ConfigMap", "conf"),))
    assert wanted_namespace(found).workloads["web"].container_digests.keys() == {"web"}


def test_every_kind_of_workload_can_be_wanted() -> None:
    objects = everything.objects()
    specs = tuple(
        WorkloadSpec(item["metadata"]["name"], item, None)
        for item in objects
        if item["kind"] in WORKLOAD_KINDS
    )
    wanted = wanted_namespace(
        NamespaceSpec("shop", specs, configs=parse_objects(objects).configs)
    ).workloads
    assert [found.facts.kind for found in wanted.values()] == list(WorkloadKind)
    assert len({found.pod_digest for found in wanted.values()}) > 1
    assert len({found.container_digests["web"] for found in wanted.values()}) == 1


def test_a_namespace_goes_by_the_name_its_objects_were_written_for() -> None:
    assert wanted_namespace(spec(deployment("web"))).also_known_as == {"default"}
    manifest = deployment("web")
    manifest["metadata"]["namespace"] = "Fruits"
    assert wanted_namespace(spec(manifest)).also_known_as == {"fruits"}


def test_only_what_changed_is_read_again() -> None:
    a, b = (WorkloadSpec(name, deployment(name), None) for name in ("a", "b"))
    config = ConfigObject("ConfigMap", "settings", {"x": b"1"})
    first = wanted_namespace(NamespaceSpec("shop", (a, b), configs=(config,)))
    again = WorkloadSpec("a", deployment("a"), None)
    changed = WorkloadSpec("b", deployment("b", answer="new"), None)
    second = wanted_namespace(NamespaceSpec("shop", (again, changed), configs=(config,)), first)
    assert second.workloads["a"] is first.workloads["a"]
    assert second.workloads["b"].digest != first.workloads["b"].digest
    # A config may be what any of them refers to.
    other = dataclasses.replace(config, data={"x": b"2"})
    third = wanted_namespace(NamespaceSpec("shop", (again,), configs=(other,)), second)
    assert third.workloads["a"] is not second.workloads["a"]


def test_containers_without_a_command_are_told_all_at_once() -> None:
    specs = []
    for number in range(23):
        manifest = deployment(f"web{number}")
        container = manifest["spec"]["template"]["spec"]["containers"][0]
        container |= {"command": None, "args": None, "image": "redis"}
        specs.append(WorkloadSpec(f"web{number}", manifest, None))
    with pytest.raises(ConfigError, match=r"^Deployment/web0: .* has no command") as caught:
        wanted_namespace(NamespaceSpec("shop", tuple(specs)))
    line = "redis-server --protected-mode no"
    assert f"; the same for Deployment/web1 web ({line}), Deployment/web2 " in caught.value.hint
    assert caught.value.hint.endswith(f"Deployment/web20 web ({line}), 2 more")
    with pytest.raises(ConfigError) as alone:
        wanted_namespace(NamespaceSpec("shop", tuple(specs[:1])))
    assert "web1" not in alone.value.hint


@pytest.mark.parametrize(
    ("volume", "kept"),
    [
        ({"emptyDir": {}}, False),
        ({"hostPath": {"path": "/srv"}}, False),
        ({"persistentVolumeClaim": {"claimName": "data"}}, True),
        ({"ephemeral": {"volumeClaimTemplate": {"spec": {}}}}, False),
    ],
)
def test_claims_keep_data_and_other_volumes_do_not(volume: dict[str, object], kept: bool) -> None:
    manifest = deployment("web")
    manifest["spec"]["template"]["spec"]["volumes"] = [{"name": "data", **volume}]
    assert keeps_data(wanted_namespace(spec(manifest))) is kept
