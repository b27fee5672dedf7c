"""Services, names and rollouts of a namespace on this machine."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from tests.cluster import contract
from tests.cluster.clients import GET, client, wait_ready_or_say_why
from tests.cluster.contract import deployment, spec
from tests.cluster.local_world import local_world
from tests.support.in_outer import in_outer


@in_outer
async def test_services_resolve_under_every_usual_name(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        api = deployment("api", bind="0.0.0.0")
        await driver.apply(spec(api, with_sidecar=True))
        await world.wait_ready()
        script = """
            for host in ("api", "api.shop", "api.shop.svc", "api.shop.svc.cluster.local",
                         os.environ["API_SERVICE_HOST"]):
                assert get(host, os.environ["API_SERVICE_PORT"]) == "api", host
        """
        await driver.apply(
            dataclasses.replace(
                spec(api, client("web", script)),
                workloads=(
                    *spec(api, with_sidecar=True).workloads,
                    *spec(client("web", script)).workloads,
                ),
            )
        )
        await wait_ready_or_say_why(world)


ASK = """
    import http.client
    deadline = time.monotonic() + 10
    while True:
        try:
            assert get("web") == "api"
            break
        except (OSError, http.client.HTTPException):  # until api is ready, web has no answer
            assert time.monotonic() < deadline
            time.sleep(0.02)
"""
FRONT = GET + contract.APP.replace("body = ", "body = get('api').encode() or ")


@in_outer
async def test_a_running_pod_resolves_a_service_that_came_later(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        web = deployment("web")
        container = web["spec"]["template"]["spec"]["containers"][0]
        container["command"] = [sys.executable, "-S", "-c", FRONT]
        await driver.apply(spec(web))
        await world.wait_ready()
        (before,) = driver.pods("shop")
        await driver.apply(spec(web, deployment("api"), client("asks", ASK)))
        await wait_ready_or_say_why(world)
        (after,) = (pod for pod in driver.pods("shop") if pod.workload == "web")
        assert after.container_pids == before.container_pids


@in_outer
async def test_a_rollout_never_leaves_the_service_empty(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(deployment("web", answer="one")))
        await world.wait_ready()
        seen: list[int] = []

        def note(_: str) -> None:
            if driver.status("shop"):
                seen.append(len(driver.endpoints("shop", "web", 80)))

        driver.on_change(note)
        (before,) = driver.pods("shop")
        await driver.apply(spec(deployment("web", answer="two")))
        await world.wait(lambda: before.name not in {pod.name for pod in driver.pods("shop")})
        assert seen
        assert min(seen) >= 1


@in_outer
async def test_environments_cannot_dial_each_other(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(deployment("api", bind="0.0.0.0"), namespace="other"))
        await world.wait_ready("other")
        (pod,) = driver.pods("other")
        script = f"""
            import socket
            for address in (({driver.service_host("other", "api")!r}, 80), ({pod.ip!r}, 8080)):
                started = time.monotonic()
                try:
                    socket.create_connection(address, 5)
                except OSError:
                    assert time.monotonic() - started < 2, address
                else:
                    raise SystemExit(str(address))
        """
        await driver.apply(spec(client("web", script)))
        await wait_ready_or_say_why(world)
