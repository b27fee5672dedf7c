"""A pod's containers and their ports."""

from __future__ import annotations

from lapdev.cluster.manifests import Container, ContainerPort, PodTemplate, RestartPolicy

INIT = Container("init", "w", ports=(ContainerPort(1, "init"),))
SIDECAR = Container("proxy", "w", ports=(ContainerPort(2, "proxy"),), restart=RestartPolicy.ALWAYS)
WEB = Container("web", "w", ports=(ContainerPort(3, "http"), ContainerPort(4)))
POD = PodTemplate((WEB,), (INIT, SIDECAR))


def test_all_start_in_order_and_those_that_stay_serve() -> None:
    assert POD.all_containers() == (INIT, SIDECAR, WEB)
    assert POD.serving() == (SIDECAR, WEB)


def test_a_port_is_found_where_something_serves() -> None:
    names = ("http", "proxy", "init", 99)
    assert [POD.port_named(name) for name in names] == [3, 2, None, 99]
