"""What a service sees of volumes, folders of this machine, configs and secrets."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence

from lapdev.cluster.compose.local_paths import is_local_path
from lapdev.cluster.compose.service import ConfigGrant, MountKind, ServiceMount
from lapdev.cluster.compose.values import Value

Note = Callable[[str], None]

_LONG = ("type", "source", "target", "read_only", "bind", "volume", "tmpfs", "consistency", "image")
_MODES = frozenset(
    {"ro", "rw", "z", "Z", "cached", "delegated", "consistent", "nocopy", "copy", "U"}
    | {"rprivate", "private", "rshared", "shared", "rslave", "slave"}
)
_KINDS = {"bind": MountKind.BIND, "volume": MountKind.VOLUME, "tmpfs": MountKind.MEMORY}
# What an image would bring, and a mount over the sources would hide.
_OF_THE_IMAGE = frozenset(
    {"node_modules", "vendor", ".venv", "venv", "target", ".next", "__pycache__", "build", "dist"}
)


def service_mounts(service: Value, note: Note) -> tuple[ServiceMount, ...]:
    """The mounts under `volumes` and `tmpfs`; of several at one path the last counts."""
    found: dict[str, ServiceMount] = {}
    for item in service.child("volumes").items():
        mount = _long(item) if isinstance(item.value, dict) else _short(item)
        if mount.source.endswith("docker.sock"):
            note(f"{item.where}: ignored: there is no Docker here")
            continue
        found[mount.target] = mount
    for item in service.child("tmpfs").items():
        target = _target(item, item.text().partition(":")[0])
        found[target] = ServiceMount(MountKind.MEMORY, "", target, item)
    return tuple(m for m in found.values() if not _hides_sources(m, found, note))


def _short(item: Value) -> ServiceMount:
    parts = item.text().split(":")
    if len(parts) == 1:
        return ServiceMount(MountKind.ANONYMOUS, "", _target(item, parts[0]), item)
    modes = set(parts[2].split(",")) - {""} if len(parts) == 3 else set()
    if len(parts) > 3 or not parts[0] or modes - _MODES:
        item.fail(f"{item.text()!r} is not a volume", "write it as source:/target or as :ro")
    kind = MountKind.BIND if is_local_path(parts[0]) else MountKind.VOLUME
    return ServiceMount(kind, parts[0], _target(item, parts[1]), item, read_only="ro" in modes)


def _long(item: Value) -> ServiceMount:
    item.only(_LONG)
    written = item.child("type").text("volume")
    if written not in _KINDS:
        item.child("type").fail(f"{written!r} mounts are not supported", "use bind, volume, tmpfs")
    kind = _KINDS[written]
    source = item.child("source").text("")
    if kind is MountKind.BIND and not posixpath.isabs(source):
        item.child("source").fail("names no folder of this machine", "write a path")
    if kind is MountKind.VOLUME and not source:
        kind = MountKind.ANONYMOUS
    sub_path = posixpath.normpath(item.child("volume").child("subpath").text("") or ".")
    if sub_path.startswith(("/", "..")):
        item.child("volume").child("subpath").fail("leads out of the volume", "write a path in it")
    return ServiceMount(
        kind,
        "" if kind is MountKind.MEMORY else source,
        _target(item.child("target"), item.child("target").text()),
        item,
        read_only=item.child("read_only").boolean(),
        sub_path="" if sub_path == "." else sub_path,
        make=item.child("bind").child("create_host_path").boolean(default=True),
    )


def _target(at: Value, path: str) -> str:
    clean = posixpath.normpath(path).replace("//", "/")
    if not path.startswith("/") or clean == "/":
        at.fail(f"{path!r} is no folder in the container", "write an absolute path, not /")
    return clean


def _hides_sources(mount: ServiceMount, mounts: dict[str, ServiceMount], note: Note) -> bool:
    """Compose files keep what the image installed from being hidden by the sources that are
    mounted over it. There is no image here: it would be an empty folder that hides the real one."""
    folder, _, name = mount.target.rpartition("/")
    inside = any(
        other.kind is MountKind.BIND and f"{folder}/".startswith(f"{other.target}/")
        for other in mounts.values()
    )
    kept = mount.kind is MountKind.ANONYMOUS or (
        mount.kind is MountKind.VOLUME and name in _OF_THE_IMAGE
    )
    if inside and kept:
        note(f"{mount.at.where}: ignored: no image fills {mount.target}, the folder's own is used")
        return True
    return False


def grants(values: Value, folder: str, note: Note) -> tuple[ConfigGrant, ...]:
    """The configs or secrets of a service; relative targets are below `folder`."""
    found: dict[str, ConfigGrant] = {}
    for item in values.items():
        mode = None
        if isinstance(item.value, dict):
            item.only(("source", "target", "uid", "gid", "mode"))
            name = item.child("source").text()
            target = item.child("target").text(name)
            mode = _mode(item.child("mode"))
            if item.child("uid") or item.child("gid"):
                note(f"{item.where}: ignored: uid and gid; the file is yours")
        else:
            name = target = item.text()
        path = _target(item, posixpath.join(folder, target))
        found[path] = ConfigGrant(name, path, item, mode)
    return tuple(found.values())


def _mode(value: Value) -> int | None:
    if not value:
        return None
    if isinstance(value.value, str):
        if not re.fullmatch(r"(0o?)?[0-7]{1,4}", value.value):
            value.fail(f"{value.value!r} is not a mode", "write it as 0440")
        return int(value.value.replace("o", ""), 8) & 0o777
    return value.integer(0, 0o7777) & 0o777


def host_path(path: str, mounts: Sequence[ServiceMount]) -> tuple[str, ServiceMount | None]:
    """Where a container's path is on this machine as far as a mount says so, and that mount."""
    best: ServiceMount | None = None
    for mount in mounts:
        if f"{path}/".startswith(f"{mount.target}/"):
            best = mount if best is None or len(mount.target) > len(best.target) else best
    if best is None or best.kind is not MountKind.BIND:
        return path, best
    return posixpath.normpath(best.source + path[len(best.target) :]), best
