from __future__ import annotations

from dataclasses import replace

import pytest

from lapdev.devbox.hosts import names_of, resolve
from lapdev.errors import NoRoute
from lapdev.wire.control import ServiceTarget
from tests.support.devbox_cloud import STATE


@pytest.mark.parametrize(
    "host",
    [
        "api",
        "API",
        "api.",
        "api.ns-shop",
        "api.ns-shop.svc",
        "Api.Ns-Shop.Svc.Cluster.Local",
        "api.ns-shop.svc.cluster.local.",
    ],
)
def test_a_service_is_known_by_the_names_kubernetes_has_for_it(host: str) -> None:
    assert resolve(STATE, host, 8080) == ServiceTarget("ns-shop", "api", 8080)


@pytest.mark.parametrize(
    "host", ["", ".", "ap", "api.other", "api.ns-shop.cluster.local", "x.api", "localhost", "db.."]
)
def test_any_other_name_is_refused_and_the_known_ones_are_named(host: str) -> None:
    with pytest.raises(NoRoute, match="no service of environment shop") as caught:
        resolve(STATE, host, 8080)
    assert caught.value.hint == "known here: api, db"


def test_a_port_the_service_does_not_have_is_refused_and_its_ports_are_named() -> None:
    with pytest.raises(NoRoute, match=r"api .* has no port 80") as caught:
        resolve(STATE, "api", 80)
    assert caught.value.hint == "its ports: 8080"


def test_an_environment_without_services_says_so() -> None:
    with pytest.raises(NoRoute) as caught:
        resolve(replace(STATE, services=()), "api", 80)
    assert caught.value.hint == "known here: none yet"


def test_the_short_name_comes_first() -> None:
    assert names_of("api", "ns") == ("api", "api.ns", "api.ns.svc", "api.ns.svc.cluster.local")
