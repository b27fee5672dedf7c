"""Limits of containers: what the machine offers, and that the kernel keeps them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lapdev.cluster import cgroups
from lapdev.cluster.cgroups import Hierarchy, Limits, find
from lapdev.cluster.machine_ports import MachinePorts
from lapdev.cluster.manifests import Resources
from lapdev.cluster.open_sandbox import OpenSandbox
from lapdev.cluster.sandbox import Place, Program
from lapdev.cluster.spawner import Spawner
from lapdev.cluster.subnets import LOOPBACK_RANGE, AddressPlan
from lapdev.errors import ClusterError
from tests.cluster.sandboxes import PATH, Ground, ground, run
from tests.support import needs
from tests.support.in_outer import in_outer

MEBIBYTE = 1 << 20
EAT = "data = bytearray(200 << 20); print(len(data))"


# What the machine says


def proc(folder: Path, mounts: str, paths: str) -> Path:
    (folder / "mountinfo").write_text(mounts.replace("HERE", str(folder)))
    (folder / "cgroup").write_text(paths)
    return folder


def offer(folder: Path, controllers: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "cgroup.controllers").write_text(controllers)
    for name in ("cgroup.subtree_control", "cgroup.procs"):
        (folder / name).write_text("")
    return folder


TWO = "30 20 0:26 / HERE/fs rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
PART = "30 20 0:26 /box HERE/fs rw - cgroup2 cgroup2 rw\n"


def test_the_root_of_what_we_see_is_ours_to_divide(tmp_path: Path) -> None:
    offer(tmp_path / "fs", "cpuset cpu io memory pids\n")
    limits = find(proc(tmp_path, TWO, "0::/\n"))
    assert limits.hierarchies == (Hierarchy(tmp_path / "fs", 2, frozenset({"memory", "cpu"})),)
    assert limits.explain() == ""
    assert (tmp_path / "fs" / "cgroup.subtree_control").read_text() == "+cpu +memory"


@pytest.mark.parametrize("own", ["user.slice/run.scope", f"user.slice/run.scope/{cgroups.LEAF}"])
def test_a_delegated_group_is_ours_before_and_after_we_moved(tmp_path: Path, own: str) -> None:
    scope = offer(tmp_path / "fs" / "user.slice" / "run.scope", "memory")
    (scope / cgroups.LEAF).mkdir()
    try:
        os.setxattr(scope, "user.delegate", b"1")
    except OSError:
        pytest.skip("needs a file system with extended attributes")
    limits = find(proc(tmp_path, TWO, f"0::/{own}\n"))
    assert limits.hierarchies == (Hierarchy(scope, 2, frozenset({"memory"})),)
    assert limits.explain().startswith("cpu limits of containers are not kept: ")


@pytest.mark.parametrize(
    ("mounts", "paths", "controllers", "why"),
    [
        (TWO, "0::/mine\n", "memory cpu", "our cgroup is not delegated to us"),
        (TWO, "0::/mine\n", "pids", "our cgroup has no memory and cpu controller"),
        (PART, "0::/elsewhere\n", "memory cpu", "our cgroup is not to be seen"),
        ("", "", "memory cpu", ""),
    ],
)
def test_what_is_not_ours_is_left_alone_and_said(
    tmp_path: Path, mounts: str, paths: str, controllers: str, why: str
) -> None:
    offer(tmp_path / "fs" / "mine", controllers)
    limits = find(proc(tmp_path, mounts, paths))
    assert not limits.available
    assert why in limits.explain()
    assert "systemd-run --user --scope -p Delegate=yes" in limits.explain()
    assert (tmp_path / "fs" / "mine" / "cgroup.subtree_control").read_text() == ""


def test_a_machine_without_cgroups_has_no_limits(tmp_path: Path) -> None:
    limits = find(tmp_path)
    assert not limits.available
    assert "no cgroups to be seen" in limits.explain()


def test_version_one_is_used_where_it_may_be_written(tmp_path: Path) -> None:
    mounts = (
        "31 20 0:27 /box HERE/memory rw - cgroup cgroup rw,memory\n"
        "32 20 0:28 / HERE/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "33 20 0:29 / HERE/unified rw - cgroup2 cgroup2 rw\n"
    )
    offer(tmp_path / "unified", "")
    for folder in ("memory/one", "cpu,cpuacct"):
        (tmp_path / folder).mkdir(parents=True)
    limits = find(proc(tmp_path, mounts, "9:memory:/box/one\n8:cpu,cpuacct:/\n0::/\n"))
    assert limits.hierarchies == (
        Hierarchy(tmp_path / "memory" / "one", 1, frozenset({"memory"})),
        Hierarchy(tmp_path / "cpu,cpuacct", 1, frozenset({"cpu"})),
    )
    assert limits.explain() == ""


# What is written


def limits_at(folder: Path, version: int) -> Limits:
    folder.mkdir()
    return Limits((Hierarchy(folder, version, frozenset({"memory", "cpu"})),))


def settings(limits: Limits, resources: Resources) -> dict[str, str]:
    (hierarchy,) = limits.hierarchies
    return dict(cgroups._settings(hierarchy, resources))


@pytest.mark.parametrize(
    ("resources", "written"),
    [
        (
            Resources(cpu_limit=0.5, memory_limit=64 * MEBIBYTE),
            {
                "memory.max": "67108864",
                "memory.swap.max": "0",
                "memory.oom.group": "1",
                "cpu.max": "50000 100000",
            },
        ),
        (
            Resources(cpu_limit=0.001),
            {
                "memory.max": "max",
                "memory.swap.max": "max",
                "memory.oom.group": "1",
                "cpu.max": "1000 100000",
            },
        ),
    ],
)
def test_version_two_is_told_in_its_words(
    tmp_path: Path, resources: Resources, written: dict[str, str]
) -> None:
    assert settings(limits_at(tmp_path / "fs", 2), resources) == written


def test_version_one_is_told_in_its_words(tmp_path: Path) -> None:
    limits = limits_at(tmp_path / "fs", 1)
    assert settings(limits, Resources(cpu_limit=2.0, memory_limit=4096)) == {
        "memory.memsw.limit_in_bytes": "4096",
        "memory.limit_in_bytes": "4096",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "200000",
    }
    assert settings(limits, Resources()) == {
        "memory.memsw.limit_in_bytes": "-1",
        "memory.limit_in_bytes": "-1",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "-1",
    }


def test_a_container_without_limits_has_no_group(tmp_path: Path) -> None:
    limits = limits_at(tmp_path / "fs", 2)
    pod = limits.pod("shop", "web-x")
    assert pod.enter("web", Resources(memory_request=4096)) == []
    assert pod.enter_beside("web") == []
    assert pod.oom_kills("web") == 0
    assert list((tmp_path / "fs").iterdir()) == []


def test_groups_of_dead_managers_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    limits = limits_at(tmp_path / "fs", 2)
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    kept = [limits.instance, "lapdev-own", "lapdev-x-y", "other"]
    for name in (*kept, f"lapdev-{dead.pid}-1", f"lapdev-{os.getpid()}-1"):
        (tmp_path / "fs" / name / "shop_web-x" / "web").mkdir(parents=True)
    limits.remove_left_cgroups()
    assert {path.name for path in (tmp_path / "fs").iterdir()} == set(kept)
    limits.aclose()
    assert limits.instance not in {path.name for path in (tmp_path / "fs").iterdir()}
    limits.aclose()


# The kernel


def test_processes_of_a_delegated_group_move_to_a_leaf_of_it(tmp_path: Path) -> None:
    scope = needs.cgroup_tree() / f"lapdev-test-{os.getpid()}"
    scope.mkdir()
    try:
        with subprocess.Popen(["sleep", "1000"]) as sleeping:
            (scope / "cgroup.procs").write_text(str(sleeping.pid))
            assert not cgroups._delegated(scope)
            os.setxattr(scope, "user.delegate", b"1")
            assert cgroups._delegated(scope)
            for _ in range(2):
                cgroups._move_to_leaf(scope)
                assert (scope / "cgroup.procs").read_text() == ""
                leaf = (scope / cgroups.LEAF / "cgroup.procs").read_text()
                assert leaf.split() == [str(sleeping.pid)]
            sleeping.kill()
    finally:
        cgroups._remove_tree(scope)
    assert not scope.exists()


def test_a_group_with_a_process_in_it_stays(tmp_path: Path) -> None:
    scope = needs.cgroup_tree() / f"lapdev-test-{os.getpid()}"
    limits = Limits((Hierarchy(scope, 2, frozenset()),))
    pod = limits.pod("shop", "web-x")
    scope.mkdir()
    try:
        (fd,) = pod.enter("web", Resources(memory_limit=4096))
        with subprocess.Popen(["sleep", "1000"]) as sleeping:
            os.write(fd, str(sleeping.pid).encode())
            os.close(fd)
            pod.remove()
            assert (scope / limits.instance / "shop_web-x" / "web").exists()
            sleeping.kill()
        limits.aclose()
        assert list(cgroups._subgroups(scope)) == []
    finally:
        cgroups._remove_tree(scope)


def real_limits() -> Limits:
    limits = find()
    assert limits.available
    assert limits.explain() == ""
    return limits


def own_groups(limits: Limits) -> list[Path]:
    return [
        hierarchy.folder / limits.instance
        for hierarchy in limits.hierarchies
        if (hierarchy.folder / limits.instance).exists()
    ]


async def check_memory(folder: Path) -> None:
    limits = find()
    async with ground(folder) as place:
        place.limits = limits
        pod = place.make()
        await pod.start()
        hungry = Resources(memory_limit=64 * MEBIBYTE)
        eat = [sys.executable, "-S", "-c", EAT]
        status, _ = await run(pod, *eat, container="web", resources=hungry)
        assert status == -signal.SIGKILL
        assert (pod.oom_kills("web"), pod.oom_kills("other")) == (1, 0)
        # A limit that has been raised holds for the next process.
        fed = Resources(memory_limit=400 * MEBIBYTE)
        assert (await run(pod, *eat, container="web", resources=fed))[0] == 0
        assert (await run(pod, *eat, container="other", resources=hungry))[0] == -signal.SIGKILL
        assert (await run(pod, *eat, container="free"))[0] == 0
        await check_beside(place, hungry)
        await pod.kill()
        assert own_groups(limits)
        assert not [path for group in own_groups(limits) for path in cgroups._subgroups(group)]
    limits.aclose()
    assert own_groups(limits) == []


async def check_beside(place: Ground, resources: Resources) -> None:
    pod = place.make("web-y")
    await pod.start()
    program = Program(["sleep", "1000"], PATH, "/", container="web", resources=resources)
    child = await pod.spawn(program)
    eat = [sys.executable, "-S", "-c", EAT]
    ended = await run(pod, *eat, beside=child)
    assert ended[0] == -signal.SIGKILL, ended
    assert pod.oom_kills("web") == 1
    await pod.kill()


@pytest.mark.slow
def test_a_container_over_its_memory_limit_is_ended_and_counted() -> None:
    needs.cgroups()
    in_outer(check_memory)()


LEAVE = """
import os
from lapdev.cluster.cgroups import find
from lapdev.cluster.manifests import Resources
limits = find()
limits.pod("shop", "web-x").enter("web", Resources(memory_limit=1 << 26))
print(limits.instance, flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_manager_left_goes_with_the_next() -> None:
    needs.cgroups()
    done = subprocess.run(
        [sys.executable, "-c", LEAVE],
        capture_output=True,
        text=True,
        cwd=needs.PROJECT,
        check=False,
    )
    limits = find()
    limits.instance = done.stdout.strip()
    assert own_groups(limits), done.stderr
    find().remove_left_cgroups()
    assert own_groups(limits) == []


async def test_without_namespaces_limits_are_kept_as_well(tmp_path: Path) -> None:
    needs.cgroups()
    limits = find()
    spawner = Spawner(sys.executable, isolation=False)
    await spawner.start()
    subnet = AddressPlan(LOOPBACK_RANGE).take()
    place = Place("web-x", "shop", subnet.pods.take(), subnet, "", tmp_path)
    pod = OpenSandbox(spawner, place, MachinePorts(), limits)
    eat = [sys.executable, "-S", "-c", EAT]
    hungry = Resources(memory_limit=64 * MEBIBYTE)
    child = await pod.spawn(Program(eat, PATH, "/", container="web", resources=hungry))
    assert await child.wait() == -signal.SIGKILL
    assert pod.oom_kills("web") == 1
    await pod.kill()
    await spawner.aclose()
    limits.aclose()
    assert own_groups(limits) == []


async def check_processors(folder: Path) -> None:
    """A tenth of a processor: two tenths of a second of work take longer than one."""
    limits = find()
    script = "import time; s = time.monotonic()\nwhile time.process_time() < .2: pass\n"
    script += "print(time.monotonic() - s)"
    async with ground(folder) as place:
        place.limits = limits
        pod = place.make()
        await pod.start()
        status, printed = await run(
            pod,
            sys.executable,
            "-S",
            "-c",
            script,
            container="web",
            resources=Resources(cpu_limit=0.1),
        )
        assert (status, float(printed) > 1.0) == (0, True), printed
        await pod.kill()
    limits.aclose()


@pytest.mark.slow
def test_a_container_over_its_processor_limit_is_slowed_down() -> None:
    needs.cgroups()
    in_outer(check_processors)()


async def test_a_limit_the_kernel_refuses_is_said(tmp_path: Path) -> None:
    needs.cgroups()
    limits = real_limits()
    pod = limits.pod("test", f"refused-{os.getpid()}")
    too_much = Resources(cpu_limit=1e15)
    with pytest.raises(ClusterError, match=r"the limit cpu\.\w+ = \d+.* is refused"):
        await asyncio.to_thread(pod.enter, "web", too_much)
    pod.remove()
    pod.remove()
    limits.aclose()
    assert own_groups(limits) == []
