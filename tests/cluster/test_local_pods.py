"""What pods are made from: names, addresses, folders, claims of their own."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lapdev.cluster.controllers import Start
from lapdev.cluster.done_jobs import DoneJobs
from lapdev.cluster.local_pods import Ground, Machine
from lapdev.cluster.manifests import Claim, Volume
from lapdev.cluster.spawner import Spawner
from lapdev.cluster.subnets import LOOPBACK_RANGE, AddressPlan, Subnet
from lapdev.cluster.wanted import WantedWorkload, wanted_namespace
from lapdev.errors import ClusterError
from lapdev.net.tasks import Tasks
from tests.cluster.contract import deployment, spec
from tests.cluster.contract_kinds import kind
from tests.cluster.local_world import options
from tests.support.fake_driver import FakeCredentials


@pytest.fixture
async def touched() -> list[str]:
    return []


@pytest.fixture
async def ground(tmp_path: Path, touched: list[str]) -> AsyncIterator[Ground]:
    spawner = Spawner("python3", isolation=False)
    plan = AddressPlan(LOOPBACK_RANGE)
    machine = Machine(
        options(tmp_path, isolation=False), FakeCredentials(), spawner, None, plan, print
    )
    async with Tasks() as tasks:
        subnet = Subnet(0, ipaddress.IPv4Network("127.64.0.0/28"))
        done_jobs = DoneJobs(tmp_path / "claims")
        yield Ground("shop", machine, subnet, "", tasks, dict, dict, touched.append, done_jobs)
    await spawner.aclose()


def wanted(manifest: dict[str, Any]) -> WantedWorkload:
    (workload,) = wanted_namespace(spec(manifest)).workloads.values()
    return workload


async def test_pods_of_one_workload_share_nothing(ground: Ground) -> None:
    web = wanted(deployment("web"))
    one, two = ground.make_pod(web, Start()), ground.make_pod(web, Start())
    assert one.name != two.name
    assert one.place.ip != two.place.ip
    assert one.place.folder != two.place.folder
    assert one.name.startswith("web-")


async def test_a_name_that_is_used_again_has_another_folder(ground: Ground) -> None:
    db = wanted(kind(deployment("db"), "StatefulSet", serviceName="peers"))
    one = ground.make_pod(db, Start(0))
    await ground.release(one)
    two = ground.make_pod(db, Start(0))
    assert one.name == two.name == "db-0"
    assert one.place.folder != two.place.folder
    assert (two.place.hostname, two.place.subdomain) == ("db-0", "peers")


async def test_a_name_that_another_workload_has_is_said(ground: Ground) -> None:
    first = ground.make_pod(wanted(kind(deployment("db-0"), "Pod")), Start())
    db = wanted(kind(deployment("db"), "StatefulSet", serviceName="db"))
    with pytest.raises(ClusterError, match="another workload has a pod called db-0") as caught:
        ground.make_pod(db, Start(0))
    assert "rename" in caught.value.hint
    await ground.release(first)
    assert ground.make_pod(db, Start(0)).name == "db-0"


async def test_who_found_no_address_hears_when_there_is_one(
    ground: Ground, touched: list[str]
) -> None:
    web = wanted(deployment("web"))
    pods = [ground.make_pod(web, Start()) for _ in range(5)]
    with pytest.raises(ClusterError, match="all 5 addresses"):
        ground.make_pod(web, Start())
    assert touched == []
    await ground.release(pods[0])
    assert touched == ["web"]
    assert ground.make_pod(web, Start()).place.ip == pods[0].place.ip


@pytest.mark.parametrize(("name", "left"), [("Deployment", False), ("StatefulSet", True)])
async def test_an_ephemeral_volume_goes_with_its_pod_and_a_claim_stays(
    ground: Ground, name: str, left: bool
) -> None:
    web = wanted(kind(deployment("web"), name, serviceName="web"))
    template = dataclasses.replace(
        web.facts.pod, volumes=(Volume("data", Claim("data", per_pod=True)),)
    )
    web = dataclasses.replace(web, facts=dataclasses.replace(web.facts, pod=template))
    pod = ground.make_pod(web, Start(0))
    claim = ground.machine.claims_folder("shop") / f"data-{pod.name}"
    claim.mkdir(parents=True)
    await ground.release(pod)
    assert claim.exists() is left
