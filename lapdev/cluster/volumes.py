"""A pod's volumes on this machine: folders and files, and where containers see them.

Making them blocks on the disk: it is done in a thread.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from lapdev.cluster import namespaces, syscalls
from lapdev.cluster.manifests import (
    Claim,
    Configs,
    Container,
    EmptyDir,
    HostPath,
    Mount,
    PodFacts,
    PodTemplate,
    Projected,
    Volume,
    expand,
)
from lapdev.cluster.volume_files import is_secret, projected_files, write_files
from lapdev.errors import ClusterError, ConfigError


@dataclass(frozen=True, slots=True)
class BindMount:
    """A file or folder of this machine that a container sees at another place."""

    source: str
    """Absolute, as the manager sees it, without symbolic links (but see `within`)."""
    target: str
    """Absolute. Made possible where this machine has no such file or folder."""
    read_only: bool = False
    within: str = ""
    """A folder above `source` that no link leads out of; what is missing below it is made."""


@dataclass(frozen=True, slots=True)
class VolumeFolders:
    """Where a pod's volumes are kept."""

    pod: Path
    """Of volumes that are the pod's own: goes with the pod."""
    claims: Path
    """Of the pod's namespace: goes with that."""
    refused: tuple[str, ...] = ()
    """What no hostPath may lead into."""
    owner: str = ""
    """Who owns the claims that the pod may write to; empty: the namespace."""


OWNED = ".owned"
"""Below a namespace's claims: a folder for each owner in it. No claim can be called so."""


# Containers


def container_mounts(
    container: Container, volumes: Mapping[str, str], env: Mapping[str, str]
) -> tuple[BindMount, ...]:
    """What the container sees of its pod's volumes, outer places first.

    Raises:
        ConfigError: a mount names no volume, or leads out of one.
    """
    found = [_bind_mount(container, mount, volumes, env) for mount in container.mounts]
    return tuple(sorted(found, key=lambda mount: mount.target.count("/")))


def _bind_mount(
    container: Container, mount: Mount, volumes: Mapping[str, str], env: Mapping[str, str]
) -> BindMount:
    if mount.volume not in volumes:
        raise ConfigError(
            f"{container.where}: mounts {mount.volume!r}, which is no volume of the pod",
            hint=f"its volumes are: {', '.join(sorted(volumes)) or 'none'}",
        )
    target = os.path.normpath(mount.path)
    if not target.startswith("/") or target.strip("/") == "":
        raise ConfigError(
            f"{container.where}: cannot mount {mount.volume} at {mount.path!r}",
            hint="write an absolute path below /",
        )
    target = "/" + target.lstrip("/")
    source = volumes[mount.volume]
    if not mount.sub_path:
        return BindMount(source, target, mount.read_only)
    below = expand(mount.sub_path, env) if mount.expand else mount.sub_path
    parts = [part for part in below.split("/") if part not in ("", ".")]
    if below.startswith("/") or ".." in parts or "\0" in below:
        raise ConfigError(
            f"{container.where}: subPath {below!r} leads out of volume {mount.volume}",
            hint="write a relative path without `..`",
        )
    if not parts:
        return BindMount(source, target, mount.read_only)
    return BindMount("/".join([source, *parts]), target, mount.read_only, within=source)


# Pods


def prepare(
    template: PodTemplate, facts: PodFacts, configs: Configs, folders: VolumeFolders
) -> dict[str, str]:
    """Volume name → its folder or file on this machine, made and filled. May be called again.

    Raises:
        ConfigError: a volume refers to what is not there; names volume, object and key.
        ClusterError: this machine cannot have it; names the volume.
    """
    folders.pod.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = {}
    for volume in template.volumes:
        where = f"pod {facts.name}: volume {volume.name}"
        try:
            made[volume.name] = str(_made(where, volume, folders, (facts, configs)))
        except OSError as exc:
            at = f" ({exc.filename})" if exc.filename else ""
            raise ClusterError(f"{where} cannot be made: {exc.strerror or exc}{at}") from exc
    return made


def release(folder: Path) -> None:
    """No volume in memory is left below a pod's folder; to be called when it ends. Idempotent."""
    if not namespaces.in_outer():
        return
    for path in _mounts_below(folder):
        # Pods that were started since hold a copy of the mount: what is in it must not stay.
        for entry in Path(path).iterdir():
            _remove(entry)
        syscalls.unmount(path)


