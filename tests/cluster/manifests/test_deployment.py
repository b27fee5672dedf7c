"""Deployments: what is read, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import ContainerPort, EnvVar, Handler, Probe, parse_workload
from lapdev.errors import ConfigError


def manifest(container: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    containers = [{"name": "web", **(container or {})}]
    return {
        "kind": "Deployment",
        "metadata": {"name": "api"},
        "spec": {
            "template": {
                "metadata": {"labels": {"app": "api"}, "annotations": {"note": "x"}},
                "spec": {"containers": containers, **pod},
            }
        },
    }


def container(**fields: Any) -> Any:
    return parse_workload(manifest(fields)).pod.containers[0]


def test_a_deployment_with_everything_is_read() -> None:
    item = manifest(
        {
            "image": "web:1",
            "command": ["run"],
            "args": ["-v"],
            "env": [{"name": "A", "value": "1"}, {"name": "EMPTY"}],
            "workingDir": "/app",
            "ports": [{"containerPort": 80, "name": "http"}],
            "resources": {"limits": {"cpu": 1}},
        },
        terminationGracePeriodSeconds=5,
    )
    item["spec"]["replicas"] = 3
    parsed = parse_workload(item)
    assert (parsed.name, parsed.replicas, parsed.pod.termination_grace) == ("api", 3, 5.0)
    assert (parsed.pod.labels, parsed.pod.annotations) == ({"app": "api"}, {"note": "x"})
    (web,) = parsed.pod.containers
    assert (web.name, web.image, web.command, web.args) == ("web", "web:1", ("run",), ("-v",))
    assert web.env == (EnvVar("A", "1"), EnvVar("EMPTY"))
    assert web.working_dir == "/app"
    assert web.ports == (ContainerPort(80, "http"),)
    assert web.where == 'Deployment/api: spec.template.spec.containers[0] "web"'


def test_defaults_are_those_of_kubernetes() -> None:
    parsed = parse_workload(manifest())
    assert (parsed.replicas, parsed.pod.termination_grace) == (1, 30.0)
    assert parsed.pod.containers[0].readiness is None


def test_ports_are_found_by_name_and_number() -> None:
    parsed = parse_workload(
        manifest(
            {
                "ports": [
                    {"containerPort": 80, "name": "http"},
                    {"containerPort": 53, "protocol": "UDP"},
                ]
            }
        )
    )
    assert [parsed.pod.port_named(target) for target in ("http", 99, "none")] == [80, 99, None]
    assert parsed.pod.containers[0].tcp_ports() == (80,)


def test_a_field_reference_is_kept_as_a_path() -> None:
    source = {"fieldRef": {"fieldPath": "status.podIP"}}
    assert container(env=[{"name": "IP", "valueFrom": source}]).env == (
        EnvVar("IP", field_path="status.podIP"),
    )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"env": [{"name": "A=B"}]}, "'A=B' is not a variable's name"),
        ({"env": [{"name": "A", "value": "\0"}]}, "NUL"),
        ({"env": [{"name": "A", "value": 1}]}, r"env\[0\]\.value: is int"),
        ({"name": "Web"}, "'Web' is not a name"),
        ({"ports": [{"containerPort": 0}]}, "is 0"),
        ({"command": "run"}, "command: is str, not a list"),
        ({"readinessProbe": {"httpGet": {"port": "none"}}}, "no port is named 'none'"),
    ],
)
def test_a_container_that_cannot_run_here_is_refused(
    fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        container(**fields)
    assert caught.value.detail.startswith("Deployment/api: spec.template.spec.containers[0]")
    assert caught.value.hint


def test_a_pod_needs_containers() -> None:
    with pytest.raises(
        ConfigError, match=r"spec\.template\.spec\.containers: there is no container"
    ):
        parse_workload({"kind": "Deployment", "metadata": {"name": "api"}, "spec": {}})


def test_an_http_probe_is_read_with_its_named_port() -> None:
    probe = {
        "httpGet": {"path": "/up", "port": "http", "httpHeaders": [{"name": "X", "value": "1"}]},
        "initialDelaySeconds": 1,
        "periodSeconds": 2,
        "timeoutSeconds": 3,
        "failureThreshold": 4,
    }
    ports = [{"containerPort": 80, "name": "http"}]
    assert container(ports=ports, readinessProbe=probe).readiness == Probe(
        Handler("http", 80, path="/up", headers=(("X", "1"),)), 1, 2, 3, 1, 4
    )


@pytest.mark.parametrize(
    ("probe", "wanted"),
    [
        ({"tcpSocket": {"port": 5}}, Probe(Handler("tcp", 5))),
        ({"httpGet": {"port": 5, "scheme": "HTTPS"}}, Probe(Handler("tcp", 5))),
        ({"grpc": {"port": 5}}, Probe(Handler("tcp", 5))),
    ],
)
def test_other_probes_ask_less(probe: dict[str, Any], wanted: Probe | None) -> None:
    assert container(readinessProbe=probe).readiness == wanted
