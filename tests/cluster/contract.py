"""What every driver keeps: one async function per promise, run over the fake and the local one.

A `World` makes specs that the driver at hand can really run.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from lapdev.cluster.driver import Driver, NamespaceSpec, SidecarPlan, WorkloadSpec
from lapdev.errors import ConfigError, NoRoute
from lapdev.model import EnvironmentId, Service, ServicePort, SidecarIdentity, SidecarPort
from tests.support.fake_driver import FakeCredentials

WAIT = 20.0
APP = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = os.environ.get("ANSWER", "").encode() or b"-"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
print("serving", flush=True)
http.server.ThreadingHTTPServer((os.environ["BIND"], 8080), Handler).serve_forever()
"""


def deployment(name: str, *, answer: str = "", replicas: int = 1, bind: str = "") -> dict[str, Any]:
    """A small HTTP service on port 8080, named `http`."""
    bind_to = (
        {"value": bind} if bind else {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    )
    container = {
        "name": "web",
        "image": "example.com/web:1",
        "command": [sys.executable, "-S", "-c", APP],
        "env": [{"name": "BIND", **bind_to}, {"name": "ANSWER", "value": answer or name}],
        "ports": [{"name": "http", "containerPort": 8080}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 2, "containers": [container]},
            },
        },
    }


def service(name: str, port: int = 80) -> Service:
    return Service(name, {"app": name}, (ServicePort(port, "http", "http"),))


def sidecar(name: str, port: int = 80) -> SidecarPlan:
    identity = SidecarIdentity("shop", EnvironmentId("e" * 16), "shop", name, "")
    return SidecarPlan(identity, (SidecarPort(15001, port, 8080, name),))


def spec(
    *manifests: dict[str, Any], namespace: str = "shop", with_sidecar: bool = False
) -> NamespaceSpec:
    names = [manifest["metadata"]["name"] for manifest in manifests]
    return NamespaceSpec(
        namespace,
        tuple(
            WorkloadSpec(name, manifest, sidecar(name) if with_sidecar else None)
            for name, manifest in zip(names, manifests, strict=True)
        ),
        tuple(service(name) for name in names),
    )


@dataclass(slots=True)
class World:
    driver: Driver
    credentials: FakeCredentials

    async def wait(self, condition: Callable[[], bool]) -> None:
        """The condition holds; looked at after every change the driver reports."""
        changed = asyncio.Event()
        self.driver.on_change(lambda _: changed.set())
        async with asyncio.timeout(WAIT):
            while not condition():
                changed.clear()
                await changed.wait()

    def ready(self, namespace: str = "shop") -> bool:
        status = self.driver.status(namespace)
        return bool(status) and all(each.ready == each.wanted for each in status)

    def endpoints_now(self, name: str = "web") -> tuple[str, ...]:
        return self.driver.endpoints("shop", name, 80)

    async def wait_ready(self, namespace: str = "shop") -> None:
        await self.wait(lambda: self.ready(namespace))


async def check_apply_returns_before_pods_are_ready(world: World) -> None:
    await world.driver.apply(spec(deployment("web")))
    assert [(each.name, each.wanted, each.ready) for each in world.driver.status("shop")] == [
        ("web", 1, 0)
    ]
    assert world.driver.endpoints("shop", "web", 80) == ()
    await world.wait_ready()
    assert len(world.driver.endpoints("shop", "web", 80)) == 1


async def check_every_replica_is_an_endpoint_at_its_container_port(world: World) -> None:
    await world.driver.apply(spec(deployment("web", replicas=2)))
    await world.wait_ready()
    endpoints = world.driver.endpoints("shop", "web", 80)
    assert len(set(endpoints)) == 2
    assert {endpoint.rpartition(":")[2] for endpoint in endpoints} == {"8080"}


async def check_a_sidecar_stands_before_its_service_port(world: World) -> None:
    await world.driver.apply(spec(deployment("web"), with_sidecar=True))
    await world.wait_ready()
    (endpoint,) = world.driver.endpoints("shop", "web", 80)
    assert endpoint.endswith(":15001")


async def check_a_sidecar_has_a_token_for_its_pod_until_the_pod_is_gone(world: World) -> None:
    await world.driver.apply(spec(deployment("web"), with_sidecar=True))
    await world.wait_ready()
    (identity,) = world.credentials.valid.values()
    assert (identity.workload, identity.pod[:4]) == ("web", "web-")
    await world.driver.delete("shop")
    assert world.credentials.valid == {}


async def check_a_changed_template_replaces_the_pods(world: World) -> None:
    await world.driver.apply(spec(deployment("web", answer="one")))
    await world.wait_ready()
    before = world.driver.endpoints("shop", "web", 80)
    await world.driver.apply(spec(deployment("web", answer="two")))
    await world.wait(lambda: world.ready() and not {*before} & {*world.endpoints_now()})


