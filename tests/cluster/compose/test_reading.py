"""Services with all they may say."""

from __future__ import annotations

import pytest

from lapdev.cluster.compose.keys import IGNORED, SILENT
from lapdev.errors import ConfigError
from tests.cluster.compose.projects import (
    accepted,
    container,
    env_of,
    one,
    pod_spec,
    project,
    service,
)


def test_the_environment_comes_from_files_and_variables() -> None:
    found = service(
        """
        command: x
        env_file:
          - a.env
          - {path: b.env}
          - {path: gone.env, required: false}
          - {path: raw.env, format: raw}
        environment: {A: own, SHELL_ONE: , UNSET: , N: 5, T: true, F: 1.0, EMPTY: ""}
        """,
        files={"a.env": "A=1\nB=1\nUNSET=x\n", "b.env": "B=2\nC=$B$OUT\n", "raw.env": "R='$x'\n"},
        environ={"SHELL_ONE": "s", "OUT": "!"},
    )
    assert env_of(found) == {
        "A": "own", "B": "2", "C": "2!", "R": "'$x'", "SHELL_ONE": "s",
        "N": "5", "T": "true", "F": "1", "EMPTY": "",
    }  # fmt: skip


def test_limits_in_either_place() -> None:
    found = service(
        """
        command: x
        deploy: {resources: {limits: {cpus: '0.5', memory: 64M}, reservations: {memory: 32M}}}
        """
    )
    assert found["resources"] == {
        "limits": {"cpu": "500m", "memory": str(64 * 2**20)},
        "requests": {"memory": str(32 * 2**20)},
    }
    found = service("command: x\nmem_limit: 1g\ncpus: 2\nmem_reservation: 1m")
    assert found["resources"]["limits"] == {"cpu": "2000m", "memory": str(2**30)}


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("command: x", "OnFailure"),
        ("command: x\nrestart: always", "Always"),
        ("command: x\nrestart: unless-stopped", "Always"),
        ("command: x\nrestart: on-failure:3", "OnFailure"),
        ("command: x\nrestart: no", "Never"),
        ('command: x\nrestart: "no"', "Never"),
        ("command: x\ndeploy: {restart_policy: {condition: none}}", "Never"),
        ("command: x\ndeploy: {restart_policy: {condition: any}}", "Always"),
    ],
)
def test_restarts(text: str, policy: str) -> None:
    assert service(text)["restartPolicy"] == policy


def test_names_that_lead_to_a_service() -> None:
    found = project(
        """
        services:
          web:
            command: x
            container_name: shop-web
            hostname: www
            networks: {front: {aliases: [front.local, app_server, -bad]}}
            extra_hosts: ["other:10.0.0.1", "six=[::1]", "host.docker.internal:host-gateway"]
            links: ["db:database"]
          a_b: {command: y, extra_hosts: {third: 10.0.0.1}}
          db: {command: z}
        """
    )
    aliases = {entry["ip"]: entry["hostnames"] for entry in pod_spec(found)["hostAliases"]}
    names = {"web", "shop-web", "www", "front.local", "a-b", "a_b", "db", "database"}
    assert names <= set(aliases["127.0.0.1"])
    assert "app_server" in aliases["127.0.0.1"]
    assert aliases["10.0.0.1"] == ["other", "third"]
    assert aliases["::1"] == ["six"]
    accepted(found)
    assert any("host.docker.internal" in note for note in found.notes)
    assert any("'-bad' is not a host name" in note for note in found.notes)


def test_labels_become_annotations_of_the_service() -> None:
    found = project(
        """
        services:
          web:
            command: x
            ports: ["80"]
            labels: ["traefik.enable=true", "not a key=1", "lapdev.dev/preview=true"]
        """
    )
    annotations = one(found, "Service")["metadata"]["annotations"]
    assert annotations == {"traefik.enable": "true", "lapdev.dev/preview": "true"}


def test_what_means_nothing_here_is_told_in_one_line_per_service() -> None:
    found = project(
        """
        services:
          web:
            command: x
            privileged: true
            cap_add: [ALL]
            user: root
            network_mode: host
            stop_signal: SIGINT
            tty: true
            init: true
            logging: {driver: none}
        """
    )
    assert found.notes == (
        "compose.yaml:4: services.web: ignored: privileged, cap_add, user, network_mode,"
        " stop_signal SIGINT (SIGTERM is sent)",
    )


@pytest.mark.parametrize("key", sorted(IGNORED | SILENT))
def test_every_key_of_the_specification_is_accepted(key: str) -> None:
    assert service(f"command: x\n{key}: true")["name"] == "web"


def test_hooks_and_the_time_to_stop() -> None:
    found = project(
        """
        services:
          web: {command: x, stop_grace_period: 1m30s, pre_stop: [{command: bye}]}
          api: {command: y, stop_grace_period: 5s}
        """
    )
    assert pod_spec(found)["terminationGracePeriodSeconds"] == 90
    assert container(found, "web")["lifecycle"] == {"preStop": {"exec": {"command": ["bye"]}}}
    accepted(found)


def test_a_service_scaled_to_nothing_is_not_there() -> None:
    found = project("services: {a: {command: x, scale: 0}, b: {command: y}}")
    (workload,) = accepted(found).workloads
    assert [c.name for c in workload.pod.containers] == ["b"]


def test_profiles_choose_services() -> None:
    text = """
        services:
          web: {command: x}
          debug: {command: y, profiles: [debug, all]}
          test: {command: z, profiles: test}
        """
    for profiles, variables, expected in (
        ([], {}, ["web"]),
        (["debug"], {}, ["web", "debug"]),
        ([], {"COMPOSE_PROFILES": "test, all"}, ["web", "debug", "test"]),
        (["*"], {}, ["web", "debug", "test"]),
    ):
        found = project(text, profiles=profiles, environ=variables)
        assert [c["name"] for c in pod_spec(found)["containers"]] == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("restart: sometimes", "is no restart policy"),
        ("restart: on-failure:x", "is no restart policy"),
        ("deploy: {restart_policy: {condition: x}}", "is no condition"),
        ("deploy: {replica: 1}", "there is no such key"),
        ("depends_on: {db: {condition: ready}}", "is no condition"),
        ("depends_on: {db: {wait: true}}", "there is no such key"),
        ("env_file: gone.env", "there is no file"),
        ("environment: {'A=B': 1}", "is not a variable's name"),
        ("environment: ['=1']", "is not a variable's name"),
        ("extra_hosts: [a]", "is no address"),
        ("extra_hosts: ['a:b c']", "is no address"),
        ("mem_limit: much", "is not a size"),
        ("environment: [A=1, {B: 2}]", r"environment\[1\]: is no text"),
        ("environment: 5", "is a number, not a mapping"),
        ('environment: {A: "a\\0b"}', "NUL"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        service(f"command: x\n{text}")
    assert caught.value.detail.startswith("compose.yaml:4: services.web.")
    assert caught.value.hint
