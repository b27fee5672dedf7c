"""What a service sees of volumes, folders, configs and secrets."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.compose.mounts import grants, host_path, service_mounts
from lapdev.cluster.compose.service import MountKind, ServiceMount
from lapdev.cluster.compose.values import Value
from lapdev.errors import ConfigError


def mounts(volumes: Any, tmpfs: Any = None, notes: list[str] | None = None) -> list[ServiceMount]:
    at = Value({"volumes": volumes, "tmpfs": tmpfs}, ("web",), {})
    told = notes if notes is not None else []
    return list(service_mounts(at, told.append))


@pytest.mark.parametrize(
    ("written", "kind", "source", "target", "read_only"),
    [
        ("/src:/app", "bind", "/src", "/app", False),
        ("/src:/app/:ro", "bind", "/src", "/app", True),
        ("/src:/app:ro,z", "bind", "/src", "/app", True),
        ("/src:/app:cached", "bind", "/src", "/app", False),
        ("data:/data", "volume", "data", "/data", False),
        ("/data", "anonymous", "", "/data", False),
        ({"type": "bind", "source": "/s", "target": "/t"}, "bind", "/s", "/t", False),
        ({"source": "d", "target": "/t", "read_only": True}, "volume", "d", "/t", True),
        ({"source": "data", "target": "/t"}, "volume", "data", "/t", False),
        ({"type": "volume", "target": "/t"}, "anonymous", "", "/t", False),
        ({"type": "tmpfs", "target": "/t", "tmpfs": {"size": 1}}, "tmpfs", "", "/t", False),
    ],
)  # fmt: skip
def test_short_and_long_forms(
    written: Any, kind: str, source: str, target: str, read_only: bool
) -> None:
    (found,) = mounts([written])
    assert (found.kind, found.source, found.target, found.read_only) == (
        kind, source, target, read_only
    )  # fmt: skip


def test_the_later_of_two_mounts_at_one_path_counts() -> None:
    (found,) = mounts(["/a:/data", "b:/data/"])
    assert found.source == "b"
    (found,) = mounts(["/a:/run"], ["/run:size=1m"])
    assert found.kind is MountKind.MEMORY


def test_a_part_of_a_volume() -> None:
    long = {"type": "volume", "source": "d", "target": "/t", "volume": {"subpath": "a/../b"}}
    assert mounts([long])[0].sub_path == "b"


def test_what_would_hide_the_sources_is_left_out_and_told() -> None:
    notes: list[str] = []
    written = ["/src:/app", "/app/tmp", "deps:/app/node_modules", "media:/app/media"]
    found = mounts(written, notes=notes)
    assert [mount.target for mount in found] == ["/app", "/app/media"]
    assert len(notes) == 2
    assert [m.target for m in mounts(["x:/app", "/app/y"])] == ["/app", "/app/y"]


def test_dockers_socket_is_left_out_and_told() -> None:
    notes: list[str] = []
    assert mounts(["/var/run/docker.sock:/var/run/docker.sock:ro"], notes=notes) == []
    assert "there is no Docker here" in notes[0]


@pytest.mark.parametrize(
    "written",
    [
        *("", "a:b", "relative", "/", "a:/", "a:/b:wrong", "a:/b:ro:x", ":/b", 5, True),
        *({"type": "npipe", "target": "/a"}, {"type": "bind", "target": "/a"}, {"source": "a"}),
        *({"target": "/a", "volume": {"subpath": "../x"}}, {"target": "/a", "mode": "ro"}),
    ],
)
def test_what_is_no_mount_is_refused(written: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        mounts([written])
    assert caught.value.hint


def test_configs_and_secrets_have_their_usual_places() -> None:
    notes: list[str] = []
    written: list[Any] = [
        "key",
        {"source": "key", "target": "other", "mode": 0o440},
        {"source": "key", "target": "/etc/key", "uid": "1", "mode": "0400"},
    ]
    found = grants(Value(written, ("secrets",), {}), "/run/secrets", notes.append)
    assert [(grant.target, grant.mode) for grant in found] == [
        ("/run/secrets/key", None),
        ("/run/secrets/other", 0o440),
        ("/etc/key", 0o400),
    ]
    assert "uid" in notes[0]
    with pytest.raises(ConfigError, match="is not a mode"):
        grants(Value([{"source": "a", "mode": "rw"}], (), {}), "/", notes.append)


def test_a_containers_path_on_this_machine() -> None:
    found = mounts(["/src:/app", "d:/app/data", "/x:/app/deep/er"])
    assert host_path("/app/a", found)[0] == "/src/a"
    assert host_path("/app", found)[0] == "/src"
    assert host_path("/app/deep/er/a", found)[0] == "/x/a"
    path, mount = host_path("/app/data/a", found)
    assert (path, mount and mount.kind) == ("/app/data/a", MountKind.VOLUME)
    assert host_path("/apple", found) == ("/apple", None)
