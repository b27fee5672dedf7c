"""What stands in for kube-proxy."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.clients import client, wait_ready_or_say_why
from tests.cluster.contract import deployment, spec
from tests.cluster.local_world import local_world
from tests.support.in_outer import in_outer


@in_outer
async def test_a_service_takes_its_ready_pods_in_turn(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        api = deployment("api", replicas=2)
        env = api["spec"]["template"]["spec"]["containers"][0]["env"]
        env[1] = {"name": "ANSWER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        await driver.apply(spec(api))
        await world.wait_ready()
        names = {pod.name for pod in driver.pods("shop")}
        script = f"assert sorted([get('api'), get('api')]) == {sorted(names)!r}"
        await driver.apply(spec(api, client("web", script)))
        await wait_ready_or_say_why(world)


@in_outer
async def test_a_service_without_ready_pods_refuses(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        script = """
            import socket
            started = time.monotonic()
            try:
                socket.create_connection(("api", 80), 5)
            except ConnectionRefusedError:
                assert time.monotonic() - started < 1
            else:
                raise SystemExit("accepted")
        """
        await driver.apply(spec(deployment("api", replicas=0), client("web", script)))
        await wait_ready_or_say_why(world)
