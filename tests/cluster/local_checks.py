"""What the local driver does beyond the contract; each runs in namespaces (`run_in_outer`).

A `client` is a pod whose script does something in the cluster and listens only if it succeeded:
ready means yes, and a failure shows in the status' detail.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import select
import signal
import sys
import textwrap
from pathlib import Path
from typing import Any

from lapdev.cluster.driver import NamespaceSpec
from lapdev.cluster.local import LocalDriver
from tests.cluster import contract
from tests.cluster.contract import World, deployment, service, spec
from tests.cluster.local_world import local_world

LISTEN = "\nimport socket; sock = socket.create_server(('', 8080)); sock.accept()\n"
GET = """
import os, time, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
def get(host, port=80):
    return opener.open(f"http://{host}:{port}/", timeout=5).read().decode()
"""


def client(name: str, script: str) -> dict[str, Any]:
    manifest = deployment(name)
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["command"] = [sys.executable, "-S", "-c", GET + textwrap.dedent(script) + LISTEN]
    return manifest


async def wait_ready_or_say_why(world: World, namespace: str = "shop") -> None:
    def settled() -> bool:
        problems = [each.detail for each in world.driver.status(namespace) if each.detail]
        assert not problems, problems
        return world.ready(namespace)

    await world.wait(settled)


async def services_resolve_under_every_usual_name(folder: Path) -> None:
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


async def a_service_takes_its_ready_pods_in_turn(folder: Path) -> None:
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


async def a_service_without_ready_pods_refuses(folder: Path) -> None:
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


FRONT = GET + contract.APP.replace("body = ", "body = get('api').encode() or ")


async def a_running_pod_resolves_a_service_that_came_later(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        web = deployment("web")
        container = web["spec"]["template"]["spec"]["containers"][0]
        container["command"] = [sys.executable, "-S", "-c", FRONT]
        await driver.apply(spec(web))
        await world.wait_ready()
        (before,) = driver.pods("shop")
        await driver.apply(
            spec(web, deployment("api"), client("asks", "assert get('web') == 'api'"))
        )
        await wait_ready_or_say_why(world)
        (after,) = (pod for pod in driver.pods("shop") if pod.workload == "web")
        assert after.container_pids == before.container_pids


async def a_pod_is_a_small_machine_of_its_own(folder: Path) -> None:
    script = """
        import pathlib, socket
        assert (os.getuid(), os.geteuid()) == (1000, 1000)
        assert socket.gethostname() == os.environ["HOSTNAME"]
        assert pathlib.Path("/etc/hostname").read_text().strip() == os.environ["HOSTNAME"]
        assert socket.gethostbyname(os.environ["HOSTNAME"]) == os.environ["BIND"]
        assert [name for _, name in socket.if_nameindex()] == ["lo", "eth0"], socket.if_nameindex()
        assert "lapdev-secret" not in os.environ.get("MARK", "")
        pathlib.Path("/tmp/mine").write_text("x")
        pathlib.Path("/dev/shm/mine").write_text("x")
        socket.create_server(("", 80)).close()
        processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        assert sorted(processes) == [1, os.getpid()], processes
        started = time.monotonic()
        for name, call in {
            "outside": lambda: socket.create_connection(("192.0.2.1", 80), 5),
            "unknown name": lambda: socket.getaddrinfo("nowhere.example", 80),
        }.items():
            try:
                call()
            except OSError:
                assert time.monotonic() - started < 2, name
            else:
                raise SystemExit(name)
        status = pathlib.Path("/proc/self/status").read_text()
        assert "CapEff:\\t0000000000000000" in status
        assert "NoNewPrivs:\\t1" in status
    """
    os.environ["MARK"] = "lapdev-secret"
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(client("web", script)))
        await wait_ready_or_say_why(world)
    assert not Path("/tmp/mine").exists()


async def environments_cannot_dial_each_other(folder: Path) -> None:
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


async def a_killed_sidecar_is_back_with_a_new_token(folder: Path) -> None:
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


async def the_app_can_neither_see_nor_signal_its_sidecar(folder: Path) -> None:
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


async def a_killed_container_starts_again(folder: Path) -> None:
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
        lines = [line.partition(": ")[2] for line in driver.logs("shop", "web", 10)]
        assert lines == ["serving", "lapdev: was ended by SIGKILL", "serving"]


async def a_killed_holder_costs_the_pod_its_processes_and_no_more(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(deployment("web"), with_sidecar=True))
        await world.wait_ready()
        (before,) = driver.pods("shop")
        os.kill(_parent_in_pod(before.container_pids[0]), signal.SIGKILL)
        await world.wait(lambda: not world.ready())
        await world.wait_ready()
        (after,) = driver.pods("shop")
        assert (after.name, after.ip) == (before.name, before.ip)
        assert after.restarts >= 1
        assert not {*after.container_pids} & {*before.container_pids}


def _parent_in_pod(member: int) -> int:
    """The holder: PID 1 of the PID namespace the process is in."""
    namespace = _pid_namespace(member)
    for name in _members(namespace):
        status = Path(f"/proc/{name}/status").read_text()
        if status.partition("NSpid:")[2].split("\n")[0].split()[-1] == "1":
            return int(name)
    raise AssertionError("no holder")


async def a_failing_container_says_what_it_printed(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        web = deployment("web")
        container = web["spec"]["template"]["spec"]["containers"][0]
        container["command"] = ["sh", "-c", "echo no database; exit 3"]
        await driver.apply(spec(web))
        await world.wait(lambda: driver.status("shop")[0].restarts >= 2)
        assert driver.status("shop")[0].detail == "web ended with status 3: no database"
        container["command"] = ["/no/such/program"]
        await driver.apply(spec(web))
        await world.wait(lambda: "not found" in driver.status("shop")[0].detail)


DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("parent", flush=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True: time.sleep(100)
    os._exit(0)
import socket
sock = socket.create_server(("", 8080))
while True: time.sleep(100)
"""


