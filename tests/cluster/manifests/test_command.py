"""Commands and environments of containers."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import PodFacts, expand, local_command, parse_workload, pod_env
from lapdev.errors import ConfigError
from tests.cluster.manifests import test_deployment

FACTS = PodFacts("api-x", "shop", "198.18.0.2", "198.18.0.1", {"app": "api"}, {"note": "n"})


def words(
    annotations: dict[str, str], env: dict[str, str] | None = None, **fields: Any
) -> list[str]:
    item = test_deployment.manifest(fields)
    item["spec"]["template"]["metadata"]["annotations"] = annotations
    deployment = parse_workload(item)
    return local_command(deployment, deployment.pod.containers[0], env, python="/opt/python")


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


def test_command_and_arguments_are_joined_and_expanded() -> None:
    assert words({}, {"P": "80"}, command=["run", "-p"], args=["$(P)", "${P}"]) == [
        "run",
        "-p",
        "80",
        "${P}",
    ]


@pytest.mark.parametrize("name", ["local.lapdev.dev/command", "local.lapdev.dev/command.web"])
def test_an_annotation_takes_the_place_of_command_and_arguments(name: str) -> None:
    found = words({name: "python3 'my app.py' ${P} $(P)"}, {"P": "80"}, command=["x"], args=["y"])
    assert found == ["python3", "my app.py", "80", "80"]


def test_an_annotation_may_be_a_json_list() -> None:
    assert words({"local.lapdev.dev/command": '["sh", "-c", "echo ${A}"]'}) == [
        "sh",
        "-c",
        "echo ${A}",
    ]


def test_the_short_annotation_speaks_for_a_single_container_only() -> None:
    item = test_deployment.manifest({"command": ["a"]})
    item["spec"]["template"]["spec"]["containers"].append({"name": "b", "command": ["b"]})
    item["spec"]["template"]["metadata"]["annotations"] = {"local.lapdev.dev/command": "c"}
    deployment = parse_workload(item)
    assert [local_command(deployment, each) for each in deployment.pod.containers] == [["a"], ["b"]]


@pytest.mark.parametrize("text", ["", "'open", "[1]", "[", "[]"])
def test_an_annotation_that_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"annotation local\.lapdev\.dev/command is not a command"
    ):
        words({"local.lapdev.dev/command": text})


def test_a_container_without_command_says_what_to_add() -> None:
    with pytest.raises(ConfigError, match='"web": has no command') as caught:
        words({}, args=["-v"])
    assert "local.lapdev.dev/command.web" in caught.value.hint


def test_lapdevs_own_python_runs_only_where_it_is_asked_for() -> None:
    asked = {"local.lapdev.dev/python": "lapdev"}
    assert words(asked, command=["python3", "python3"]) == ["/opt/python", "python3"]
    assert words(asked, command=["sh"]) == ["sh"]
    assert words({}, command=["python3"]) == ["python3"]


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
        ("metadata.labels['app']", "api"),
        ("metadata.annotations['note']", "n"),
        ("metadata.labels['none']", ""),
    ],
)
def test_the_downward_api_tells_about_the_pod(path: str, wanted: str) -> None:
    assert environment(field(path))["F"] == wanted


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"F refers to field 'status\.phase'"):
        environment(field("status.phase"))
