from __future__ import annotations

from pathlib import Path

import pytest

from lapdev.cluster.manifests import local_command, parse_objects
from lapdev.demo import shop
from lapdev.model import Protocol


def test_every_container_has_a_local_command_whose_program_exists(tmp_path: Path) -> None:
    links = tmp_path / "links.json"
    manifests = parse_objects(shop.manifests(links))
    assert {item.name for item in manifests.workloads} == set(shop.SERVICES)
    for workload in manifests.workloads:
        (container,) = workload.pod.containers
        env = {variable.name: variable.value for variable in container.env}
        words = local_command(workload, container, env, python="/the/python")
        assert words[0] == "/the/python"
        assert Path(words[1]).is_file()
        assert workload.name != "web" or words[2] == str(links)


def test_without_names_the_services_are_reached_by_their_addresses(tmp_path: Path) -> None:
    found = parse_objects(shop.manifests(tmp_path, names_resolve=False)).workloads
    values = {v.name: v.value for item in found for v in item.pod.containers[0].env}
    assert values["API_URL"] == "http://$(API_SERVICE_HOST):8080"
    assert values["REDIS_URL"] == "redis://$(REDIS_SERVICE_HOST):6379/0"


def test_only_the_web_service_asks_for_preview_urls(tmp_path: Path) -> None:
    services = {item.name: item for item in parse_objects(shop.manifests(tmp_path)).services}
    marked = [name for name, item in services.items() if "lapdev.dev/preview" in item.labels]
    assert marked == ["web"]
    (port,) = services["web"].ports
    assert (port.port, port.target, port.protocol) == (80, "http", Protocol.HTTP)


def test_redis_declares_no_protocol(tmp_path: Path) -> None:
    services = {item.name: item for item in parse_objects(shop.manifests(tmp_path)).services}
    assert services["redis"].ports[0].protocol is Protocol.UNDECLARED


def test_a_branch_is_expected_to_differ_in_the_one_workload_it_changes() -> None:
    assert shop.expected() == {
        "shop": {"web": "v1", "api": "v1", "search": "v1"},
        "checkout-v2": {"web": "v1", "api": "v2", "search": "v1"},
        "search-fix": {"web": "v1", "api": "v1", "search": "fix"},
    }


def hops(**versions: str) -> list[dict[str, str]]:
    found = {"web": "v1", "api": "v1", "search": "v1", "redis": "7"} | versions
    return [{"service": name, "version": version} for name, version in found.items()]


def test_the_right_hops_have_no_problem() -> None:
    assert shop.problem_with(hops(api="v2"), shop.expected()["checkout-v2"]) == ""


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (hops(api="v2"), "got web=v1 api=v2 search=v1, not web=v1 api=v1 search=v1"),
        (hops()[:2], "got web=v1 api=v1 search=?, not web=v1 api=v1 search=v1"),
        ([], "got web=? api=? search=?, not web=v1 api=v1 search=v1"),
        ({"error": "x"}, "not a list of hops"),
        (None, "not a list of hops"),
        ([*hops()[:3], {"service": "redis", "version": "", "error": "gone"}], "redis: gone"),
    ],
)
def test_any_other_answer_is_a_problem_that_says_what_it_is(answer: object, problem: str) -> None:
    assert shop.problem_with(answer, shop.expected()["shop"]) == problem