async def deleting_ends_processes_that_hide_and_do_not_listen(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        web = deployment("web")
        template = web["spec"]["template"]["spec"]
        template["containers"][0]["command"] = [sys.executable, "-S", "-c", DAEMON]
        template["terminationGracePeriodSeconds"] = 1
        await driver.apply(spec(web, with_sidecar=False))
        await world.wait_ready()
        (pod,) = driver.pods("shop")
        namespace = _pid_namespace(pod.container_pids[0])
        assert len(_members(namespace)) >= 3
        await driver.delete("shop")
        assert _members(namespace) == []
        assert list((folder / "pods").iterdir()) == []


def _pid_namespace(pid: int | str | None) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def _members(pid_namespace: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and _pid_namespace(entry.name) == pid_namespace:
                found.append(entry.name)
        except OSError:
            continue  # it has just ended
    return found


async def an_app_has_its_grace_period_to_end(folder: Path) -> None:
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


async def a_probe_decides_who_is_ready(folder: Path) -> None:
    async with local_world(folder) as (driver, world):
        web = deployment("web")
        container = web["spec"]["template"]["spec"]["containers"][0]
        container["readinessProbe"] = {"httpGet": {"path": "/up", "port": "http"}}
        await driver.apply(spec(web))
        await world.wait_ready()


async def a_rollout_never_leaves_the_service_empty(folder: Path) -> None:
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


async def serve_until_killed(folder: Path, ready_fd: str) -> None:
    """Not a check: a manager for `test_local` to kill. Tells which processes it runs."""
    async with local_world(folder) as (driver, world):
        web = deployment("web")
        web["spec"]["template"]["spec"]["containers"][0]["command"] = [
            sys.executable,
            "-S",
            "-c",
            DAEMON,
        ]
        services = (service("web"), service("api"))
        workloads = (
            *spec(web, with_sidecar=True).workloads,
            *spec(deployment("api"), with_sidecar=True).workloads,
        )
        await driver.apply(NamespaceSpec("shop", workloads, services))
        await world.wait_ready()
        os.write(int(ready_fd), json.dumps(_everything_started(driver)).encode() + b"\n")
        await asyncio.Event().wait()


def _everything_started(driver: LocalDriver) -> list[int]:
    """Process ids of all pods, the reaper, and whatever they started."""
    pids = {pid for pod in driver.pods("shop") for pid in (*pod.container_pids, pod.sidecar_pid)}
    spaces = {_pid_namespace(pid) for pid in pids}
    return sorted(int(member) for space in spaces for member in _members(space))


def all_gone(pidfds: list[int], timeout: float) -> bool:
    """Every process has ended within `timeout` seconds."""
    waiting = set(pidfds)
    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    while waiting:
        ended = poll.poll(timeout * 1000)
        if not ended:
            return False
        for pidfd, _ in ended:
            poll.unregister(pidfd)
            waiting.discard(pidfd)
    return True


CHECKS = [
    name
    for name, value in list(globals().items())
    if asyncio.iscoroutinefunction(value)
    and not name.startswith(("wait", "serve", "_", "local"))
    and getattr(value, "__module__", "") == __name__
]
assert contract.CHECKS
