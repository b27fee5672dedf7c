"""The pod's containers, and the Services in front of them."""

from __future__ import annotations

from tests.cluster.compose.projects import (
    accepted,
    container,
    of_kind,
    one,
    pod_spec,
    project,
    service,
)


def test_a_check_is_asked_often_at_first_and_never_ends_the_container() -> None:
    found = service("command: x\nhealthcheck: {test: [CMD, ok], interval: 1m30s, timeout: 3s}")
    assert found["startupProbe"] == {
        "exec": {"command": ["ok"]},
        "periodSeconds": 2,
        "timeoutSeconds": 3,
        "failureThreshold": 1000,
    }
    assert found["readinessProbe"] == {
        "exec": {"command": ["ok"]},
        "periodSeconds": 90,
        "timeoutSeconds": 3,
        "failureThreshold": 3,
    }
    assert "livenessProbe" not in found


def test_a_start_interval_is_kept() -> None:
    found = service("command: x\nhealthcheck: {test: ok, start_interval: 5s, start_period: 1m}")
    assert found["startupProbe"]["periodSeconds"] == 5


def test_nobody_waits_for_the_health_of_what_has_only_to_be_started() -> None:
    found = project(
        """
        services:
          web: {command: x, depends_on: {proxy: {condition: service_started}}}
          proxy: {command: y, healthcheck: {test: ask-web, interval: 30s}}
        """
    )
    proxy = container(found, "proxy")
    assert "startupProbe" not in proxy
    assert proxy["readinessProbe"]["periodSeconds"] == 5
    (workload,) = accepted(found).workloads
    assert [c.name for c in workload.pod.init_containers] == ["proxy"]


def test_a_service_with_ports_has_a_service_in_front_of_it() -> None:
    found = project(
        """
        name: shop
        services:
          a_b: {command: x, ports: ["8080:80", "5432:5432"], expose: [9000]}
          quiet: {command: y}
        """
    )
    (only,) = of_kind(found, "Service")
    assert only["metadata"]["name"] == "a-b"
    assert only["spec"]["selector"] == {"app": "shop"}
    assert [
        (port["port"], port["targetPort"], port.get("appProtocol", ""))
        for port in only["spec"]["ports"]
    ] == [(80, 80, ""), (5432, 5432, "tcp"), (9000, 9000, "")]
    assert only["metadata"]["annotations"] == {"lapdev.dev/tcp-preview": "5432"}
    accepted(found)


def test_what_belongs_to_the_pod_does_not_depend_on_who_starts_first() -> None:
    text = """
        services:
          a: {command: x, volumes: ["./one:/x"], depends_on: [b]}
          b: {command: y, volumes: ["./two:/x"]}
          c: {command: z, profiles: [late]}
        """
    plain, late = project(text), project(text.replace("depends_on: [b]", ""), profiles=["late"])
    for name in ("hostAliases", "volumes"):
        assert pod_spec(plain)[name] == pod_spec(late)[name]


def test_an_image_is_named_even_where_it_is_built() -> None:
    found = project("name: shop\nservices: {web: {build: ., command: x}}")
    assert container(found, "web")["image"] == "shop-web"
    spec = one(found, "Deployment")["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
