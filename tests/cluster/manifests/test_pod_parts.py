"""Pods: their containers together, and what holds for all of them."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import (
    EmptyDir,
    PodTemplate,
    ResourceField,
    Resources,
    RestartPolicy,
    Volume,
)
from lapdev.cluster.manifests.node import Node
from lapdev.cluster.manifests.pod_parts import parse_pod
from lapdev.errors import ConfigError

ALL = tuple(RestartPolicy)


def pod(*containers: dict[str, Any], restarts: Any = ALL, **spec: Any) -> PodTemplate:
    named = [{"name": f"c{index}", **found} for index, found in enumerate(containers)]
    template = {"metadata": {}, "spec": {"containers": named or [{"name": "c0"}], **spec}}
    return parse_pod(Node(template, "Pod/x:"), restarts)


def port(number: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"ports": [{"containerPort": number, "protocol": protocol}]}


def test_the_pods_own_fields_are_read() -> None:
    found = pod(
        hostAliases=[{"ip": "::1", "hostnames": ["db", "a_b.c"]}],
        hostname="box",
        subdomain="sub",
        restartPolicy="Never",
        terminationGracePeriodSeconds=0,
        volumes=[{"name": "v"}],
        securityContext={"runAsUser": 1},
    )
    assert found.host_aliases == (("::1", ("db", "a_b.c")),)
    assert (found.hostname, found.subdomain) == ("box", "sub")
    assert (found.restart, found.termination_grace) == (RestartPolicy.NEVER, 0.0)
    assert found.volumes == (Volume("v", EmptyDir()),)


def test_defaults_are_those_of_kubernetes() -> None:
    found = pod()
    assert (found.restart, found.termination_grace) == (RestartPolicy.ALWAYS, 30.0)
    assert (found.hostname, found.labels, found.init_containers) == ("", {}, ())


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"containers": []}, "there is no container"),
        ({"hostAliases": [{"ip": "db"}]}, r"hostAliases\[0\]\.ip: 'db' is not an address"),
        ({"hostAliases": [{"ip": "::1", "hostnames": ["a b"]}]}, "'a b' is not a host name"),
        ({"hostname": "A"}, "'A' is not a name"),
        ({"restartPolicy": "Sometimes"}, "is 'Sometimes'"),
        ({"terminationGracePeriodSeconds": -1}, "is -1"),
        (
            {"initContainers": [{"name": "c0"}]},
            r"containers\[0\]\.name: name 'c0' is at spec\.initContainers\[0\]\.name already",
        ),
    ],
)
def test_what_makes_no_pod_is_refused(spec: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        pod(**spec)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({}, r"spec\.restartPolicy: is not written, which means Always"),
        ({"restartPolicy": "Always"}, r"spec\.restartPolicy: is Always"),
    ],
)
def test_what_ends_may_not_restart_always(written: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        pod(restarts=(RestartPolicy.ON_FAILURE, RestartPolicy.NEVER), **written)
    assert caught.value.hint == "write OnFailure or Never"


def test_two_containers_cannot_have_one_port() -> None:
    with pytest.raises(
        ConfigError, match=r'containers\[1\] "c1": port 80/TCP is taken: containers c0 and c1'
    ):
        pod(port(80), port(80))
    sidecar = {"name": "proxy", "restartPolicy": "Always", **port(80)}
    with pytest.raises(ConfigError, match="containers proxy and c0"):
        pod(port(80), initContainers=[sidecar])


def test_ports_that_do_not_meet_are_fine() -> None:
    init = {"name": "init", **port(80)}
    twice = {"ports": [{"containerPort": 80, "name": "a"}, {"containerPort": 80, "name": "b"}]}
    assert len(pod(twice, port(80, "UDP"), initContainers=[init]).all_containers()) == 3


def told(container: str) -> dict[str, Any]:
    field = {"containerName": container, "resource": "limits.memory"}
    return {"env": [{"name": "M", "valueFrom": {"resourceFieldRef": field}}]}


def test_a_resource_field_knows_its_container() -> None:
    found = pod(told("c1"), {"resources": {"limits": {"memory": "1Ki"}}})
    assert found.containers[0].env[0].resource == ResourceField(
        "limits.memory", "c1", "1", Resources(memory_limit=1024, memory_request=1024)
    )
    assert pod(told("")).containers[0].env[0].resource is not None
    with pytest.raises(ConfigError, match="M refers to container 'c9', which is not there"):
        pod(told("c9"))


def test_a_command_is_annotated_for_a_container_there_is() -> None:
    annotations = {"local.lapdev.dev/command.c9": "x", "local.lapdev.dev/commands": "y"}
    template = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "c0"}]}}
    with pytest.raises(
        ConfigError, match=r"local\.lapdev\.dev/command\.c9: there is no container 'c9'"
    ) as caught:
        parse_pod(Node(template, "Pod/x:"), ALL)
    assert caught.value.hint == "name one of: c0"
