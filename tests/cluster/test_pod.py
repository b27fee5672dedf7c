"""One pod: what restarts, what is remembered, and how it ends."""

from __future__ import annotations

import asyncio
import copy
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from lapdev.cluster.driver import LogQuery
from tests.cluster.clients import DAEMON, client, wait_ready_or_say_why
from tests.cluster.contract import deployment, spec
from tests.cluster.local_world import local_world
from tests.support import needs
from tests.support.in_outer import in_outer, run_in_outer
from tests.support.processes import members, pid_namespace


@in_outer
async def test_a_killed_sidecar_is_back_with_a_new_token(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(deployment("web", bind="127.0.0.1"), with_sidecar=True))
        await world.wait_ready()
        (before,) = driver.pods("shop")
        tokens = set(world.credentials.valid)
        assert before.sidecar_pid
        os.kill(before.sidecar_pid, signal.SIGKILL)
        started = asyncio.get_running_loop().time()
        await world.wait(lambda: not world.ready())
        await world.wait_ready()
        assert asyncio.get_running_loop().time() - started < 2
        (after,) = driver.pods("shop")
        assert after.sidecar_pid not in (None, before.sidecar_pid)
        assert (after.name, after.container_pids) == (before.name, before.container_pids)
        assert len(tokens) == len(world.credentials.valid) == 1
        assert not tokens & set(world.credentials.valid)


@in_outer
async def test_the_app_cannot_see_its_sidecar(folder: Path) -> None:
    script = """
        import pathlib
        words = [pathlib.Path(f"/proc/{name}/cmdline").read_bytes()
                 for name in os.listdir("/proc") if name.isdigit()]
        mark = b"--launch" + b"-fd"
        assert not any(mark in word for word in words), words
    """
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(client("web", script), with_sidecar=True))
        await wait_ready_or_say_why(world)


@in_outer
async def test_a_killed_container_starts_again(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(deployment("web")))
        await world.wait_ready()
        (before,) = driver.pods("shop")
        os.kill(before.container_pids[0], signal.SIGKILL)
        await world.wait(lambda: "SIGKILL" in driver.status("shop")[0].detail)
        await world.wait_ready()
        (after,) = driver.pods("shop")
        assert (after.name, after.restarts) == (before.name, 1)
        assert driver.status("shop")[0].detail == ""
        lines = [line.text async for line in driver.logs("shop", LogQuery("web"))]
        assert lines == ["serving", "lapdev: ended by SIGKILL", "serving"]


@in_outer
async def test_a_killed_holder_costs_the_pod_its_processes_and_no_more(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(deployment("web"), with_sidecar=True))
        await world.wait_ready()
        (before,) = driver.pods("shop")
        os.kill(before.holder_pid, signal.SIGKILL)
        await world.wait(lambda: not world.ready())
        await world.wait_ready()
        (after,) = driver.pods("shop")
        assert (after.name, after.ip) == (before.name, before.ip)
        assert after.restarts >= 1
        assert not {*after.container_pids} & {*before.container_pids}


