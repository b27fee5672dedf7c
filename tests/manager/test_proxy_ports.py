"""The allocation itself; what it means for a namespace is in test_plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapdev.errors import ConfigError
from lapdev.manager.proxy_ports import (
    FIRST_PROXY_PORT,
    PROXY_PORTS,
    SIDECAR_ADMIN_PORT,
    ProxyPorts,
)
from lapdev.manager.workloads import Workload, read_objects
from lapdev.model import Service, ServicePort
from tests.support.wishes import base, deployment

numbers = st.integers(FIRST_PROXY_PORT - 2, FIRST_PROXY_PORT + PROXY_PORTS + 2)


def workload(name: str = "api", *ports: int) -> Workload:
    declared = {f"p{port}": port for port in ports}
    (found,) = read_objects(base(deployment(name, ports=declared)).environment).workloads
    return found


def service(name: str, *targets: int) -> Service:
    ports = tuple(ServicePort(1000 + n, target) for n, target in enumerate(targets))
    return Service(name, {"app": "api"}, ports)


def chosen(proxies: ProxyPorts, name: str = "api") -> list[int]:
    return [port.proxy_port for port in proxies.of(name)]


@given(st.lists(numbers, max_size=4, unique=True), st.lists(numbers, min_size=1, max_size=90))
def test_no_proxy_port_is_used_twice_declared_or_a_target(
    declared: list[int], targets: list[int]
) -> None:
    front = service("api", *targets)
    found = chosen(ProxyPorts([(front, [workload("api", *declared)])]))
    assert len(set(found)) == len(targets)
    assert all(FIRST_PROXY_PORT <= port < FIRST_PROXY_PORT + PROXY_PORTS for port in found)
    assert not set(found) & {SIDECAR_ADMIN_PORT, *declared, *targets}


@given(st.permutations(["one", "two", "three", "four"]))
def test_the_order_in_which_services_are_written_changes_nothing(names: list[str]) -> None:
    api = workload()
    written = ProxyPorts((service(name, 80, 81), [api]) for name in names)
    other = ProxyPorts((service(name, 80, 81), [api]) for name in sorted(names))
    assert written.of("api") == other.of("api")


def test_services_of_others_move_no_port() -> None:
    api, web = workload("api"), workload("web")
    alone = ProxyPorts([(service("api", 80), [api])])
    (own,) = chosen(alone)
    others = [(service(f"other-{n}", own, own + 1), [web]) for n in range(50)]
    assert ProxyPorts([*others, (service("api", 80), [api])]).of("api") == alone.of("api")


def test_a_workload_nobody_stands_before_has_no_ports() -> None:
    assert ProxyPorts([]).of("api") == ()
    lonely = service("api", 80)
    assert ProxyPorts([(lonely, [])]).service(lonely) == lonely


def test_the_sidecars_own_port_is_no_target() -> None:
    with pytest.raises(ConfigError, match="port 15090 of workload api, which every sidecar keeps"):
        ProxyPorts([(service("api", SIDECAR_ADMIN_PORT), [workload()])])


def test_more_ports_than_there_are_is_an_error() -> None:
    with pytest.raises(ConfigError, match="service api: no port is free"):
        ProxyPorts([(service("api", *[80] * (PROXY_PORTS + 1)), [workload()])])
