"""Names of a namespace: services, headless ones, their pods, and other names for hosts."""

from __future__ import annotations

from lapdev.cluster.name_server import Answer
from lapdev.cluster.names import NamedPod, name_table, service_name
from lapdev.model import Service, ServicePort

PORTS = (ServicePort(5432, 5432),)
API = Service("api", {"app": "api"}, PORTS)
DB = Service("db", {"app": "db"}, PORTS, headless=True)
EARLY = Service("early", {"app": "db"}, PORTS, headless=True, publish_not_ready=True)
MAIL = Service("mail", {}, (), external_name="smtp.example.com")


def pod(number: int, *services: str, ready: bool = True, subdomain: str = "db") -> NamedPod:
    return NamedPod(f"198.18.0.{number + 2}", ready, f"db-{number}", subdomain, services)


def table(*pods: NamedPod) -> dict[str, Answer]:
    services = {service.name: service for service in (API, DB, EARLY, MAIL)}
    return name_table("shop", services, {"api": "198.18.2.1"}, pods)


def test_a_service_means_its_address() -> None:
    assert table()["api.shop.svc.cluster.local"] == Answer(("198.18.2.1",))


def test_a_headless_service_means_its_ready_pods() -> None:
    names = table(pod(0, "db"), pod(1, "db", ready=False), pod(2, "db"))
    assert names["db.shop.svc.cluster.local"] == Answer(("198.18.0.2", "198.18.0.4"))


def test_a_headless_service_without_ready_pods_exists_and_has_no_address() -> None:
    assert table()["db.shop.svc.cluster.local"] == Answer()


def test_a_service_may_publish_pods_that_are_not_ready() -> None:
    names = table(pod(0, "early", ready=False, subdomain="early"))
    assert names["early.shop.svc.cluster.local"] == Answer(("198.18.0.2",))
    assert names["db-0.early.shop.svc.cluster.local"] == Answer(("198.18.0.2",))


def test_a_pod_has_a_name_below_the_service_that_governs_it() -> None:
    names = table(pod(0, "db", "early"), pod(1, "db", ready=False))
    assert names["db-0.db.shop.svc.cluster.local"] == Answer(("198.18.0.2",))
    assert "db-0.early.shop.svc.cluster.local" not in names
    assert "db-1.db.shop.svc.cluster.local" not in names
    assert "db-0.shop.svc.cluster.local" not in names


def test_two_pods_of_one_host_name_share_it() -> None:
    twin = NamedPod("198.18.0.9", True, "db-0", "db", ("db",))
    names = table(pod(0, "db"), twin)
    assert names["db-0.db.shop.svc.cluster.local"] == Answer(("198.18.0.2", "198.18.0.9"))


def test_an_external_name_is_another_name_for_a_host() -> None:
    assert table()["mail.shop.svc.cluster.local"] == Answer(alias="smtp.example.com")


def test_a_headless_service_that_has_an_address_means_that() -> None:
    names = name_table("shop", {"db": DB}, {"db": "127.64.2.1"}, [pod(0, "db")])
    assert names["db.shop.svc.cluster.local"] == Answer(("127.64.2.1",))


def test_names_are_lower_case() -> None:
    assert service_name("Api", "Shop") == "api.shop.svc.cluster.local"


def test_services_and_pods_are_there_under_the_namespace_they_were_written_for() -> None:
    services = {"api": API, "db": DB}
    names = name_table("shop", services, {"api": "198.18.2.1"}, [pod(0, "db")], {"default"})
    for host in ("api", "db", "db-0.db"):
        full = f"{host}.default.svc.cluster.local"
        assert names[full] == names[f"{host}.shop.svc.cluster.local"]
    assert not [name for name in names if "kube-system" in name]
