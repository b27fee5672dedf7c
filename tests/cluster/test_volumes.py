"""Volumes on this machine, and where containers see them."""

from __future__ import annotations

import copy
import dataclasses
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lapdev.cluster.manifests import (
    Claim,
    ConfigFiles,
    ConfigObject,
    Configs,
    Container,
    DownwardFiles,
    EmptyDir,
    HostPath,
    Mount,
    PodFacts,
    PodTemplate,
    Projected,
    Volume,
    VolumeSource,
)
from lapdev.cluster.volumes import (
    BindMount,
    VolumeFolders,
    container_mounts,
    prepare,
    release,
    remove_claims,
    remove_owned,
    retain_owned,
)
from lapdev.errors import ClusterError, ConfigError
from tests.cluster.clients import client, wait_ready_or_say_why
from tests.cluster.contract import spec
from tests.cluster.local_world import local_world
from tests.cluster.sandboxes import sandbox, sh
from tests.support.in_outer import in_outer

FACTS = PodFacts("db-0", "shop", "198.18.0.2", labels={"app": "db", "a": 'b"c'})
CONFIGS: Configs = {
    ("ConfigMap", "settings"): ConfigObject("ConfigMap", "settings", {"a": b"1", "b": b"\xff"}),
    ("Secret", "keys"): ConfigObject("Secret", "keys", {"tls.key": b"secret"}),
}


def make(folder: Path, source: VolumeSource, configs: Configs = CONFIGS, **more: Any) -> Path:
    template = PodTemplate((), volumes=(Volume("data", source),))
    folders = VolumeFolders(folder / "pod", folder / "claims" / "shop", **more)
    return Path(prepare(template, FACTS, configs, folders)["data"])


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# Places in a container


def mounts(*wanted: Mount, **env: str) -> tuple[BindMount, ...]:
    container = Container("web", "Deployment/web: containers[0]", mounts=wanted)
    return container_mounts(container, {"data": "/v/data", "conf": "/v/conf"}, env)


def test_outer_places_come_before_inner_ones() -> None:
    found = mounts(Mount("conf", "/data/conf/x"), Mount("data", "/data/", read_only=True))
    assert found == (BindMount("/v/data", "/data", True), BindMount("/v/conf", "/data/conf/x"))


def test_a_part_of_a_volume_stays_within_it() -> None:
    assert mounts(Mount("data", "/d", "./a//b")) == (
        BindMount("/v/data/a/b", "/d", within="/v/data"),
    )
    assert mounts(Mount("data", "/d", "$(POD)/x", expand=True), POD="p") == (
        BindMount("/v/data/p/x", "/d", within="/v/data"),
    )
    assert mounts(Mount("data", "/d", "$(POD)"), POD="p")[0].source == "/v/data/$(POD)"
    assert mounts(Mount("data", "/d", ".")) == (BindMount("/v/data", "/d"),)


@pytest.mark.parametrize(
    ("mount", "complaint"),
    [
        (Mount("data", "/d", "../x"), "subPath '../x' leads out of volume data"),
        (Mount("data", "/d", "a/../../x"), "leads out of volume data"),
        (Mount("data", "/d", "/etc"), "leads out of volume data"),
        (Mount("data", "/d", "$(UP)/x", expand=True), "leads out of volume data"),
        (Mount("data", "relative"), "cannot mount data at 'relative'"),
        (Mount("data", "/"), "cannot mount data at '/'"),
        (Mount("data", "/a/.."), "cannot mount data at"),
        (Mount("none", "/d"), "mounts 'none', which is no volume of the pod"),
    ],
)
def test_a_mount_that_leads_astray_is_refused(mount: Mount, complaint: str) -> None:
    with pytest.raises(ConfigError, match=r"Deployment/web: containers\[0\]") as caught:
        mounts(mount, UP="..")
    assert complaint in str(caught.value)


# Volumes of the pod


def test_an_empty_folder_is_the_pods_own_and_anybody_writes_to_it(tmp_path: Path) -> None:
    made = make(tmp_path, EmptyDir())
    assert made == tmp_path / "pod" / "data"
    assert (contents(made), mode(made)) == ({}, 0o777)
    (made / "kept").touch()
    assert make(tmp_path, EmptyDir()) == made
    assert (made / "kept").exists()


def test_without_namespaces_an_empty_folder_in_memory_is_one_on_disk(tmp_path: Path) -> None:
    made = make(tmp_path, EmptyDir(memory=True, size_limit=4096))
    assert made.is_dir()
    assert not made.is_mount()
    release(tmp_path / "pod")


