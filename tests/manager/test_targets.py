"""What may be dialled and read in a planned namespace."""

from __future__ import annotations

import pytest

from lapdev.errors import NoRoute, NotReady
from lapdev.manager.plan import NamespacePlan, plan_namespace
from lapdev.manager.targets import check_port, find_workload
from lapdev.model import EnvironmentId
from lapdev.wire.control import ApplyEnvironment
from tests.support.wishes import API, base, branch, deployment, headless, service

SHOP = base().environment.id
V2 = branch("v2").environment.id


def plan(*held: ApplyEnvironment, refused: dict[EnvironmentId, str] | None = None) -> NamespacePlan:
    found = plan_namespace(held, refused)
    assert found is not None
    return found


def test_only_service_ports_of_the_base_may_be_dialled() -> None:
    found = plan(base(), branch("v2", API[0]))
    check_port(found, "api", 80)
    for name, port in (("api", 8080), ("nothing", 80)):
        with pytest.raises(NoRoute, match=name):
            check_port(found, name, port)
    (hidden,) = {item.name for item in found.spec.services} - {"api", "web"}
    with pytest.raises(NoRoute):
        check_port(found, hidden, 80)


def test_a_headless_service_may_be_dialled_and_another_name_of_a_host_not() -> None:
    away = {
        "kind": "Service",
        "metadata": {"name": "away"},
        "spec": {"type": "ExternalName", "externalName": "db.example.com", "ports": [{"port": 80}]},
    }
    peers = headless(service("peers", (5432, 5432), selector={"app": "api"}))
    found = plan(base(*API, peers, away))
    check_port(found, "peers", 5432)
    with pytest.raises(NoRoute, match=r"another name for db\.example\.com"):
        check_port(found, "away", 80)


def test_a_workload_is_found_by_environment_and_name() -> None:
    found = plan(base(), branch("v2", API[0]))
    assert find_workload(found, SHOP, "api", "") == "api"
    assert find_workload(found, SHOP, "web", "main") == "web"
    assert find_workload(found, V2, "api", "main") in {s.name for s in found.spec.workloads[2:]}


def test_what_is_not_there_is_said_with_what_is() -> None:
    found = plan(base(), branch("v2", API[0]), branch("v3"))
    for environment, workload, container, text in (
        (SHOP, "apo", "", "environment shop runs no workload apo; it runs api, web"),
        (V2, "web", "", "environment v2 runs no workload web; it runs api"),
        (branch("v3").environment.id, "api", "", "environment v3 .* it runs none"),
        (SHOP, "api", "mian", "workload api has no container mian; it has main"),
    ):
        with pytest.raises(NoRoute, match=text):
            find_workload(found, environment, workload, container)


def test_a_branch_that_does_not_run_says_why() -> None:
    found = plan(base(), branch("v2", deployment("api")), refused={V2: "no command"})
    with pytest.raises(NotReady, match="no command"):
        find_workload(found, V2, "api", "")
    with pytest.raises(NotReady, match="being started"):
        find_workload(found, EnvironmentId("new"), "api", "")
