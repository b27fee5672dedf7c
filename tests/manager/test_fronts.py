"""Services and workloads in, who stands before whom out."""

from __future__ import annotations

from typing import Any

from lapdev.manager.fronts import Fronts, find_fronts
from lapdev.manager.workloads import read_objects
from tests.support.wishes import as_kind, base, deployment, headless, service

APP = {"app": "shop"}


def fronts(*manifests: dict[str, Any]) -> Fronts:
    objects = read_objects(base(*manifests).environment)
    return find_fronts(objects.manifests.services, objects.workloads)


def names(found: Fronts, service: str) -> list[str]:
    return [workload.name for workload in found.behind[service]]


def before(found: Fronts, workload: str) -> list[str]:
    return [service.name for service in found.before.get(workload, [])]


def web(kind: str = "Deployment") -> dict[str, Any]:
    return as_kind(deployment("web", labels=APP, ports={"http": 8080}), kind)


def migration() -> dict[str, Any]:
    return as_kind(deployment("migrate", labels=APP), "Job")


def test_every_kind_of_workload_may_be_behind_services() -> None:
    for kind in ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"):
        found = fronts(
            web(kind), service("front", (80, "http"), selector=APP), service("no", (80, 80))
        )
        assert names(found, "front") == ["web"]
        assert names(found, "no") == []
        assert before(found, "web") == ["front"]


def test_nothing_stands_before_a_headless_service_or_another_name_of_a_host() -> None:
    external = {
        "kind": "Service",
        "metadata": {"name": "away"},
        "spec": {"type": "ExternalName", "externalName": "db.example.com"},
    }
    found = fronts(web(), headless(service("peers", (80, "http"), selector=APP)), external)
    assert names(found, "peers") == ["web"]
    assert names(found, "away") == []
    assert before(found, "web") == []
    assert "away" not in found.selectors


def test_a_service_leads_to_what_goes_on_and_not_to_its_migration() -> None:
    for front in (
        service("front", (80, 8080), selector=APP),
        headless(service("front", (80, 8080), selector=APP)),
    ):
        found = fronts(migration(), web(), front)
        assert names(found, "front") == ["web"]
        assert before(found, "migrate") == []
        assert found.selectors["front"] == {"lapdev.dev/runs": "on"}


def test_a_job_that_comes_or_goes_changes_no_selector() -> None:
    front = service("front", (80, 8080), selector=APP)
    assert fronts(web(), front).selectors == fronts(web(), migration(), front).selectors


def test_a_service_of_jobs_alone_leads_to_them() -> None:
    found = fronts(migration(), service("front", (80, 8080), selector=APP))
    assert names(found, "front") == ["migrate"]
    assert before(found, "migrate") == ["front"]
    assert found.selectors == {}


def test_a_port_by_name_leads_to_the_workloads_that_have_it() -> None:
    worker = deployment("worker", labels=APP, ports={"admin": 9000})
    found = fronts(worker, web(), service("front", (80, "http"), selector=APP))
    assert names(found, "front") == ["web"]
    assert before(found, "worker") == []
    (mark,) = found.marks["web"].items()
    assert mark in found.selectors["front"].items()
    assert "worker" not in found.marks


def test_a_port_by_name_that_all_have_needs_no_mark() -> None:
    second = deployment("second", labels=APP, ports={"http": 9000})
    found = fronts(second, web(), service("front", (80, "http"), selector=APP))
    assert names(found, "front") == ["second", "web"]
    assert found.marks == {}
