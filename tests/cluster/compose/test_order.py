"""`depends_on` as a pod's init containers, sidecars and containers."""

from __future__ import annotations

import pytest

from lapdev.errors import ConfigError
from tests.cluster.compose.projects import Conversion, accepted, container, project


def shape(found: Conversion) -> tuple[list[str], list[str]]:
    (workload,) = accepted(found).workloads
    pod = workload.pod
    return [c.name for c in pod.init_containers], [c.name for c in pod.containers]


@pytest.mark.parametrize(
    ("services", "init", "containers"),
    [
        # In no relation: the file's order.
        ("b: {command: x}\na: {command: x}", [], ["b", "a"]),
        # A server that others ask for comes before them, and stays.
        (
            "web: {command: x, depends_on: [db]}\ndb: {command: y, expose: [1]}",
            ["db"],
            ["web"],
        ),
        # Who may end by itself is only ordered.
        ("web: {command: x, depends_on: [seed]}\nseed: {command: y}", [], ["seed", "web"]),
        (
            "web: {command: x, depends_on: [db]}\ndb: {command: y, restart: always}",
            ["db"],
            ["web"],
        ),
        (
            "web: {command: x, depends_on: [db]}\ndb: {command: y, expose: [1], restart: 'no'}",
            [],
            ["db", "web"],
        ),
        # What has to be healthy comes first, with all it needs itself.
        (
            """
            web: {command: x, depends_on: {api: {condition: service_healthy}}}
            api: {command: x, healthcheck: {test: ok}, depends_on: [log]}
            log: {command: x}
            """,
            ["log", "api"],
            ["web"],
        ),
        # One-time services.
        (
            """
            web: {command: x, depends_on: {one: {condition: service_completed_successfully}}}
            one: {command: x}
            """,
            ["one"],
            ["web"],
        ),
        (
            "web: {command: x, depends_on: [one]}\none: {command: x, x-lapdev: {one-time: true}}",
            ["one"],
            ["web"],
        ),
        ("web: {command: x}\none: {command: x, x-lapdev: {one-time: true}}", [], ["web", "one"]),
        # What need not be there, and is not.
        (
            "web: {command: x, depends_on: {db: {condition: service_started, required: false}}}",
            [],
            ["web"],
        ),
    ],
)
def test_the_order(services: str, init: list[str], containers: list[str]) -> None:
    indented = "".join(f"  {line.strip()}\n" for line in services.strip().split("\n"))
    assert shape(project(f"services:\n{indented}")) == (init, containers)


@pytest.mark.parametrize(
    ("services", "problem", "hint"),
    [
        ("a: {command: x, depends_on: [a]}", "depends on itself: a → a", "leave one"),
        (
            "a: {command: x, depends_on: [b]}\n  b: {command: x, depends_on: [c]}"
            "\n  c: {command: x, depends_on: [b]}",
            "depends on itself: b → c → b",
            "leave one",
        ),
        ("a: {command: x, depends_on: [web]}\n  wep: {command: x}", "which is no service", "'wep'"),
        (
            "a: {command: x, depends_on: [b]}\n  b: {command: x, profiles: [late]}",
            "depends on 'b', which is not active",
            "--profile",
        ),
        (
            "a: {command: x, depends_on: {b: {condition: service_healthy}}}\n  b: {command: x}",
            "waits for 'b' to be healthy, which has no healthcheck",
            "healthcheck",
        ),
    ],
)
def test_an_impossible_order_is_refused(services: str, problem: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        project(f"services:\n  {services}\n")
    assert problem in caught.value.detail
    assert caught.value.detail.startswith("compose.yaml:")
    assert hint in caught.value.hint


def test_a_server_that_ends_by_itself_is_told_what_becomes_of_it() -> None:
    found = project(
        """
        services:
          web: {command: x, depends_on: {db: {condition: service_healthy}}}
          db: {command: x, restart: on-failure, healthcheck: {test: ok}}
        """
    )
    assert any("'web' wait for it" in note and "one-time" in note for note in found.notes)


def test_what_has_no_healthcheck_is_healthy_when_it_listens() -> None:
    found = project(
        """
        services:
          web:
            command: x
            depends_on: {db: {condition: service_healthy}, q: {condition: service_healthy}}
          db: {image: "postgres:15", command: y}
          q: {command: z, expose: [7]}
        """
    )
    assert container(found, "db")["startupProbe"]["tcpSocket"] == {"port": 5432}
    assert container(found, "q")["startupProbe"]["tcpSocket"] == {"port": 7}