@in_outer
async def test_an_empty_folder_in_memory_has_its_size_and_is_shared_by_the_pod(
    folder: Path,
) -> None:
    source = EmptyDir(memory=True, size_limit=1 << 20)
    made = make(folder, source)
    assert made.is_mount()
    async with sandbox(folder, fresh=(str(folder),)) as pod:
        given = (BindMount(str(made), "/cache"),)
        await sh(pod, "echo hello > /cache/x", mounts=given)
        assert await sh(pod, "cat /cache/x", mounts=given) == "hello\n"
        script = "head -c 2000000 /dev/zero > /cache/y 2>&1 || true; wc -c < /cache/y"
        assert int((await sh(pod, script, mounts=given)).split()[-1]) < 1 << 20
        assert make(folder, source) == made
        assert (made / "x").exists()
    release(folder / "pod")
    assert not made.is_mount()
    assert contents(made) == {}


def test_entries_of_a_config_map_are_files(tmp_path: Path) -> None:
    made = make(tmp_path, Projected((ConfigFiles("ConfigMap", "settings"),)))
    assert contents(made) == {"a": b"1", "b": b"\xff"}
    assert (mode(made), mode(made / "a")) == (0o755, 0o644)


def test_a_secret_is_for_this_user_only(tmp_path: Path) -> None:
    made = make(tmp_path, Projected((ConfigFiles("Secret", "keys"),), mode=0o400))
    assert contents(made) == {"tls.key": b"secret"}
    assert (mode(made), mode(made / "tls.key")) == (0o700, 0o400)


def test_several_sources_share_a_folder(tmp_path: Path) -> None:
    made = make(
        tmp_path,
        Projected(
            (
                ConfigFiles("ConfigMap", "settings", (("a", "deep/er/one", 0o755),)),
                ConfigFiles("Secret", "keys", (("tls.key", "deep/key", None),)),
                ConfigFiles("Secret", "none", optional=True),
                ConfigFiles("ConfigMap", "settings", (("gone", "gone", None),), optional=True),
                DownwardFiles(
                    (("metadata.labels", "labels", None), ("metadata.name", "name", 0o600))
                ),
            ),
            mode=0o640,
        ),
    )
    assert contents(made) == {
        "deep/er/one": b"1",
        "deep/key": b"secret",
        "labels": b'a="b\\"c"\napp="db"',
        "name": b"db-0",
    }
    modes = {name: mode(made / name) for name in contents(made)}
    assert modes == {"deep/er/one": 0o755, "deep/key": 0o640, "labels": 0o640, "name": 0o600}


def test_changed_content_is_a_new_folder_and_unchanged_content_is_the_same(tmp_path: Path) -> None:
    volume = Projected((ConfigFiles("ConfigMap", "settings"),))
    made = make(tmp_path, volume)
    before = made.stat().st_ino
    held = os.open(made, os.O_PATH)
    assert make(tmp_path, volume).stat().st_ino == before
    # What a pod leaves in its folder is never written through.
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (made / "a").unlink()
    (made / "a").symlink_to(outside)
    changed = {("ConfigMap", "settings"): ConfigObject("ConfigMap", "settings", {"a": b"2"})}
    assert contents(make(tmp_path, volume, changed)) == {"a": b"2"}
    assert made.stat().st_ino != before
    assert outside.read_text() == "mine"
    os.close(held)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (ConfigFiles("ConfigMap", "none"), "refers to ConfigMap/none, which is not there"),
        (ConfigFiles("Secret", "keys", (("x", "x", None),)), "Secret/keys has no key 'x'"),
        (ConfigFiles("Secret", "keys", (("tls.key", "../x", None),)), "'../x' leads out"),
        (DownwardFiles((("status.weather", "x", None),)), "field 'status.weather'"),
    ],
)
def test_what_is_not_there_is_named(
    tmp_path: Path, source: ConfigFiles | DownwardFiles, complaint: str
) -> None:
    with pytest.raises(ConfigError, match="pod db-0: volume data: ") as caught:
        make(tmp_path, Projected((source,)))
    assert complaint in str(caught.value)


def test_files_in_each_others_way_are_a_cluster_error(tmp_path: Path) -> None:
    items = (("a", "x", None), ("b", "x/y", None))
    with pytest.raises(ClusterError, match=r"pod db-0: volume data cannot be made: "):
        make(tmp_path, Projected((ConfigFiles("ConfigMap", "settings", items),)))


# This machine's


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as sock:
        before = Path.cwd()
        os.chdir(tmp_path)  # a socket's path is short
        sock.bind("socket")
        os.chdir(before)
        yield tmp_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("folder", ""),
        ("file", ""),
        ("folder", "Directory"),
        ("new/deep", "DirectoryOrCreate"),
        ("folder", "DirectoryOrCreate"),
        ("file", "File"),
        ("file", "FileOrCreate"),
        ("new-file", "FileOrCreate"),
        ("socket", "Socket"),
    ],
)
def test_a_path_of_the_machine_is_as_its_type_says(here: Path, name: str, kind: str) -> None:
    assert make(here, HostPath(str(here / name), kind)) == here / name
    assert (here / name).exists()