def remove_claims(claims: Path) -> None:
    """Nothing is left of a namespace's claims, whatever modes pods have given their files."""
    _remove(claims)


def remove_owned(claims: Path, owner: str) -> None:
    """Nothing is left of the owner's claims in a namespace."""
    for folder in _owned(claims):
        if folder.name == owner:
            _remove(folder)


def retain_owned(claims: Path, owners: Collection[str]) -> None:
    """Nothing is left of other owners' claims in a namespace."""
    for folder in _owned(claims):
        if folder.name not in owners:
            _remove(folder)


def _owned(claims: Path) -> list[Path]:
    folder = claims / OWNED
    return list(folder.iterdir()) if folder.is_dir() else []


def claim_folder(claim: Claim, pod: str, owner: str = "") -> str:
    """The claim's folder below its namespace's: one for each pod where each has its own.

    What an owner's pod only reads is the namespace's.
    """
    name = f"{claim.name}-{pod}" if claim.per_pod else claim.name
    return f"{OWNED}/{owner}/{name}" if owner and (claim.per_pod or not claim.read_only) else name


def _made(
    where: str, volume: Volume, folders: VolumeFolders, known: tuple[PodFacts, Configs]
) -> Path:
    folder = folders.pod / volume.name
    facts, configs = known
    match volume.source:
        case EmptyDir():
            _empty_dir(folder, volume.source)
        case Projected():
            files = projected_files(where, volume.source, facts, configs)
            write_files(folder, files, secret=is_secret(volume.source))
        case HostPath():
            return _host_path(where, volume.source, folders.refused)
        case Claim():
            folder = folders.claims / claim_folder(volume.source, facts.name, folders.owner)
            folder.mkdir(parents=True, exist_ok=True)
        case _ as never:
            assert_never(never)
    return Path(os.path.realpath(folder))


def _empty_dir(folder: Path, source: EmptyDir) -> None:
    """In memory where that is asked for and the machine allows it; its size is limited then."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    if not source.memory or not namespaces.in_outer() or folder.is_mount():
        return
    size = f",size={source.size_limit}" if source.size_limit else ""
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("tmpfs", str(folder), "tmpfs", flags, f"mode=777{size}")


# Paths of this machine

_FOLDER = ("a folder", stat.S_ISDIR)
_FILE = ("a file", stat.S_ISREG)
_KINDS: dict[str, tuple[str, Callable[[int], bool]]] = {
    "Directory": _FOLDER,
    "DirectoryOrCreate": _FOLDER,
    "File": _FILE,
    "FileOrCreate": _FILE,
    "Socket": ("a socket", stat.S_ISSOCK),
    "CharDevice": ("a character device", stat.S_ISCHR),
    "BlockDevice": ("a block device", stat.S_ISBLK),
}


def _host_path(where: str, source: HostPath, refused: tuple[str, ...]) -> Path:
    path = Path(os.path.realpath(source.path))
    for own in refused:
        if path.is_relative_to(os.path.realpath(own)):
            raise ConfigError(
                f"{where}: {source.path} holds secrets of lapdev", hint="mount another folder"
            )
    if source.kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif source.kind == "FileOrCreate" and not path.exists():
        path.touch()
    if not path.exists():
        raise ConfigError(
            f"{where}: there is no {source.path} on this machine",
            hint="make it, or set the hostPath's `type: DirectoryOrCreate`",
        )
    called, fits = _KINDS.get(source.kind, ("", lambda _: True))
    if not fits(path.stat().st_mode):
        raise ConfigError(
            f"{where}: {source.path} is not {called}",
            hint=f"correct the path, or the hostPath's `type: {source.kind}`",
        )
    return path


# Taking away


def _mounts_below(folder: Path) -> list[str]:
    """Innermost first."""
    prefix = f"{os.path.realpath(folder)}/"
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    paths = (_unescaped(line.split()[4]) for line in lines)
    return sorted((path for path in paths if path.startswith(prefix)), key=len, reverse=True)


def _unescaped(path: str) -> str:
    """As proc(5) writes it, with blanks and the like in octal."""
    return path.encode("latin-1", "backslashreplace").decode("unicode_escape")


def _remove(path: Path) -> None:
    """Gone, as far as this user can; a pod may have taken its own folders' write permission."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for folder, names, _ in os.walk(path):
        for name in ("", *names):
            below = Path(folder, name)
            if not below.is_symlink():
                below.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
