"""Where a pod's processes live: its ports, and what a broken start leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lapdev.cluster.sandbox import Program, Sandbox
from lapdev.cluster.spawner import Child
from lapdev.errors import ClusterError
from tests.cluster.sandboxes import PATH, ground, sandbox, sh
from tests.support.in_outer import in_outer
from tests.support.processes import members, pid_namespace


@in_outer
async def test_a_start_that_fails_says_why_and_leaves_nothing(folder: Path) -> None:
    async with ground(folder) as place:
        pod = place.make(fresh=("/tmp",), keep=("/tmp/no",))
        with pytest.raises(ClusterError, match=r"cannot prepare pod web-x: .*/tmp/no"):
            await pod.start()
        with pytest.raises(ClusterError, match="pod web-x has gone"):
            await pod.spawn(Program(["true"], {}, "/"))
        reaper = place.spawner.reaper_pid
        assert members(pid_namespace(reaper)) == [str(reaper)]


@in_outer
async def test_a_sandbox_that_ended_this_moment_can_be_killed(folder: Path) -> None:
    async with ground(folder) as place:
        pod = place.make()
        await pod.start()
        os.kill(pod.holder_pid, signal.SIGKILL)
        while Path(f"/proc/{pod.holder_pid}").exists():
            time.sleep(0)  # noqa: ASYNC251 - the event loop must not hear of it first
        await pod.kill()
        await pod.wait_gone()


LISTEN = """
import os, signal, socket, sys
kept = [socket.create_server(("", int(port))) for port in sys.argv[2:]]
if sys.argv[1] == "child" and os.fork():
    for server in kept: server.close()
print("listening", flush=True)
signal.pause()
"""


async def listener(pod: Sandbox, *words: str) -> Child:
    read_end, write_end = os.pipe()
    program = Program([sys.executable, "-S", "-c", LISTEN, *words], PATH, "/", write_end)
    child = await pod.spawn(program)
    os.close(write_end)
    with os.fdopen(read_end) as reader:
        lines = 2 if words[0] == "child" else 1
        for _ in range(lines):
            assert await asyncio.to_thread(reader.readline) == "listening\n"
    return child


@in_outer
async def test_the_owner_of_a_port_is_the_container_that_took_it(folder: Path) -> None:
    async with ground(folder) as place:
        pod, other = place.make("web-x"), place.make("web-y")
        await pod.start()
        await other.start()
        assert pod.port_owners() == {}
        web = await listener(pod, "self", "8080", "80")
        worker = await listener(pod, "child", "9090")
        await listener(other, "self", "8080")
        assert pod.listening_ports() == {80, 8080, 9090}
        assert pod.why_not_listening(81) == "does not listen on port 81 yet"
        assert pod.strange_ports() == {}
        assert pod.port_owners() == {80: {web.pid}, 8080: {web.pid}, 9090: {worker.pid}}
        await other.kill()
        await pod.kill()
        assert pod.port_owners() == {}
        assert pod.listening_ports() == frozenset()


@in_outer
async def test_a_pod_knows_itself_by_its_host_name(folder: Path) -> None:
    more: dict[str, Any] = {
        "hostname": "db-0",
        "subdomain": "db",
        "host_aliases": (("127.0.0.1", ("cache", "app_server")),),
    }
    async with sandbox(folder, **more) as pod:
        ip = pod.place.ip
        assert await sh(pod, "hostname; cat /etc/hostname") == "db-0\ndb-0\n"
        assert (await sh(pod, "hostname -f")).strip() == "db-0.db.shop.svc.cluster.local"
        assert (await sh(pod, "getent hosts db-0")).split()[0] == ip
        assert (await sh(pod, "getent hosts app_server")).split()[0] == "127.0.0.1"


@in_outer
async def test_what_a_container_left_running_is_not_in_the_way_of_its_next_run(
    folder: Path,
) -> None:
    async with sandbox(folder) as pod:
        crashing = await listener(pod, "child", "8080")
        os.kill(crashing.pid, signal.SIGKILL)
        assert await crashing.wait() == -signal.SIGKILL
        while 8080 in pod.listening_ports():
            time.sleep(0)  # noqa: ASYNC251 - killed already, its child is on its way out
        again = await listener(pod, "self", "8080")
        assert pod.port_owners() == {8080: {again.pid}}


@in_outer
async def test_what_cannot_be_started_is_told_without_its_arguments(folder: Path) -> None:
    async with sandbox(folder) as pod:
        secret = "x" * 200_000  # longer than an argument can be
        with pytest.raises(ClusterError, match=r"^cannot start web: Argument list too long$"):
            await pod.spawn(Program(["true", secret], {}, "/", container="web"))


@in_outer
async def test_cgroups_are_seen_and_not_changed(folder: Path) -> None:
    if not list(Path("/sys/fs/cgroup").rglob("cgroup.procs")):
        pytest.skip("no cgroups are mounted here")
    look = "find /sys/fs/cgroup -name cgroup.procs -exec sh -c '{}' _ {{}} \\;"
    async with sandbox(folder) as pod:
        assert await sh(pod, look.format("echo seen"))
        assert not await sh(pod, look.format("test ! -w $1 || echo $1"))