async def check_an_unchanged_workload_keeps_its_pods(world: World) -> None:
    await world.driver.apply(spec(deployment("web"), deployment("api")))
    await world.wait_ready()
    before = world.driver.endpoints("shop", "web", 80)
    await world.driver.apply(spec(deployment("web"), deployment("api", answer="other")))
    await world.wait_ready()
    assert world.driver.endpoints("shop", "web", 80) == before


async def check_replicas_grow_and_shrink_around_the_same_pods(world: World) -> None:
    await world.driver.apply(spec(deployment("web")))
    await world.wait_ready()
    (first,) = world.driver.endpoints("shop", "web", 80)
    await world.driver.apply(spec(deployment("web", replicas=2)))
    await world.wait_ready()
    assert first in world.driver.endpoints("shop", "web", 80)
    await world.driver.apply(spec(deployment("web", replicas=0)))
    await world.wait(lambda: world.driver.endpoints("shop", "web", 80) == ())
    assert world.ready()


async def check_a_workload_that_is_no_longer_listed_goes(world: World) -> None:
    await world.driver.apply(spec(deployment("web"), deployment("api")))
    await world.wait_ready()
    await world.driver.apply(spec(deployment("web")))
    assert [each.name for each in world.driver.status("shop")] == ["web"]
    with pytest.raises(NoRoute, match="api"):
        world.driver.endpoints("shop", "api", 80)


async def check_a_workload_that_is_gone_has_no_token_left(world: World) -> None:
    await world.driver.apply(spec(deployment("web"), deployment("api"), with_sidecar=True))
    await world.wait_ready()
    await world.driver.apply(spec(deployment("web"), with_sidecar=True))
    await world.driver.wait_gone("shop", ["web", "api", "never"])
    assert [identity.workload for identity in world.credentials.valid.values()] == ["web"]
    await world.driver.wait_gone("none", ["api"])


async def check_retaining_a_namespace_removes_the_others(world: World) -> None:
    await world.driver.apply(spec(deployment("web"), namespace="one"))
    await world.driver.apply(spec(deployment("web"), namespace="two"))
    await world.driver.retain({"two", "three"}, ())
    assert world.driver.status("one") == ()
    await world.wait_ready("two")


async def check_namespaces_do_not_share_names(world: World) -> None:
    await world.driver.apply(spec(deployment("web"), namespace="one"))
    await world.driver.apply(spec(deployment("web"), namespace="two"))
    await world.wait(lambda: world.ready("one") and world.ready("two"))
    assert world.driver.endpoints("one", "web", 80) != world.driver.endpoints("two", "web", 80)
    assert world.driver.service_host("one", "web") != world.driver.service_host("two", "web")
    await world.driver.delete("one")
    assert world.ready("two")


async def check_a_deleted_namespace_leaves_nothing(world: World) -> None:
    await world.driver.apply(spec(deployment("web")))
    await world.wait_ready()
    told: list[str] = []
    world.driver.on_change(told.append)
    await world.driver.delete("shop")
    assert world.driver.status("shop") == ()
    assert "shop" in told
    with pytest.raises(NoRoute):
        world.driver.endpoints("shop", "web", 80)
    await world.driver.delete("shop")


async def check_an_unknown_service_port_is_no_route(world: World) -> None:
    await world.driver.apply(spec(deployment("web")))
    for namespace, name, port in (("shop", "web", 81), ("shop", "api", 80), ("none", "web", 80)):
        with pytest.raises(NoRoute, match=name):
            world.driver.endpoints(namespace, name, port)
    with pytest.raises(NoRoute):
        world.driver.service_host("shop", "api")


async def check_a_manifest_that_cannot_run_changes_nothing(world: World) -> None:
    await world.driver.apply(spec(deployment("web")))
    await world.wait_ready()
    broken = deployment("api")
    del broken["spec"]["template"]["spec"]["containers"][0]["command"]
    with pytest.raises(ConfigError, match=r"Deployment/api.*web.*no command"):
        await world.driver.apply(spec(broken))
    assert [each.name for each in world.driver.status("shop")] == ["web"]
    assert world.ready()


async def check_closing_twice_is_closing_once(world: World) -> None:
    await world.driver.apply(spec(deployment("web"), with_sidecar=True))
    await world.wait_ready()
    await world.driver.aclose()
    assert world.credentials.valid == {}
    await world.driver.aclose()


async def check_closing_while_pods_start_leaves_nothing(world: World) -> None:
    await world.driver.apply(spec(deployment("web", replicas=3), with_sidecar=True))
    await world.driver.aclose()
    assert world.credentials.valid == {}
    assert world.driver.status("shop") == ()


async def check_deleting_while_pods_start_leaves_nothing(world: World) -> None:
    for _ in range(3):
        await world.driver.apply(spec(deployment("web"), with_sidecar=True))
        await world.driver.delete("shop")
        assert world.credentials.valid == {}


CHECKS = {name: found for name, found in list(globals().items()) if name.startswith("check_")}
