"""What a container's environment is."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import (
    ConfigObject,
    Configs,
    PodFacts,
    expand,
    parse_workload,
    pod_env,
)
from lapdev.errors import ConfigError
from tests.cluster.manifests import test_deployment

FACTS = PodFacts(
    "api-x", "shop", "198.18.0.2", "198.18.0.1", {"app": "api"}, {"note": "n"}, 4.0, 2**30
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a $(X) b", "a 1 b"),
        ("$(X)$(X)", "11"),
        ("$(NONE)", "$(NONE)"),
        ("$$(X)", "$(X)"),
        ("$$$(X)", "$1"),
        ("$$", "$"),
        ("$X ${X} $", "$X ${X} $"),
        ("$(X", "$(X"),
    ],
)
def test_references_expand_as_in_kubernetes(text: str, wanted: str) -> None:
    assert expand(text, {"X": "1"}) == wanted


def environment(*variables: dict[str, Any]) -> dict[str, str]:
    deployment = parse_workload(test_deployment.manifest({"env": list(variables)}))
    return pod_env(deployment.pod.containers[0], FACTS, {"API_SERVICE_HOST": "10.0.0.1"}, {})


def field(path: str) -> dict[str, Any]:
    return {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": path}}}


def test_variables_see_services_and_those_before_them() -> None:
    assert environment(
        {"name": "A", "value": "$(API_SERVICE_HOST):$(B)"}, {"name": "B", "value": "$(A)"}
    ) == {"API_SERVICE_HOST": "10.0.0.1", "A": "10.0.0.1:$(B)", "B": "10.0.0.1:$(B)"}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("metadata.name", "api-x"),
        ("metadata.namespace", "shop"),
        ("status.podIP", "198.18.0.2"),
        ("status.hostIP", "198.18.0.1"),
        ("status.hostIPs", "198.18.0.1"),
        ("spec.nodeName", "local"),
        ("metadata.labels['app']", "api"),
        ("metadata.annotations['note']", "n"),
        ("metadata.labels['none']", ""),
    ],
)
def test_the_downward_api_tells_about_the_pod(path: str, wanted: str) -> None:
    assert environment(field(path))["F"] == wanted


CONFIGS: Configs = {
    ("ConfigMap", "conf"): ConfigObject(
        "ConfigMap", "conf", {"A": b"1", "b.c": b"$(A)", "9x": b"no name", "bin": b"\xff"}
    ),
    ("Secret", "keys"): ConfigObject("Secret", "keys", {"A": b"s", "cert": b"\xff", "nul": b"\0"}),
}


def from_configs(*env: dict[str, Any], sources: Any = ()) -> dict[str, str]:
    fields = {"env": list(env), "envFrom": list(sources)}
    container = parse_workload(test_deployment.manifest(fields)).pod.containers[0]
    return pod_env(container, FACTS, {}, CONFIGS)


def key(kind: str, name: str, entry: str, *, optional: bool = False) -> dict[str, Any]:
    return {"name": "K", "valueFrom": {kind: {"name": name, "key": entry, "optional": optional}}}


def test_entries_that_can_be_variables_are_taken_as_they_are() -> None:
    source = {"configMapRef": {"name": "conf"}}
    assert from_configs(sources=[source]) == {"A": "1", "b.c": "$(A)"}
    prefixed = from_configs(sources=[{**source, "prefix": "X_"}])
    assert prefixed == {"X_A": "1", "X_b.c": "$(A)", "X_9x": "no name"}


def test_later_sources_win_and_variables_over_all() -> None:
    conf, keys = {"configMapRef": {"name": "conf"}}, {"name": "A", "value": "own $(A)"}
    assert from_configs(keys, sources=[conf])["A"] == "own 1"
    none = {"secretRef": {"name": "none", "optional": True}}
    assert from_configs(sources=[conf, none])["A"] == "1"


def test_one_entry_becomes_a_variable() -> None:
    assert from_configs(key("secretKeyRef", "keys", "A")) == {"K": "s"}
    assert from_configs(key("secretKeyRef", "keys", "none", optional=True)) == {}
    assert from_configs(key("secretKeyRef", "none", "A", optional=True)) == {}


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        (key("secretKeyRef", "none", "A"), '"web": K: refers to Secret/none, which is not there'),
        (key("secretKeyRef", "keys", "B"), "\"web\": K: Secret/keys has no key 'B'"),
        (key("secretKeyRef", "keys", "cert"), "K: Secret/keys key 'cert' is not text"),
        (key("secretKeyRef", "keys", "nul"), "K: Secret/keys key 'nul' is not text"),
    ],
)
def test_what_is_missing_or_no_text_is_refused(reference: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        from_configs(reference)
    assert caught.value.hint


def test_all_of_a_secret_has_to_be_text() -> None:
    with pytest.raises(ConfigError, match="envFrom: Secret/keys key 'cert' is not text"):
        from_configs(sources=[{"secretRef": {"name": "keys"}}])


def test_a_container_learns_what_it_may_use_or_what_the_machine_has() -> None:
    def told(resource: str, divisor: str = "1") -> dict[str, Any]:
        field = {"resource": resource, "divisor": divisor}
        return {"name": resource, "valueFrom": {"resourceFieldRef": field}}

    env = [told("limits.cpu"), told("limits.memory", "1Mi"), told("requests.cpu", "1m")]
    fields = {"env": env, "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "50m"}}}
    container = parse_workload(test_deployment.manifest(fields)).pod.containers[0]
    assert pod_env(container, FACTS, {}, {}) == {
        "limits.cpu": "4",
        "limits.memory": "64",
        "requests.cpu": "50",
    }
