"""Containers as written."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import (
    Container,
    ContainerPort,
    EnvFrom,
    Handler,
    Mount,
    Probe,
    Resources,
    RestartPolicy,
)
from lapdev.cluster.manifests.container_parts import parse_container
from lapdev.cluster.manifests.node import Node
from lapdev.errors import ConfigError


def container(*, init: bool = False, **fields: Any) -> Container:
    return parse_container(Node({"name": "web", **fields}, "Pod/x: c[0]"), {"data"}, init=init)


def test_everything_a_container_says_is_read() -> None:
    probe = {"tcpSocket": {"port": "dns"}}
    found = container(
        workingDir="/srv/",
        ports=[{"containerPort": 53, "name": "dns", "protocol": "UDP"}],
        envFrom=[{"secretRef": {"name": "s"}}],
        startupProbe=probe,
        readinessProbe=probe,
        livenessProbe=probe,
        lifecycle={
            "postStart": {"exec": {"command": ["a"]}},
            "preStop": {"sleep": {"seconds": 1}},
        },
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
        resources={"limits": {"cpu": 1}},
        restartPolicy="Never",
        tty=True,
    )
    asked = Probe(Handler("tcp", 53))
    assert found == Container(
        "web",
        'Pod/x: c[0] "web"',
        env_from=(EnvFrom("Secret", "s"),),
        working_dir="/srv",
        ports=(ContainerPort(53, "dns", "UDP"),),
        startup=asked,
        readiness=asked,
        liveness=asked,
        post_start=Handler("exec", command=("a",)),
        pre_stop=Handler("sleep", seconds=1.0),
        mounts=(Mount("data", "/data"),),
        resources=Resources(1.0, None, 1.0),
        restart=RestartPolicy.NEVER,
    )
    assert found.tcp_ports() == ()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"ports": [{"containerPort": 1, "protocol": "tcp"}]}, "is 'tcp'"),
        ({"restartPolicy": ""}, "restartPolicy: is ''"),
        ({"workingDir": "srv"}, "'srv' is not an absolute path"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/x"}]}, r'"web": volumeMounts\[0\]\.name'),
        ({"lifecycle": []}, "lifecycle: is list, not a mapping"),
    ],
)
def test_what_makes_no_container_is_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        container(**fields)
    assert caught.value.hint


@pytest.mark.parametrize("field", ["startupProbe", "readinessProbe", "livenessProbe", "lifecycle"])
def test_nobody_asks_a_container_that_ends(field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field}: an init container ends before"):
        container(init=True, **{field: {}})


def test_a_native_sidecar_is_asked() -> None:
    found = container(
        init=True, restartPolicy="Always", readinessProbe={"exec": {"command": ["a"]}}
    )
    assert (found.restart, found.readiness is not None) == (RestartPolicy.ALWAYS, True)
