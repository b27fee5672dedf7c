"""What stands between a sandbox and `enter`."""

from __future__ import annotations

import os
from pathlib import Path

from lapdev.cluster import mounts
from lapdev.cluster.enter import parse_given
from lapdev.cluster.entry import Entry, mount_steps
from lapdev.cluster.volumes import BindMount


def described(
    wanted: BindMount, fresh: tuple[str, ...] = (), keep: tuple[str, ...] = ()
) -> list[tuple[str, str, str, str]]:
    steps = mount_steps([wanted], fresh, keep, Path("/own/pod"))
    return [(step.kind, step.target, step.source, step.within) for step in steps]


def test_a_container_without_mounts_has_no_plan() -> None:
    assert mount_steps([], ("/tmp",), ("/tmp/kept",), Path("/own")) == []


def test_what_is_the_pods_own_and_what_is_the_machines_is_known_first() -> None:
    assert described(BindMount("/v", "/data", True), ("/tmp",), ("/tmp/kept",)) == [
        (mounts.OWN, "/tmp", "", ""),
        (mounts.MACHINE, "/tmp/kept", "", ""),
        (mounts.READ_ONLY, "/data", "/v", ""),
    ]


def test_a_part_of_a_volume_is_given_by_its_path_below() -> None:
    assert described(BindMount("/v/a/b", "/data", within="/v")) == [
        (mounts.READ_WRITE, "/data", "a/b", "/v")
    ]


def test_hidden_places_below_a_mount_are_hidden_there(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "real").mkdir(parents=True)
    (home / ".ssh").symlink_to("real")
    fresh = ("/tmp", "/dev/shm", str(home / ".ssh"), str(home), f"{tmp_path}/homely")
    found = described(BindMount(str(home), "/h/"), fresh)
    assert found[len(fresh) :] == [
        (mounts.READ_WRITE, "/h/", str(home), ""),
        (mounts.HIDDEN, "/h/real", "", ""),
    ]


def test_nothing_is_hidden_in_the_pods_own_folder() -> None:
    found = described(BindMount("/own/pod/v", "/data"), ("/own", "/own/pod/v/x"))
    assert [step for step in found if step[0] == mounts.HIDDEN] == []


async def test_descriptors_are_told_by_name_and_closed_at_the_end() -> None:
    read_end, write_end = os.pipe()
    with Entry() as entry:
        entry.give_groups([write_end])
        entry.give_mounts(mount_steps([BindMount("/v", "/data")], (), (), Path("/own")))
        entered = entry.watch()
        given = dict(parse_given(entry.words))
        assert [*given] == ["cgroup", "mounts", "entered"]
        assert given["cgroup"] == write_end
        assert mounts.decode(os.read(given["mounts"], 1000))[0].target == "/data"
        assert set(entry.fds) == {*given.values()}
        assert not entered.is_set()
    await entered.wait()
    assert os.read(read_end, 1) == b""
    os.close(read_end)
    assert parse_given("") == []
