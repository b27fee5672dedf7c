"""Services, names and rollouts of a namespace on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest

from lapdev.cluster.driver import LogQuery, WorkloadSpec
from lapdev.model import Service
from tests.cluster import contract
from tests.cluster.clients import GET, client, wait_ready_or_say_why
from tests.cluster.contract import deployment, spec
from tests.cluster.contract_kinds import headless, job, kind
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


@in_outer
async def test_pods_resolve_headless_services_each_other_and_other_names(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        db = kind(deployment("db", replicas=2), "StatefulSet", serviceName="db")
        await driver.apply(dataclasses.replace(spec(db), services=(headless("db"),)))
        await world.wait_ready()
        ips = {pod.name: pod.ip for pod in driver.pods("shop")}
        script = f"""
            import socket
            ips = {ips!r}
            for suffix in ("", ".shop", ".shop.svc", ".shop.svc.cluster.local"):
                assert set(socket.gethostbyname_ex("db" + suffix)[2]) == set(ips.values()), suffix
                for name, ip in ips.items():
                    assert socket.gethostbyname(name + ".db" + suffix) == ip, name + suffix
            assert get("db-1.db", 8080) == "db"
            assert get("store", 8080) == "db"
            assert get("db", 8080) == "db"
            assert "DB_SERVICE_HOST" not in os.environ
            started = time.monotonic()
            for name in ("db-2.db", "nobody", "db.other", "www.example.com"):
                try:
                    socket.gethostbyname(name)
                except socket.gaierror:
                    continue
                raise SystemExit(name)
            assert time.monotonic() - started < 2
        """
        other_name = Service("store", {}, (), external_name="db.shop.svc.cluster.local")
        asking = spec(db, client("asks", script))
        services = (headless("db"), other_name, *asking.services[1:])
        await driver.apply(dataclasses.replace(asking, services=services))
        await wait_ready_or_say_why(world)


@in_outer
async def test_a_name_follows_the_pods_that_are_ready(folder: Path) -> None:
    async with local_world(folder) as (driver, _):
        script = """
            import socket
            def addresses():
                try:
                    return socket.gethostbyname_ex("db")[2]
                except socket.gaierror:
                    return []
            assert addresses() == []
            print("asked", flush=True)
            while len(addresses()) < 2:
                time.sleep(0.05)
            print("found", flush=True)
        """
        plain = spec(client("asks", script))
        services = (*plain.services, headless("db"))
        await driver.apply(dataclasses.replace(plain, services=services))
        query = LogQuery("asks", follow=True)
        async with contextlib.aclosing(driver.logs("shop", query)) as lines:  # type: ignore[type-var]
            async for line in lines:
                if line.text == "asked":
                    db = spec(client("asks", script), deployment("db", replicas=2))
                    await driver.apply(dataclasses.replace(db, services=services))
                if line.text == "found":
                    break


COUNT = """
import os, pathlib
file = pathlib.Path(os.environ["LAPDEV_VOLUME_DATA"]) / "count"
file.write_text(str(int(file.read_text()) + 1 if file.exists() else 1))
"""


def counting(answer: str) -> dict[str, Any]:
    """A set that counts in its claim how often it was started."""
    manifest = deployment("db", answer=answer)
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["command"][-1] = COUNT + container["command"][-1]
    container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    return kind(manifest, "StatefulSet", serviceName="db", volumeClaimTemplates=[claim])


@pytest.mark.slow
async def test_a_claim_outlives_pods_and_drivers_and_goes_with_its_namespace(
    tmp_path: Path,
) -> None:
    claim = tmp_path / "run" / "volumes" / "shop" / "data-db-0" / "count"
    async with local_world(tmp_path, isolation=False) as (driver, world):
        for answer in ("one", "two"):
            await driver.apply(spec(counting(answer)))
            await world.wait_ready()
        assert claim.read_text() == "2"
    async with local_world(tmp_path, isolation=False) as (driver, world):
        await driver.retain({"shop"}, ())
        await driver.apply(spec(counting("one")))
        await world.wait_ready()
        assert claim.read_text() == "3"
        await driver.retain({"shop", "other"}, ())
        assert claim.read_text() == "3"
        await driver.delete("shop")
        assert not claim.parent.parent.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("claims", "runs"), [(True, 1), (False, 2)])
async def test_a_done_job_is_not_run_again_on_data_that_has_stayed(
    tmp_path: Path, claims: bool, runs: int
) -> None:
    ran = tmp_path / "ran"
    script = f"open({str(ran)!r}, 'a').write('x')"
    beside = counting("db") if claims else deployment("db")
    for _driver in range(2):
        async with local_world(tmp_path, isolation=False) as (driver, world):
            await driver.apply(spec(job("migrate", script), beside))
            await world.wait_ready()
    assert ran.read_text() == "x" * runs
    async with local_world(tmp_path, isolation=False) as (driver, world):
        await driver.apply(spec(job("migrate", script + "#"), beside))
        await world.wait_ready()
        assert ran.read_text() == "x" * (runs + 1)  # another template
        await driver.apply(spec(beside))
        await driver.wait_gone("shop", ["migrate"])
        await driver.apply(spec(job("migrate", script + "#"), beside))
        await world.wait_ready()
        assert ran.read_text() == "x" * (runs + 2)  # it was removed between
        await driver.delete("shop")
        assert [*(tmp_path / "run" / "volumes").iterdir()] == []


@pytest.mark.slow
async def test_an_owners_claims_go_with_it_and_the_namespaces_stay(tmp_path: Path) -> None:
    claims = tmp_path / "run" / "volumes" / "shop"
    base = spec(counting("one"))
    copies = {owner: counting(owner) for owner in ("fix", "other")}
    for owner, copy in copies.items():
        copy["metadata"]["name"] = f"db-{owner}"
    owned = [WorkloadSpec(f"db-{name}", copies[name], None, claims_of=name) for name in copies]
    async with local_world(tmp_path, isolation=False) as (driver, world):
        await driver.apply(dataclasses.replace(base, workloads=(*base.workloads, *owned)))
        await world.wait_ready()
        await driver.apply(base)
        await driver.wait_gone("shop", [item.name for item in owned])
        # A reset workload's data waits for its next version.
        found = {str(file.relative_to(claims)) for file in claims.rglob("count")}
        own = {f".owned/{owner}/data-db-{owner}-0/count" for owner in copies}
        assert found == {"data-db-0/count", *own}
        await driver.remove_claims("shop", "fix")
        await driver.remove_claims("shop", "never")
        await driver.remove_claims("..", "never")
        assert [folder.name for folder in (claims / ".owned").iterdir()] == ["other"]
    async with local_world(tmp_path, isolation=False) as (driver, _):
        await driver.retain({"shop"}, {"other"})
        assert (claims / ".owned" / "other").exists()
        await driver.retain({"shop"}, ())
        assert [file.name for file in claims.rglob("count")] == ["count"]


@pytest.mark.slow
async def test_what_an_earlier_driver_left_of_other_namespaces_goes(tmp_path: Path) -> None:
    volumes = tmp_path / "run" / "volumes"
    async with local_world(tmp_path, isolation=False) as (driver, world):
        for name in ("shop", "old"):
            await driver.apply(dataclasses.replace(spec(counting("one")), name=name))
            await world.wait_ready(name)
    assert {folder.name for folder in volumes.iterdir()} == {"shop", "old"}
    async with local_world(tmp_path, isolation=False) as (driver, world):
        await driver.retain(["shop"], ())
        assert [folder.name for folder in volumes.iterdir()] == ["shop"]
        await driver.delete("..")
        await driver.delete("shop")
        assert [*volumes.iterdir()] == []
        assert volumes.exists()
