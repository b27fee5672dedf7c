"""The address plan."""

from __future__ import annotations

import ipaddress

import pytest

from lapdev.cluster.subnets import ISOLATED_RANGE, LOOPBACK_RANGE, AddressPlan, Pool
from lapdev.errors import ClusterError


def test_namespaces_pods_and_services_do_not_overlap() -> None:
    plan = AddressPlan(ISOLATED_RANGE)
    first, second = plan.take(), plan.take()
    assert not first.network.overlaps(second.network)
    assert not first.pods.network.overlaps(first.services.network)
    assert (first.gateway, first.pods.take(), first.services.take()) == (
        "198.18.0.1",
        "198.18.0.2",
        "198.18.2.1",
    )


def test_a_namespace_that_is_given_back_can_be_taken_again() -> None:
    plan = AddressPlan(LOOPBACK_RANGE)
    first = plan.take()
    plan.take()
    plan.give_back(first)
    assert plan.take().network == first.network == ipaddress.IPv4Network("127.64.0.0/22")


def test_a_plan_may_begin_anywhere_in_its_range() -> None:
    plan = AddressPlan(ipaddress.IPv4Network("127.64.0.0/20"), first=6)
    taken = [str(plan.take().network) for _ in range(4)]
    assert taken == ["127.64.8.0/22", "127.64.12.0/22", "127.64.0.0/22", "127.64.4.0/22"]
    with pytest.raises(ClusterError, match="all 4 namespaces"):
        plan.take()


def test_running_out_of_namespaces_says_what_to_do() -> None:
    plan = AddressPlan(ipaddress.IPv4Network("198.18.0.0/22"))
    plan.take()
    with pytest.raises(ClusterError, match="all 1 namespaces are in use") as caught:
        plan.take()
    assert "delete" in caught.value.hint


def test_an_address_is_reused_as_late_as_possible_and_broadcast_never() -> None:
    pool = Pool(ipaddress.IPv4Network("198.18.0.0/29"), skip=2)
    taken = [pool.take() for _ in range(2)]
    pool.give_back(taken[0])
    rest = [pool.take() for _ in range(4)]
    assert rest == ["198.18.0.4", "198.18.0.5", "198.18.0.6", taken[0]]
    with pytest.raises(ClusterError, match=r"all 5 addresses of 198\.18\.0\.0/29"):
        pool.take()
