"""What a pod's processes are started with."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from lapdev.cluster.manifests import parse_workload
from lapdev.cluster.options import LocalOptions
from lapdev.cluster.programs import container_program, sealed_document, sidecar_launch
from lapdev.cluster.sandbox import Place, Program
from lapdev.cluster.subnets import ISOLATED_RANGE, AddressPlan
from tests.cluster.contract import deployment, sidecar

SUBNET = AddressPlan(ISOLATED_RANGE).take()
PLACE = Place("web-x", "shop", "198.18.0.2", SUBNET, "env0", Path("/nowhere"))


def options(*, isolation: bool = True) -> LocalOptions:
    return LocalOptions(
        Path("/run/x"), "unix:/run/x/m.sock", python="/opt/python3", isolation=isolation,
        working_dir=Path("/work"),
    )  # fmt: skip


def program(*, isolation: bool = True, working_dir: str = "", own_python: bool = False) -> Program:
    manifest = deployment("web", answer="$(API_SERVICE_HOST)")
    template = manifest["spec"]["template"]
    container = template["spec"]["containers"][0]
    container["command"] = ["python3", "$(ANSWER)"]
    container["workingDir"] = working_dir
    if own_python:
        template["metadata"]["annotations"] = {"local.lapdev.dev/python": "lapdev"}
    parsed = parse_workload(manifest)
    services = {"API_SERVICE_HOST": "198.18.2.1"}
    given = options(isolation=isolation)
    return container_program(parsed, parsed.pod.containers[0], PLACE, given, services, {})


def test_words_and_variables_are_expanded_for_this_pod() -> None:
    made = program()
    assert made.argv == ["python3", "198.18.2.1"]
    assert made.env["BIND"] == "198.18.0.2"
    assert made.env["HOSTNAME"] == "web-x"
    assert made.cwd == "/work"
    assert program(working_dir="/app").cwd == "/app"


def test_the_managers_own_variables_stay_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPDEV_TOKEN", "secret")
    monkeypatch.setenv("PATH", "/bin")
    made = program()
    assert "secret" not in made.env.values()
    assert made.env["PATH"] == "/bin"


def test_lapdevs_own_python_comes_first_on_the_path_where_asked_for() -> None:
    made = program(own_python=True)
    assert made.argv[0] == "/opt/python3"
    assert made.env["PATH"].startswith("/opt:")


def test_only_without_isolation_an_app_is_told_where_to_listen() -> None:
    assert "POD_IP" not in program().env
    assert program(isolation=False).env["POD_IP"] == "198.18.0.2"


def test_a_launch_document_names_the_pod_and_where_its_app_is() -> None:
    launch = sidecar_launch(sidecar("web"), PLACE, options(), lambda identity: identity.pod)
    assert (launch.identity.pod, launch.token) == ("web-x", "web-x")
    assert (launch.app_host, launch.bind_host) == ("127.0.0.1", "0.0.0.0")
    opened = sidecar_launch(sidecar("web"), PLACE, options(isolation=False), lambda _: "t")
    assert (opened.app_host, opened.bind_host) == ("198.18.0.2", "198.18.0.2")
    assert opened.admin == "198.18.0.2:15090"


def test_the_document_can_be_read_once_from_its_descriptor() -> None:
    launch = sidecar_launch(sidecar("web"), PLACE, options(), lambda _: "t")
    with os.fdopen(sealed_document(launch)) as document:
        read = json.load(document)
    assert read == json.loads(json.dumps(dataclasses.asdict(launch)))
    assert read["manager"] == "unix:/run/x/m.sock"
