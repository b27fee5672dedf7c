"""What a pod's processes are started with."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from lapdev.cluster.manifests import ConfigObject, Configs, parse_workload
from lapdev.cluster.options import LocalOptions
from lapdev.cluster.programs import (
    Situation,
    container_program,
    sealed_document,
    sidecar_launch,
)
from lapdev.cluster.sandbox import Place, Program
from lapdev.cluster.subnets import ISOLATED_RANGE, AddressPlan
from lapdev.errors import ConfigError
from tests.cluster.contract import deployment, sidecar

SUBNET = AddressPlan(ISOLATED_RANGE).take()
PLACE = Place("web-x", "shop", "198.18.0.2", SUBNET, "env0", Path("/nowhere"))


def options(*, isolation: bool = True) -> LocalOptions:
    return LocalOptions(
        Path("/run/x"), "unix:/run/x/m.sock", python="/opt/python3", isolation=isolation,
        working_dir=Path("/work"),
    )  # fmt: skip


def program(
    *,
    isolation: bool = True,
    own_python: bool = False,
    place: Place = PLACE,
    volumes: dict[str, str] | None = None,
    configs: Configs | None = None,
    **container: Any,
) -> Program:
    manifest = deployment("web", answer="$(API_SERVICE_HOST)")
    template = manifest["spec"]["template"]
    written = template["spec"]["containers"][0] | {"command": ["python3", "$(ANSWER)"]} | container
    template["spec"]["containers"] = [written]
    template["spec"]["volumes"] = [{"name": name, "emptyDir": {}} for name in volumes or {}]
    if own_python:
        template["metadata"]["annotations"] = {"local.lapdev.dev/python": "lapdev"}
    parsed = parse_workload(manifest)
    here = Situation(
        place,
        options(isolation=isolation),
        {"API_SERVICE_HOST": "198.18.2.1"},
        configs or {},
        volumes or {},
    )
    return container_program(parsed, parsed.pod.containers[0], here)


def test_words_and_variables_are_expanded_for_this_pod() -> None:
    made = program()
    assert made.argv == ["python3", "198.18.2.1"]
    assert made.env["BIND"] == "198.18.0.2"
    assert made.env["HOSTNAME"] == "web-x"
    assert made.cwd == "/work"
    assert program(workingDir="/app").cwd == "/app"


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


def test_a_pod_with_a_host_name_of_its_own_knows_it() -> None:
    assert program(place=dataclasses.replace(PLACE, hostname="db-0")).env["HOSTNAME"] == "db-0"


def test_a_container_comes_with_its_name_its_limits_and_its_mounts() -> None:
    made = program(
        volumes={"data": "/run/x/data"},
        volumeMounts=[{"name": "data", "mountPath": "/var/lib/data", "readOnly": True}],
        resources={"limits": {"memory": "64Mi", "cpu": "500m"}},
    )
    assert made.container == "web"
    assert (made.resources.memory_limit, made.resources.cpu_limit) == (64 << 20, 0.5)
    (mount,) = made.mounts
    assert (mount.source, mount.target, mount.read_only) == ("/run/x/data", "/var/lib/data", True)


MOUNTED = {
    "volumes": {"my-data": "/run/x/data", "unused": "/run/x/unused"},
    "volumeMounts": [
        {"name": "my-data", "mountPath": "/data/", "subPathExpr": "$(ANSWER)/db"},
        {"name": "my-data", "mountPath": "/other"},
    ],
    "command": ["serve", "$(LAPDEV_VOLUME_MY_DATA)", "$(WHERE)"],
    "env": [
        {"name": "ANSWER", "value": "shop"},
        {"name": "WHERE", "value": "in $(LAPDEV_VOLUME_MY_DATA)"},
    ],
}


@pytest.mark.parametrize(("isolation", "path"), [(True, "/data"), (False, "/run/x/data/shop/db")])
def test_variables_say_where_volumes_are(isolation: bool, path: str) -> None:
    made = program(isolation=isolation, **MOUNTED)
    assert made.env["LAPDEV_VOLUME_MY_DATA"] == path
    assert "LAPDEV_VOLUME_UNUSED" not in made.env
    assert made.argv == ["serve", path, f"in {path}"]
    assert len(made.mounts) == 2


def test_a_variable_of_the_containers_own_stays() -> None:
    own = [{"name": "ANSWER", "value": "x"}, {"name": "LAPDEV_VOLUME_MY_DATA", "value": "mine"}]
    assert program(**MOUNTED | {"env": own}).env["LAPDEV_VOLUME_MY_DATA"] == "mine"


def test_what_it_refers_to_comes_from_config_objects_of_now() -> None:
    config = ConfigObject("ConfigMap", "app", {"COLOR": b"blue"})
    given = {"envFrom": [{"configMapRef": {"name": "app"}}]}
    assert program(configs={("ConfigMap", "app"): config}, **given).env["COLOR"] == "blue"
    with pytest.raises(ConfigError, match="app"):
        program(**given)


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