@in_outer
async def test_a_failing_container_says_what_it_printed(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        web = deployment("web")
        container = web["spec"]["template"]["spec"]["containers"][0]
        container["command"] = ["sh", "-c", "echo no database; exit 3"]
        await driver.apply(spec(web))
        await world.wait(lambda: driver.status("shop")[0].restarts >= 2)
        assert driver.status("shop")[0].detail.endswith("2nd time: exit code 3: no database")
        web = copy.deepcopy(web)
        web["spec"]["template"]["spec"]["containers"][0]["command"] = ["/no/such/program"]
        await driver.apply(spec(web))
        missing = "/no/such/program: not found on this machine"
        await world.wait(lambda: missing in driver.status("shop")[0].detail)


@in_outer
async def test_deleting_ends_processes_that_hide_and_do_not_listen(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        web = deployment("web")
        template = web["spec"]["template"]["spec"]
        template["containers"][0]["command"] = [sys.executable, "-S", "-c", DAEMON]
        template["terminationGracePeriodSeconds"] = 1
        await driver.apply(spec(web, with_sidecar=False))
        await world.wait_ready()
        (pod,) = driver.pods("shop")
        namespace = pid_namespace(pod.container_pids[0])
        assert len(members(namespace)) >= 3
        await driver.delete("shop")
        assert members(namespace) == []
        assert list((folder / "run" / "pods").iterdir()) == []


@in_outer
async def test_an_app_has_its_grace_period_to_end(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        script = f"""
            import signal, sys
            def end(*_):
                open({str(folder / "said")!r}, "w").write("bye")
                sys.exit()
            signal.signal(signal.SIGTERM, end)
        """
        web = client("web", script)
        web["spec"]["template"]["spec"]["containers"][0]["workingDir"] = str(folder)
        await driver.apply(spec(web))
        await wait_ready_or_say_why(world)
        await driver.delete("shop")
        assert (folder / "said").read_text() == "bye"


@in_outer
async def test_a_pod_finishes_what_it_has_before_its_app_is_told_to_end(folder: Path) -> None:
    # 15001 is the sidecar's port: once nobody listens there, nothing new can come.
    script = f"""
        import signal, socket, sys
        def end(*_):
            try:
                socket.create_connection(("127.0.0.1", 15001), 5)
                said = "requests can still come"
            except ConnectionRefusedError:
                said = "drained"
            open({str(folder / "said")!r}, "w").write(said)
            sys.exit()
        signal.signal(signal.SIGTERM, end)
    """
    web = client("web", script)
    web["spec"]["template"]["spec"]["containers"][0]["workingDir"] = str(folder)
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(web, with_sidecar=True))
        await wait_ready_or_say_why(world)
        await driver.delete("shop")
        assert (folder / "said").read_text() == "drained"


@in_outer
async def test_a_killed_reaper_costs_every_pod_its_processes_and_no_more(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(deployment("web"), deployment("api"), with_sidecar=True))
        await world.wait_ready()
        before = {pod.name for pod in driver.pods("shop")}
        os.kill(driver._machine.spawner.reaper_pid, signal.SIGKILL)
        await world.wait(lambda: not world.ready())
        await world.wait_ready()
        assert {pod.name for pod in driver.pods("shop")} == before


@in_outer
async def test_a_pod_without_room_for_its_files_says_so_and_starts_when_there_is(
    folder: Path,
) -> None:
    async with local_world(folder) as (driver, world):
        in_the_way = folder / "run" / "pods" / "shop"
        in_the_way.write_text("")
        await driver.apply(spec(deployment("web")))
        await world.wait(lambda: "Not a directory" in driver.status("shop")[0].detail)
        (before,) = driver.pods("shop")
        in_the_way.unlink()
        await world.wait_ready()
        (after,) = driver.pods("shop")
        assert after.name == before.name, "the pod is tried again, not replaced in a hurry"


@in_outer
async def test_an_app_cannot_read_what_is_private(folder: Path) -> None:
    data = Path.home() / f".lapdev-private-{os.getpid()}"
    data.mkdir()
    token = data.with_suffix(".token")
    try:
        for secret in (token, data / "bootstrap-token"):
            secret.write_text("s3cr3t")
        script = f"""
            assert os.listdir({str(data)!r}) == []
            assert open({str(token)!r}).read() == ""
        """
        private = (str(data), str(token), str(folder / "none"))
        async with local_world(folder, private=private) as (driver, world):
            await driver.apply(spec(client("web", script)))
            await wait_ready_or_say_why(world)
    finally:
        shutil.rmtree(data)
        token.unlink()


@in_outer
async def test_a_probe_by_command_sees_what_its_container_sees(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        web = deployment("web")
        pod = web["spec"]["template"]["spec"]
        pod["volumes"] = [{"name": "data", "emptyDir": {}}]
        container = pod["containers"][0]
        container["volumeMounts"] = [{"name": "data", "mountPath": "/no/such/folder/here"}]
        container["command"] = ["sh", "-c", "touch /no/such/folder/here/up; exec sleep 1000"]
        container["workingDir"] = str(folder)
        look = ["test", "-e", "/no/such/folder/here/up"]
        container["readinessProbe"] = {"exec": {"command": look}}
        container["lifecycle"] = {"preStop": {"exec": {"command": ["touch", str(folder / "said")]}}}
        await driver.apply(spec(web))
        await world.wait_ready()
        await driver.delete("shop")
        assert (folder / "said").exists()


@in_outer
async def test_two_containers_that_want_one_port_are_both_named(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        web = deployment("web", bind="127.0.0.1")
        containers = web["spec"]["template"]["spec"]["containers"]
        worker = containers[0] | {"name": "worker"}
        del worker["ports"]
        containers.append(worker)
        await driver.apply(spec(web, with_sidecar=True))
        text = "port 8080 is taken by container {} of the same pod (containers share localhost)"
        either = [text.format("web"), text.format("worker")]
        await world.wait(lambda: any(each in driver.status("shop")[0].detail for each in either))


@in_outer
async def test_init_containers_fill_volumes_for_those_after_them(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        web = client("web", "assert open('/srv/made/page').read() == 'hello'")
        pod = web["spec"]["template"]["spec"]
        pod["volumes"] = [{"name": "pages", "emptyDir": {}}]
        mounts = [{"name": "pages", "mountPath": "/srv/made"}]
        pod["containers"][0]["volumeMounts"] = mounts
        make = ["sh", "-c", "printf hello > /srv/made/page"]
        pod["initContainers"] = [{"name": "make", "command": make, "volumeMounts": mounts}]
        await driver.apply(spec(web))
        await wait_ready_or_say_why(world)


@pytest.mark.slow
def test_a_container_out_of_memory_is_told_apart_from_one_that_was_killed() -> None:
    needs.cgroups()
    run_in_outer(__name__, "out_of_memory")


async def out_of_memory(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        web = deployment("web")
        container = web["spec"]["template"]["spec"]["containers"][0]
        script = "x = bytearray(200 << 20)"
        container["command"] = [sys.executable, "-S", "-c", script]
        container["resources"] = {"limits": {"memory": "64Mi"}}
        await driver.apply(spec(web))
        # The second run's has to be its own, not the first one's again.
        await world.wait(lambda: driver.status("shop")[0].restarts >= 2)
        assert driver.status("shop")[0].last_exit == "web: out of memory (limit 64 MiB)"