@pytest.mark.parametrize(
    ("name", "kind", "complaint"),
    [
        ("none", "", "there is no "),
        ("none", "Directory", "there is no "),
        ("file", "Directory", "is not a folder"),
        ("file", "DirectoryOrCreate", "File exists"),
        ("folder", "File", "is not a file"),
        ("folder", "FileOrCreate", "is not a file"),
        ("file", "Socket", "is not a socket"),
        ("file", "BlockDevice", "is not a block device"),
        ("none/file", "FileOrCreate", "No such file or directory"),
    ],
)
def test_a_path_that_is_something_else_is_refused(
    here: Path, name: str, kind: str, complaint: str
) -> None:
    with pytest.raises((ClusterError, ConfigError), match="pod db-0: volume data") as caught:
        make(here, HostPath(str(here / name), kind))
    assert complaint in str(caught.value)


def test_a_path_into_lapdevs_own_folders_is_refused_by_any_way(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(own)
    for path in (own, own / "below", tmp_path / "link", tmp_path / "x" / ".." / "own"):
        with pytest.raises(ConfigError, match="holds secrets of lapdev"):
            make(tmp_path, HostPath(str(path)), refused=(str(own),))
    (tmp_path / "owner").mkdir()
    assert make(tmp_path, HostPath(str(tmp_path / "owner")), refused=(str(own),))


def test_claims_outlive_pods_and_go_on_request(tmp_path: Path) -> None:
    claims = tmp_path / "claims" / "shop"
    shared, own = make(tmp_path, Claim("data")), make(tmp_path, Claim("data", per_pod=True))
    assert (shared, own) == (claims / "data", claims / "data-db-0")
    (shared / "closed").mkdir()
    (shared / "closed" / "file").touch()
    (shared / "closed").chmod(0o500)
    (shared / "link").symlink_to(tmp_path)
    remove_claims(claims)
    assert not claims.exists()
    assert tmp_path.exists()
    remove_claims(claims)


def test_an_owner_has_its_own_claims_and_reads_the_namespaces(tmp_path: Path) -> None:
    claims = tmp_path / "claims" / "shop"
    own = claims / ".owned" / "fix"
    assert make(tmp_path, Claim("data"), owner="fix") == own / "data"
    assert make(tmp_path, Claim("data", per_pod=True), owner="fix") == own / "data-db-0"
    assert make(tmp_path, Claim("data", read_only=True), owner="fix") == claims / "data"
    make(tmp_path, Claim("data"), owner="other")
    remove_owned(claims, "fix")
    assert {path.name for path in claims.rglob("data")} == {"data"}
    assert [path.name for path in (claims / ".owned").iterdir()] == ["other"]
    retain_owned(claims, ["other"])
    assert (claims / ".owned" / "other" / "data").exists()
    retain_owned(claims, [])
    assert [path.name for path in claims.iterdir() if path.name != ".owned"] == ["data"]
    assert [*(claims / ".owned").iterdir()] == []
    retain_owned(tmp_path / "none", [])


def test_every_volume_of_a_pod_is_made(tmp_path: Path) -> None:
    sources = {"one": EmptyDir(), "two": Claim("x"), "three": HostPath(str(tmp_path))}
    template = dataclasses.replace(
        PodTemplate(()), volumes=tuple(Volume(name, source) for name, source in sources.items())
    )
    made = prepare(template, FACTS, {}, VolumeFolders(tmp_path / "pod", tmp_path / "claims"))
    assert made == {
        "one": f"{tmp_path}/pod/one",
        "two": f"{tmp_path}/claims/x",
        "three": str(tmp_path),
    }


@in_outer
async def test_a_pod_has_its_volumes_and_none_of_lapdevs_folders(folder: Path) -> None:
    (folder / "shown").mkdir()
    (folder / "shown" / "file").write_text("seen")
    script = """
        import pathlib
        assert pathlib.Path("/srv/lapdev/shown/file").read_text() == "seen"
        pathlib.Path("/cache/x").write_text("x")
    """
    web = client("web", script)
    pod = web["spec"]["template"]["spec"]
    pod["volumes"] = [
        {"name": "shown", "hostPath": {"path": str(folder / "shown")}},
        {"name": "cache", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    pod["containers"][0]["volumeMounts"] = [
        {"name": "shown", "mountPath": "/srv/lapdev/shown", "readOnly": True},
        {"name": "cache", "mountPath": "/cache"},
    ]
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(web))
        await wait_ready_or_say_why(world)
        web = copy.deepcopy(web)
        volume = web["spec"]["template"]["spec"]["volumes"][0]
        volume["hostPath"]["path"] = str(folder / "run" / "pods")
        await driver.apply(spec(web))
        await world.wait(
            lambda: any(
                "volume shown: " in each.detail and "holds secrets of lapdev" in each.detail
                for each in driver.status("shop")
            )
        )
    assert "/cache" not in Path("/proc/self/mountinfo").read_text()
