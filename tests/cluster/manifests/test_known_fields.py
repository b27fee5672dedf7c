"""Misspelt fields are refused, every field of Kubernetes is not."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import parse_workload
from lapdev.cluster.manifests.known_fields import CONTAINER_FIELDS, POD_FIELDS, PROBE_FIELDS
from lapdev.errors import ConfigError


def pod(**changes: Any) -> dict[str, Any]:
    container = {"name": "web", "command": ["sleep", "9"], **changes.pop("container", {})}
    spec = {"containers": [container], **changes}
    return {"kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


@pytest.mark.parametrize(
    ("written", "place", "hint"),
    [
        (pod(container={"livenessProb": {}}), "livenessProb", "did you mean livenessProbe?"),
        (pod(container={"envs": []}), "envs", "did you mean env?"),
        (pod(container={"zzz": 1}), "zzz", "Kubernetes has no such field: remove it"),
        (pod(restartpolicy="Never"), "restartpolicy", "did you mean restartPolicy?"),
        (
            pod(container={"livenessProbe": {"exec": {"command": ["x"]}, "periodSecond": 1}}),
            "periodSecond",
            "did you mean periodSeconds?",
        ),
    ],
)
def test_a_misspelt_field_is_named_with_the_one_that_was_meant(
    written: dict[str, Any], place: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_workload(written)
    assert f"{place}: is not known here" in caught.value.detail
    assert caught.value.hint == hint


@pytest.mark.parametrize("fields", [CONTAINER_FIELDS, POD_FIELDS, PROBE_FIELDS])
def test_what_is_known_is_written_as_kubernetes_writes_it(fields: frozenset[str]) -> None:
    assert all(name.isalpha() and name[0].islower() for name in fields)


def test_what_means_nothing_here_is_no_mistake() -> None:
    unread = {"tty": True, "imagePullPolicy": "Always", "securityContext": {"runAsUser": 1}}
    found = parse_workload(pod(container=unread, nodeSelector={"disk": "ssd"}, tolerations=[]))
    assert found.pod.containers[0].name == "web"
