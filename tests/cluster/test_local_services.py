"""Services of this machine: addresses, listeners, endpoints, variables, names."""

from __future__ import annotations

import dataclasses
import ipaddress
from dataclasses import dataclass
from typing import cast

import pytest

from lapdev.cluster.local_services import LocalServices
from lapdev.cluster.name_server import Answer
from lapdev.cluster.pod import Pod
from lapdev.cluster.sandbox import Place
from lapdev.cluster.subnets import LOOPBACK_RANGE, AddressPlan, Subnet
from lapdev.cluster.wanted import WantedNamespace, WantedWorkload, wanted_namespace
from lapdev.errors import ClusterError, NoRoute
from lapdev.model import Service, ServicePort
from tests.cluster.contract import deployment, service, spec

DB = Service("db", {"app": "web"}, (ServicePort(80, 8080),), headless=True)
MAIL = Service("mail", {}, (), external_name="smtp.example.com")


@dataclass
class Standing:
    """A pod as services see it."""

    workload: WantedWorkload
    place: Place
    ready: bool = True

    @property
    def name(self) -> str:
        return self.place.name


class World:
    """A namespace with pods that a test puts there."""

    def __init__(self, bridge: str = "", subnet: Subnet | None = None) -> None:
        self.subnet = subnet or AddressPlan(LOOPBACK_RANGE).take()
        self.pods: dict[str, list[Standing]] = {}
        self.problems: list[str] = []
        self.services = LocalServices(
            "shop",
            self.subnet,
            bridge,
            lambda name: cast("list[Pod]", self.pods.get(name, [])),
            lambda problem, hint: self.problems.append(f"{problem}: {hint}"),
        )

    def apply(self, *names: str, extra: tuple[Service, ...] = ()) -> WantedNamespace:
        plain = spec(*(deployment(name) for name in names))
        wanted = wanted_namespace(dataclasses.replace(plain, services=(*plain.services, *extra)))
        everyone = [pod for pods in self.pods.values() for pod in pods]
        self.services.apply(wanted, cast("list[Pod]", everyone))
        return wanted

    def stand(self, workload: WantedWorkload, *, ready: bool = True) -> Standing:
        """One more pod of the workload is there."""
        pods = self.pods.setdefault(workload.name, [])
        name, ip = f"{workload.name}-{len(pods)}", self.subnet.pods.take()
        place = Place(name, "shop", ip, self.subnet, "", None, subdomain="db")  # type: ignore[arg-type]
        pods.append(Standing(workload, place, ready))
        self.services.touch(workload.name)
        return pods[-1]


def test_ready_pods_are_endpoints() -> None:
    world = World()
    web = world.apply("web", "api").workloads["web"]
    first, _ = world.stand(web), world.stand(web, ready=False)
    assert world.services.endpoints("web", 80) == (f"{first.place.ip}:8080",)
    assert world.services.endpoints("api", 80) == ()


def test_a_pod_of_the_last_spec_serves_by_its_own_labels() -> None:
    world = World()
    old = world.stand(world.apply("web").workloads["web"])
    relabelled = deployment("web")
    relabelled["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    plain = spec(relabelled)
    both = (service("web"), dataclasses.replace(service("other"), name="other"))
    wanted = wanted_namespace(dataclasses.replace(plain, services=both))
    world.services.apply(wanted, cast("list[Pod]", [old]))
    new = world.stand(wanted.workloads["web"])
    assert world.services.endpoints("web", 80) == (f"{old.place.ip}:8080",)
    assert world.services.endpoints("other", 80) == (f"{new.place.ip}:8080",)


def test_one_pod_of_a_set_can_be_selected() -> None:
    world = World()
    label = {"app": "web", "statefulset.kubernetes.io/pod-name": "web-1"}
    second = dataclasses.replace(service("web"), name="second", selector=label)
    web = world.apply("web", extra=(second,)).workloads["web"]
    world.stand(web)
    pod = dataclasses.replace(web.facts.pod, labels=label)
    chosen = world.stand(dataclasses.replace(web, facts=dataclasses.replace(web.facts, pod=pod)))
    assert world.services.endpoints("second", 80) == (f"{chosen.place.ip}:8080",)
    assert len(world.services.endpoints("web", 80)) == 2


async def test_a_service_listens_while_it_has_ready_pods() -> None:
    world = World()
    plain = dataclasses.replace(service("web", 8080))
    web = world.apply(extra=()).workloads
    assert web == {}
    wanted = wanted_namespace(dataclasses.replace(spec(deployment("web")), services=(plain,)))
    world.services.apply(wanted, [])
    await world.services.update()
    (proxy,) = world.services._proxies["web"].values()
    assert proxy._listener is None
    pod = world.stand(wanted.workloads["web"])
    await world.services.update()
    assert proxy._listener is not None
    pod.ready = False
    world.services.touch("web")
    await world.services.update()
    assert proxy._listener is None
    await world.services.aclose()


def test_headless_services_mean_their_pods_and_sidecars_dial_them_by_address() -> None:
    world = World(bridge="env0")
    web = world.apply("web", extra=(DB, MAIL)).workloads["web"]
    pod = world.stand(web)
    assert ipaddress.ip_address(world.services.host("db"))
    assert "DB_SERVICE_HOST" not in world.services.environment()
    assert world.services.resolve("db.shop.svc.cluster.local") == Answer((pod.place.ip,))
    assert world.services.resolve("web-0.db.shop.svc.cluster.local") == Answer((pod.place.ip,))
    assert world.services.resolve("web.shop.svc.cluster.local") == Answer(
        (world.services.host("web"),)
    )
    assert world.services.resolve("mail.shop.svc.cluster.local") == Answer(alias="smtp.example.com")
    assert world.services.resolve("web.other.svc.cluster.local") is None
    pod.ready = False
    world.services.touch("web")
    assert world.services.resolve("db.shop.svc.cluster.local") == Answer()


def test_without_isolation_nobody_resolves_names_and_headless_ones_have_addresses_too() -> None:
    world = World()
    world.apply("web", extra=(DB,))
    assert ipaddress.ip_address(world.services.host("db"))
    assert world.services.environment()["DB_SERVICE_HOST"] == world.services.host("db")


def test_an_external_name_leads_elsewhere() -> None:
    world = World()
    world.apply("web", extra=(MAIL,))
    assert world.services.host("mail") == "smtp.example.com"
    with pytest.raises(NoRoute, match=r"another name for smtp\.example\.com") as caught:
        world.services.endpoints("mail", 25)
    assert "smtp.example.com" in caught.value.hint
    assert "MAIL_SERVICE_HOST" not in world.services.environment()


def test_a_service_keeps_its_address_and_its_variables() -> None:
    world = World()
    world.apply("web", "api")
    before = world.services.host("web")
    assert world.services.environment()["WEB_SERVICE_HOST"] == before
    assert world.services.environment()["WEB_SERVICE_PORT"] == "80"
    world.apply("web", "db")
    assert world.services.host("web") == before
    with pytest.raises(NoRoute, match="no service api"):
        world.services.host("api")


def test_more_services_than_addresses_change_nothing() -> None:
    tiny = Subnet(0, ipaddress.IPv4Network("127.64.0.0/28"))
    world = World(subnet=tiny)
    world.apply("web")
    with pytest.raises(ClusterError, match=r"all 6 addresses of 127\.64\.0\.8/29"):
        world.apply(*(f"s{number}" for number in range(7)))
    assert world.services.host("web")
    world.apply(*(f"s{number}" for number in range(6)))
    assert len({world.services.host(f"s{number}") for number in range(6)}) == 6
