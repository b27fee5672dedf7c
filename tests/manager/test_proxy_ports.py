"""The allocation itself; what it means for a namespace is in test_plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapdev.errors import ConfigError
from lapdev.manager.proxy_ports import FIRST_PROXY_PORT, SIDECAR_ADMIN_PORT, ProxyPorts
from lapdev.manager.workloads import read_workloads
from lapdev.model import Service, ServicePort
from tests.support.wishes import base, deployment

near = st.integers(FIRST_PROXY_PORT - 2, FIRST_PROXY_PORT + 6)


@given(st.lists(near, max_size=4, unique=True), st.lists(near, min_size=1, max_size=4))
def test_no_proxy_port_is_used_twice_declared_or_a_target(
    declared: list[int], targets: list[int]
) -> None:
    ports = {f"p{port}": port for port in declared}
    workloads = read_workloads(base(deployment("api", ports=ports)).environment)
    service = Service(
        "api", {"app": "api"}, tuple(ServicePort(n + 1, t) for n, t in enumerate(targets))
    )
    proxies = ProxyPorts([service])
    for port in service.ports:
        proxies.stand_before(service, port, workloads)
    chosen = [port.proxy_port for port in proxies.of("api")]
    assert len(set(chosen)) == len(targets)
    assert min(chosen) >= FIRST_PROXY_PORT
    assert not set(chosen) & {SIDECAR_ADMIN_PORT, *declared, *targets}


def test_a_workload_nobody_stands_before_has_no_ports() -> None:
    assert ProxyPorts([]).of("api") == ()


def test_the_sidecars_own_port_is_no_target() -> None:
    workloads = read_workloads(base(deployment("api")).environment)
    port = ServicePort(80, SIDECAR_ADMIN_PORT)
    service = Service("api", {"app": "api"}, (port,))
    with pytest.raises(ConfigError, match="port 15090 of workload api, which every sidecar keeps"):
        ProxyPorts([service]).stand_before(service, port, workloads)
