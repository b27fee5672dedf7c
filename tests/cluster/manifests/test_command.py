"""Commands and environments of containers."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import local_command, parse_workload
from lapdev.errors import ConfigError
from tests.cluster.manifests import test_deployment


def words(
    annotations: dict[str, str], env: dict[str, str] | None = None, **fields: Any
) -> list[str]:
    item = test_deployment.manifest(fields)
    item["spec"]["template"]["metadata"]["annotations"] = annotations
    deployment = parse_workload(item)
    return local_command(deployment, deployment.pod.containers[0], env, python="/opt/python")


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


def without_command(kind: str, **fields: Any) -> str:
    """The hint."""
    item = test_deployment.manifest(fields)
    item["kind"] = kind
    if kind == "CronJob":
        item["spec"] = {"schedule": "@daily", "jobTemplate": {"spec": item["spec"]}}
        item["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    if kind == "Pod":
        item["spec"] = item["spec"]["template"]["spec"]
    workload = parse_workload(item)
    with pytest.raises(ConfigError, match='"web": has no command') as caught:
        local_command(workload, workload.pod.containers[0])
    return caught.value.hint


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("Deployment", "in spec.template.metadata.annotations of Deployment/api"),
        ("CronJob", "in spec.jobTemplate.spec.template.metadata.annotations of CronJob/api"),
        ("Pod", "in metadata.annotations of Pod/api"),
    ],
)
def test_the_place_of_the_annotation_is_said_for_every_kind(kind: str, place: str) -> None:
    assert place in without_command(kind)


def test_a_well_known_image_gets_its_whole_line() -> None:
    hint = without_command("Deployment", image="redis:7", args=["--save", ""])
    line = "redis-server --save '' --protected-mode no"
    assert hint.startswith(f'annotate: local.lapdev.dev/command.web: "{line}" (in spec.template')


def test_init_containers_have_the_same_annotations_by_name() -> None:
    item = test_deployment.manifest({"command": ["a"]}, initContainers=[{"name": "init"}])
    item["spec"]["template"]["metadata"]["annotations"] = {
        "local.lapdev.dev/command.init": "migrate up",
        "local.lapdev.dev/command": "serve",
    }
    workload = parse_workload(item)
    commands = [local_command(workload, each) for each in workload.pod.all_containers()]
    assert commands == [["migrate", "up"], ["serve"]]
