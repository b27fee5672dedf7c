"""Mounts of one container: in their places, whatever the machine has there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lapdev.cluster import mounts
from lapdev.cluster.mounts import Step
from lapdev.cluster.volumes import BindMount
from tests.cluster.sandboxes import run, sandbox, sh
from tests.support.in_outer import in_outer


def test_a_plan_is_read_as_it_was_written() -> None:
    steps = [
        Step(mounts.OWN, "/tmp"),
        Step(mounts.READ_ONLY, "/a b\n,:", "/source", ""),
        Step(mounts.READ_WRITE, "/data/\udcff", "x/y", "/volume"),
    ]
    read = mounts.decode(mounts.encode(steps))
    assert [(s.kind, s.target, s.source, s.within) for s in read] == [
        (s.kind, s.target, s.source, s.within) for s in steps
    ]


def volume(folder: Path, name: str = "data", **files: str) -> Path:
    made = folder / "volumes" / name
    made.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (made / file).write_text(text)
    return made


def bind(source: Path, target: str, *, read_only: bool = False) -> BindMount:
    return BindMount(str(source), target, read_only)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def machine() -> list[set[str]]:
    return [names(Path(folder)) for folder in ("/", "/etc", "/var/lib")]


@in_outer
async def test_a_volume_is_seen_by_its_container_only(folder: Path) -> None:
    data = volume(folder, hello="one")
    async with sandbox(folder, fresh=("/tmp", str(folder))) as pod:
        given = (bind(data, "/tmp/data"),)
        assert await sh(pod, "cat /tmp/data/hello; echo two > /tmp/data/more", mounts=given) == (
            "one"
        )
        assert (data / "more").read_text() == "two\n"
        assert (await run(pod, "cat", "/tmp/data/hello"))[0] != 0


@in_outer
async def test_places_that_do_not_exist_are_made_without_touching_the_machine(
    folder: Path,
) -> None:
    data, conf = volume(folder, a="1"), volume(folder, "conf", b="2")
    (folder / "app").mkdir()
    for name in ("main.py", "other.py"):
        (folder / "app" / name).write_text(name)
    (folder / "app" / "link").symlink_to("main.py")
    before = machine()
    given = (
        bind(data, "/data"),
        bind(conf, "/data2/deep/er"),
        bind(data, "/var/lib/lapdev-test/data"),
        bind(conf / "b", "/etc/lapdev-test/b.conf"),
        bind(conf, f"{folder}/app/conf"),
        bind(conf / "b", f"{folder}/app/other.py"),
    )
    script = f"""
        cat /data/a /data2/deep/er/b /var/lib/lapdev-test/data/a /etc/lapdev-test/b.conf
        cd {folder}/app; cat conf/b main.py other.py link
        test -L link; test -f /etc/passwd; test -d /var/lib/dpkg; test -c /dev/null; test -d /proc/1
        test -x /usr/bin/env
        touch {folder}/app/new /var/lib/new /new
    """
    async with sandbox(folder, fresh=("/tmp", "/dev/shm"), keep=(str(folder),)) as pod:
        assert await sh(pod, script, mounts=given) == "12122main.py2main.py"
        assert await sh(pod, "umask 0; mkdir /tmp/t /data/t", mounts=given) == ""
        # Another container of the same pod sees the machine as it is.
        assert (await run(pod, "cat", "/data/a"))[0] != 0
        assert await sh(pod, "test -e /data || test -e /new || echo no") == "no\n"
    assert machine() == before
    assert names(folder / "app") == {"link", "main.py", "other.py"}
    assert (folder / "app" / "other.py").read_text() == "other.py"


@in_outer
async def test_the_working_directory_and_the_program_may_be_in_a_volume(folder: Path) -> None:
    data = volume(folder, run="#!/bin/sh\npwd\n")
    (data / "run").chmod(0o755)
    async with sandbox(folder) as pod:
        given = (bind(data, "/srv/lapdev-app"),)
        ran = await run(pod, "./run", cwd="/srv/lapdev-app", mounts=given)
        assert ran == (0, "/srv/lapdev-app\n")


@in_outer
async def test_a_read_only_mount_is_not_written(folder: Path) -> None:
    data = volume(folder, a="1")
    async with sandbox(folder) as pod:
        given = (bind(data, "/data", read_only=True),)
        status, printed = await run(pod, "touch", "/data/b", mounts=given)
        assert status != 0
        assert "Read-only file system" in printed
        given = (*given, bind(data, "/data/inner"))
        assert await sh(pod, "cat /data/a /data/inner/a; touch /data/inner/c", mounts=given) == "11"


@in_outer
async def test_a_place_inside_a_volume_is_made_in_the_volume(folder: Path) -> None:
    data, conf = volume(folder), volume(folder, "conf", b="2")
    given = (bind(data, "/data"), bind(conf, "/data/conf/d"), bind(conf / "b", "/data/b"))
    async with sandbox(folder) as pod:
        script = "cat /data/conf/d/b /data/b; echo kept > /data/kept"
        assert await sh(pod, script, mounts=given) == "22"
    assert (data / "kept").read_text() == "kept\n"
    assert (data / "conf" / "d").is_dir()


@in_outer
async def test_a_link_put_in_place_of_a_volume_is_not_followed(folder: Path) -> None:
    data, secret = volume(folder), volume(folder, "secret")
    async with sandbox(folder) as pod:
        given = (bind(data, "/data"),)
        await sh(pod, "true", mounts=given)
        # As a pod may do that sees the folder around it, and is started again.
        data.rename(folder / "moved")
        data.symlink_to(secret)
        part = BindMount(f"{data}/b", "/part", within=str(data))
        for steps in (given, (part,), (bind(data / "b", "/file"),)):
            status, printed = await run(pod, "true", mounts=steps)
            assert (status, "a link has taken its place" in printed) == (126, True), printed


@in_outer
async def test_a_part_of_a_volume_is_made_and_no_link_leads_out_of_it(folder: Path) -> None:
    data = volume(folder)
    (data / "out").symlink_to("/etc")
    (data / "in").symlink_to("real")
    (data / "real").mkdir()
    (data / "real" / "x").write_text("x")
    async with sandbox(folder) as pod:
        part = (BindMount(f"{data}/one/two", "/part", within=str(data)),)
        await sh(pod, "touch /part/here", mounts=part)
        assert (data / "one" / "two" / "here").exists()
        part = (BindMount(f"{data}/in/x", "/file", within=str(data)),)
        assert await sh(pod, "cat /file", mounts=part) == "x"
        for leading_out in ("out", "out/passwd", "out/lapdev-test"):
            part = (BindMount(f"{data}/{leading_out}", "/part", within=str(data)),)
            status, printed = await run(pod, "true", mounts=part)
            assert (status, "leads out of its volume" in printed) == (126, True), printed
    assert not Path("/etc/lapdev-test").exists()


@in_outer
async def test_what_is_not_for_pods_is_not_in_a_folder_above_it_either(folder: Path) -> None:
    secrets = folder / "home" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "token").write_text("t")
    (folder / "home" / "netrc").write_text("t")
    (folder / "home" / "shown").write_text("s")
    fresh = (str(secrets), str(folder / "home" / "netrc"), str(folder / "nowhere"))
    async with sandbox(folder, fresh=fresh) as pod:
        given = (bind(folder / "home", "/mnt/home"),)
        script = "cat /mnt/home/shown /mnt/home/netrc; ls -A /mnt/home/secrets"
        assert await sh(pod, script, mounts=given) == "s"
        # Asked for by itself, it is there.
        given = (bind(secrets, "/mnt/secrets"),)
        assert await sh(pod, "cat /mnt/secrets/token", mounts=given) == "t"


@in_outer
async def test_what_runs_beside_a_container_sees_its_mounts(folder: Path) -> None:
    from lapdev.cluster.sandbox import Program

    data = volume(folder, a="1")
    async with sandbox(folder) as pod:
        program = Program(
            ["sleep", "1000"],
            {"PATH": os.defpath},
            "/",
            container="web",
            mounts=(bind(data, "/data"),),
        )
        child = await pod.spawn(program)
        # At once: it waits until the other one is there.
        assert await run(pod, "cat", "/data/a", beside=child) == (0, "1")
        assert (await run(pod, "cat", "/data/a"))[0] != 0


@in_outer
async def test_a_mount_that_cannot_be_says_why(folder: Path) -> None:
    async with sandbox(folder) as pod:
        given = (bind(folder / "gone", "/data"),)
        status, printed = await run(pod, "true", mounts=given)
        assert status == 126
        assert printed == (
            f"lapdev: cannot mount {folder}/gone at /data: No such file or directory\n"
        )


@in_outer
async def test_places_that_are_something_else_on_the_machine_are_replaced(folder: Path) -> None:
    data = volume(folder, a="1")
    given = (
        bind(data, "/etc/passwd"),
        bind(data / "a", "/usr/share/zoneinfo"),
        bind(data, "/var/run/lapdev-test"),
        bind(data, "/etc/hostname/inner"),
        bind(data / "a", "/etc/group"),
    )
    script = """
        cat /etc/passwd/a /usr/share/zoneinfo /run/lapdev-test/a /etc/hostname/inner/a /etc/group
        test -d /usr/share/doc; test -e /etc/nsswitch.conf; grep -q nameserver /etc/resolv.conf
    """
    async with sandbox(folder) as pod:
        assert await sh(pod, script, mounts=given) == "11111"
        await sh(pod, "test -f /etc/passwd -a -d /usr/share/zoneinfo -a -f /etc/hostname")


@in_outer
async def test_the_whole_machine_may_be_mounted_without_what_is_hidden(folder: Path) -> None:
    (folder / "secret").mkdir()
    (folder / "secret" / "token").write_text("t")
    script = f"""
        test -f /host/etc/passwd; test -d /host{folder}; test -d /etc
        ls -A /host{folder}/secret
    """
    async with sandbox(folder, fresh=(str(folder / "secret"),)) as pod:
        given = (bind(Path("/"), "/host", read_only=True),)
        assert await sh(pod, script, mounts=given) == ""


@in_outer
async def test_a_folder_nobody_may_look_into_is_one_to_mount_in(folder: Path) -> None:
    data = volume(folder, a="1")
    (folder / "closed").mkdir()
    (folder / "closed").chmod(0)
    async with sandbox(folder) as pod:
        given = (bind(data, f"{folder}/closed/data"),)
        assert await sh(pod, f"cat {folder}/closed/data/a", mounts=given) == "1"
    (folder / "closed").chmod(0o700)


@in_outer
async def test_some_places_are_not_for_mounts(folder: Path) -> None:
    (folder / "loop").symlink_to("loop")
    async with sandbox(folder) as pod:
        for place in ("/", "/proc", "/proc/self/x", f"{folder}/loop/x", "/" + "x" * 300):
            status, printed = await run(pod, "true", mounts=(bind(volume(folder), place),))
            assert status == 126, place
            assert printed.startswith(f"lapdev: cannot mount at {place}: "), printed


@in_outer
async def test_mounts_go_with_their_processes(folder: Path) -> None:
    data = volume(folder, a="1")
    async with sandbox(folder) as pod:
        await sh(pod, "cat /data/a", mounts=(bind(data, "/data"),))
        assert str(data) not in Path("/proc/self/mountinfo").read_text()
        assert str(data) not in Path(f"/proc/{pod.holder_pid}/mountinfo").read_text()


@pytest.mark.parametrize("text", ["", "x"])
def test_nothing_is_hidden_where_there_is_nothing(tmp_path: Path, text: str) -> None:
    mounts._hide(str(tmp_path / f"nowhere{text}"))
    assert list(tmp_path.iterdir()) == []
