"""Two environments with the same names and ports: apart inside, and in reach by preview URL."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import needs
from tests.support.server_process import ServerProcess, server_process

PROGRAM = str(needs.PROJECT / "tests" / "support" / "dialler.py")
PORT = 8080

pytestmark = pytest.mark.e2e


def application(who: str) -> list[dict[str, Any]]:
    container = {
        "name": "web",
        "command": [sys.executable, "-S", PROGRAM, str(PORT)],
        "env": [
            {"name": "WHO", "value": who},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "ports": [{"containerPort": PORT}],
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    marked = {"name": "web", "annotations": {"lapdev.dev/preview": "true"}}
    ports = [{"name": "http", "port": 80, "targetPort": PORT}]
    return [
        {"kind": "Deployment", "metadata": {"name": "web"}, "spec": spec},
        {
            "kind": "Service",
            "metadata": marked,
            "spec": {"selector": {"app": "web"}, "ports": ports},
        },
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    needs.userns()
    with server_process() as running:
        yield running


@pytest.fixture(scope="module")
def urls(server: ServerProcess) -> dict[str, str]:
    found = {}
    for name in ("one", "two"):
        body = {"name": name, "kind": "personal", "manifests": application(name)}
        server.api("POST", "/environments", body)
    for name in ("one", "two"):
        found[name] = server.wait_ready(name)["previews"][0]["url"]
        server.wait(lambda name=name: server.get(found[name] + "/who").status == 200, name)  # type: ignore[misc]
    return found


def ask(server: ServerProcess, url: str, question: str) -> str:
    answer = server.get(f"{url}/{question}")
    assert answer.status == 200, answer
    return answer.body


def addresses_of(server: ServerProcess, url: str) -> tuple[str, str]:
    """(the pod's address, its service's), as the environment itself sees them."""
    pod, service = ask(server, url, "addresses?web").split()
    return pod, service


def test_both_serve_the_same_names_and_ports_side_by_side(
    server: ServerProcess, urls: dict[str, str]
) -> None:
    assert {name: ask(server, url, "who") for name, url in urls.items()} == {
        "one": "one",
        "two": "two",
    }
    assert ask(server, urls["one"], "fetch?http://web/who") == "200 one"
    assert ask(server, urls["two"], "fetch?http://web/who") == "200 two"


@pytest.mark.parametrize(("inside", "other"), [("one", "two"), ("two", "one")])
def test_neither_pods_nor_services_of_the_other_can_be_dialled(
    server: ServerProcess, urls: dict[str, str], inside: str, other: str
) -> None:
    pod, service = addresses_of(server, urls[other])
    own_pod, own_service = addresses_of(server, urls[inside])
    assert len({pod, service, own_pod, own_service}) == 4
    dialled = {
        place: ask(server, urls[inside], f"dial?{place}")
        for place in (f"{own_pod}:{PORT}", f"{own_service}:80")
    }
    assert set(dialled.values()) == {"connected"}
    for place in (f"{pod}:{PORT}", f"{pod}:15001", f"{service}:80"):
        refused = ask(server, urls[inside], f"dial?{place}")
        assert refused in ("ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH"), (place, refused)


@pytest.mark.parametrize(("inside", "other"), [("one", "two"), ("two", "one")])
def test_the_other_is_reached_by_its_preview_url_and_nothing_else_of_the_server(
    server: ServerProcess, urls: dict[str, str], inside: str, other: str
) -> None:
    assert ask(server, urls[inside], f"fetch?{urls[other]}/who") == f"200 {other}"
    domain = urls[other].removeprefix("http://").partition(".")[2]
    # The way to previews is no way to the API, whatever the name.
    answer = ask(server, urls[inside], f"fetch?http://nobody.{domain}/api/v1/environments")
    assert answer.startswith("404")


def test_names_outside_the_environment_do_not_resolve(
    server: ServerProcess, urls: dict[str, str]
) -> None:
    assert ask(server, urls["one"], "dial?web.somewhere.svc.cluster.local:80") == "no such name"
    assert ask(server, urls["one"], "dial?example.com:80") == "no such name"


def test_whoever_runs_it_as_root_is_told(server: ServerProcess, urls: dict[str, str]) -> None:
    assert urls
    assert ("pods_run_as_root" in server.log()) is (os.geteuid() == 0)
