"""Several files as one project: overrides, `extends`, `include`, `.env`."""

from __future__ import annotations

import pytest

from lapdev.errors import ConfigError
from tests.cluster.compose.projects import (
    FOLDER,
    accepted,
    container,
    env_of,
    hosts,
    parsed_container,
    project,
)

BASE = """
    services:
      web:
        image: shop
        command: serve
        environment: [A=1, B=1]
        ports: ["80"]
    """


def test_an_override_changes_what_it_names() -> None:
    found = project(
        BASE,
        """
        services:
          web:
            command: serve --reload
            environment: {B: 2}
            ports: !override ["81"]
          extra: {command: more}
        """,
    )
    web = container(found, "web")
    assert web["command"] == ["serve", "--reload"]
    assert env_of(web) == {"A": "1", "B": "2"}
    assert web["ports"] == [{"containerPort": 81}]
    assert container(found, "extra")["command"] == ["more"]


def test_a_mistake_in_an_override_is_told_by_its_own_line() -> None:
    with pytest.raises(ConfigError, match=r"^compose\.override\.yaml:2: services\.web\.ports\[1\]"):
        project(BASE, "services:\n  web: {ports: [x]}\n")


def test_relative_paths_of_an_override_start_at_the_first_file() -> None:
    found = project(BASE, "services: {web: {volumes: ['./data:/data']}}")
    (workload,) = accepted(found).workloads
    assert f"{FOLDER}/data" in repr(workload.pod.volumes)


# extends

COMMON = """
services:
  base:
    image: shop
    command: serve
    build: ./app
    environment: {A: 1, LEVEL: info}
    env_file: vars.env
    labels: {a: b}
  worker:
    extends: base
    command: work
"""


def test_a_service_extends_one_of_the_same_file() -> None:
    found = project(
        """
        services:
          web: {extends: {service: base}, environment: {A: 2}}
          base: {command: serve, environment: {A: 1, B: 1}}
        """
    )
    assert container(found, "web")["command"] == ["serve"]
    assert env_of(container(found, "web")) == {"A": "2", "B": "1"}


def test_a_service_extends_one_of_another_file_whose_paths_start_there() -> None:
    found = project(
        """
        services:
          web: {extends: {file: shared/common.yaml, service: worker}, environment: [LEVEL=debug]}
        """,
        files={"shared/common.yaml": COMMON, "shared/vars.env": "V=1\n"},
    )
    web = container(found, "web")
    assert web["command"] == ["work"]
    assert web["workingDir"] == f"{FOLDER}/shared/app"
    assert env_of(web) == {"V": "1", "A": "1", "LEVEL": "debug"}
    assert f"{FOLDER}/shared/common.yaml" in found.files


def test_a_service_keeps_its_turn_when_it_extends() -> None:
    found = project("services: {a: {extends: b, expose: [1]}, b: {command: x}, c: {command: y}}")
    (workload,) = accepted(found).workloads
    assert [c.name for c in workload.pod.containers] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("services: {a: {extends: a}}", "extends itself in a circle"),
        ("services: {a: {extends: b}, b: {extends: a}}", "extends itself in a circle"),
        ("services: {a: {extends: nobody}}", "there is no service 'nobody'"),
        ("services: {a: {extends: {file: gone.yaml, service: x}}}", "there is no file"),
        ("services: {a: {extends: {file: other.yaml, service: x}}}", "there is no service 'x'"),
        ("services: {a: {extends: {from: x}}}", "there is no such key"),
        ("services: {a: {extends: 5}}", "is a number"),
        ("include: [gone.yaml]", "there is no file"),
        ("include: [compose.yaml]", "includes itself in a circle"),
        ("include: [circle.yaml]", "includes itself in a circle"),
        ("include: [{path: []}]", "names no file"),
        ("include: [other.yaml]\nservices: {b: {command: c}}", "services.b of the included file"),
        ("include: other.yaml", "is text, not a list"),
    ],
)
def test_a_wrong_reference_is_refused(text: str, problem: str) -> None:
    files = {
        "other.yaml": "services: {b: {command: b}}",
        "circle.yaml": "include: [circle.yaml]",
        "compose.yaml": text,
    }
    with pytest.raises(ConfigError) as caught:
        project(text, files=files)
    assert problem in caught.value.detail
    assert caught.value.hint


# include


def test_an_included_project_has_its_own_folder_and_variables() -> None:
    found = project(
        """
        include:
          - db/compose.yaml
          - {path: [cache/one.yaml, cache/two.yaml], project_directory: ., env_file: cache/vars}
        services:
          web: {command: serve, depends_on: [db]}
        """,
        files={
            "db/compose.yaml": "services: {db: {command: $CMD, env_file: [x.env]}}",
            "db/.env": "CMD=postgres\n",
            "db/x.env": "X=1\n",
            "cache/one.yaml": "services: {cache: {command: $CMD, build: .}}",
            "cache/two.yaml": "services: {cache: {environment: [B=2]}}",
            "cache/vars": "CMD=redis-server\n",
        },
    )
    assert container(found, "db")["command"] == ["postgres"]
    assert env_of(container(found, "db")) == {"X": "1"}
    assert container(found, "cache")["command"] == ["redis-server"]
    assert container(found, "cache")["workingDir"] == FOLDER
    assert env_of(container(found, "cache")) == {"B": "2"}


def test_the_same_included_twice_is_no_conflict() -> None:
    found = project(
        "include: [other.yaml, other.yaml]\nservices: {web: {command: x}}",
        files={"other.yaml": "services: {b: {command: b, ports: ['80']}}"},
    )
    assert hosts(found) == {"b": {"/": ("b", 80)}}


# Variables


def test_the_environment_wins_over_the_env_file_beside_the_project() -> None:
    text = "services: {web: {command: 'serve $A $B'}}"
    found = project(text, files={".env": "A=file\nB=file\n"}, environ={"A": "environment"})
    assert parsed_container(found, "web").command == ("serve", "environment", "file")
    assert found.files == (f"{FOLDER}/.env",)


def test_a_variable_that_is_not_set_is_told_once() -> None:
    found = project("services: {web: {command: 'serve $NO $NO', image: '${NO}'}}")
    assert found.notes == (
        "compose.yaml:1: services.web.command: variable NO is not set: nothing stands in its place",
    )
