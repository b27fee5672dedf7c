"""Limits of containers, kept by the kernel: cgroups of version 2 or 1, where they are ours to use.

Version 2 is used below a cgroup that was delegated to us (systemd's `Delegate=yes`), or that is the
root of what we can see (a container); version 1 where its `memory` and `cpu` hierarchies may be
written (root on older machines). Files of groups are named in the kernel's cgroup-v2.rst and
cgroup-v1/memory.rst. Every call here is a few file operations, and blocks for no longer.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lapdev.cluster.manifests import Resources
from lapdev.errors import ClusterError
from lapdev.log import get_logger

PERIOD = 100_000
"""Microseconds over which CPU time is counted."""
SMALLEST_QUOTA = 1_000
"""Microseconds; the kernel refuses less."""
LEAF = "lapdev-own"
"""Where our own processes go in a delegated cgroup: one with subgroups may have none itself."""

_OWN = re.compile(r"lapdev-(?P<pid>\d+)-(?P<started>\d+)")
_REMEDY = "start it so: systemd-run --user --scope -p Delegate=yes lapdev serve"


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One tree of cgroups, and the folder of it that may be used."""

    folder: Path
    version: int
    controllers: frozenset[str]


@dataclass(slots=True)
class ContainerGroup:
    """The cgroups of one container: one for each hierarchy."""

    folders: dict[Path, Hierarchy]

    def limit(self, resources: Resources) -> None:
        """Raises ClusterError when the kernel refuses a limit."""
        for folder, hierarchy in self.folders.items():
            for name, value in _settings(hierarchy, resources):
                try:
                    (folder / name).write_text(value)
                except FileNotFoundError:
                    continue  # no swap accounting, or an older kernel
                except OSError as exc:
                    raise ClusterError(
                        f"the limit {name} = {value} is refused: {exc.strerror}",
                        hint="change the container's resources.limits",
                    ) from exc

    def open_procs(self) -> list[int]:
        """Descriptors by which a process enters: it writes `0`. The caller closes them.

        Raises OSError when the groups have gone.
        """
        fds: list[int] = []
        try:
            for folder in self.folders:
                fds.append(os.open(folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC))  # noqa: PERF401 - those opened so far are closed
        except OSError:
            for fd in fds:
                os.close(fd)
            raise
        return fds

    def oom_kills(self) -> int:
        for folder, hierarchy in self.folders.items():
            name = "memory.events" if hierarchy.version == 2 else "memory.oom_control"
            with contextlib.suppress(OSError):
                for line in (folder / name).read_text().splitlines():
                    key, _, count = line.partition(" ")
                    if key == "oom_kill":
                        return int(count)
        return 0


@dataclass(slots=True)
class PodGroups:
    """The groups of one pod's containers. Made when a container with limits first needs them."""

    name: str
    """Unique on this machine."""
    limits: Limits
    _groups: dict[str, ContainerGroup] = field(default_factory=dict)

    def enter(self, container: str, resources: Resources) -> list[int]:
        """Descriptors to write `0` to before the container's process is executed; none: no limits.

        Raises:
            ClusterError: the limits cannot be set, although the machine has them.
        """
        wanted = resources.memory_limit is not None or resources.cpu_limit is not None
        if not self.limits.available or not (wanted or container in self._groups):
            return []
        try:
            group = self._groups.get(container) or self._make(container)
            group.limit(resources)
            return group.open_procs()
        except OSError as exc:
            raise ClusterError(f"cannot limit container {container}: {exc}") from exc

    def enter_beside(self, container: str) -> list[int]:
        group = self._groups.get(container)
        if group is None:
            return []
        try:
            return group.open_procs()
        except OSError as exc:
            raise ClusterError(f"cannot join the limits of {container}: {exc}") from exc

    def oom_kills(self, container: str) -> int:
        group = self._groups.get(container)
        return group.oom_kills() if group else 0

    def remove(self) -> None:
        """They are gone, if no process is in them any more. Idempotent."""
        for folder in {path.parent for each in self._groups.values() for path in each.folders}:
            _remove_tree(folder)
        self._groups.clear()

    def _make(self, container: str) -> ContainerGroup:
        folders = {}
        for hierarchy in self.limits.hierarchies:
            pod = hierarchy.folder / self.limits.instance / self.name
            for folder in (pod.parent, pod):
                folder.mkdir(exist_ok=True)
                if hierarchy.version == 2:
                    _enable(folder, hierarchy.controllers)
            (pod / container).mkdir(exist_ok=True)
            folders[pod / container] = hierarchy
        self._groups[container] = group = ContainerGroup(folders)
        return group


class Limits:
    """What this process can do about its containers' limits."""

    def __init__(self, hierarchies: tuple[Hierarchy, ...] = (), why_not: str = "") -> None:
        """`find` looks for them; none: there are no limits here, because of `why_not`."""
        self.hierarchies = hierarchies
        self.instance = f"lapdev-{os.getpid()}-{_started(os.getpid())}"
        self._why_not = why_not

    @property
    def available(self) -> bool:
        return bool(self.hierarchies)

    def explain(self) -> str:
        """Which limits are not kept here and what to do, in one line; empty when all are."""
        kept: set[str] = {name for each in self.hierarchies for name in each.controllers}
        missing = [name for name in ("memory", "cpu") if name not in kept]
        if not missing:
            return ""
        why = f" ({self._why_not})" if self._why_not else ""
        return f"{' and '.join(missing)} limits of containers are not kept{why}: {_REMEDY}"

    def pod(self, namespace: str, name: str) -> PodGroups:
        return PodGroups(f"{namespace}_{name}", self)

    def remove_left_cgroups(self) -> None:
        """No group is left of a manager that was killed."""
        for hierarchy in self.hierarchies:
            for folder in _subgroups(hierarchy.folder):
                match = _OWN.fullmatch(folder.name)
                if match and _started(int(match["pid"])) != match["started"]:
                    _remove_tree(folder)

    def aclose(self) -> None:
        """No group of this process is left. Idempotent."""
        for hierarchy in self.hierarchies:
            _remove_tree(hierarchy.folder / self.instance)


def find(proc: Path = Path("/proc/self")) -> Limits:
    """The limits this process can keep. In a delegated cgroup, its processes move to a subgroup."""
    try:
        mounts, paths = _mounts(proc), _paths(proc)
    except (OSError, ValueError) as exc:
        return Limits(why_not=f"no cgroups to be seen: {exc}")
    two, why_not = _version_two(mounts, paths)
    if two is not None:
        return Limits((two,))
    ones = tuple(_version_one(mounts, paths))
    if not ones and mounts.keys() - {""}:
        why_not = why_not or "its cgroups belong to root"
    return Limits(ones, why_not)


# Version 2


def _version_two(mounts: dict[str, Place], paths: dict[str, str]) -> tuple[Hierarchy | None, str]:
    if "" not in mounts or "" not in paths:
        return None, ""
    folder = mounts[""].folder_of(paths[""])
    if folder is None:
        return None, "our cgroup is not to be seen"
    if folder.name == LEAF:
        folder = folder.parent  # moved there by a manager before us
    offered = _words(folder / "cgroup.controllers") & {"memory", "cpu"}
    if not offered:
        return None, "our cgroup has no memory and cpu controller"
    if paths[""] != "/" and not _delegated(folder):
        return None, "our cgroup is not delegated to us"
    try:
        _move_to_leaf(folder)
        _enable(folder, offered)
    except OSError as exc:
        return None, f"our cgroup cannot be divided: {exc.strerror}"
    return Hierarchy(folder, 2, frozenset(offered)), ""


def _delegated(folder: Path) -> bool:
    """systemd says so (Delegate=yes): what is in there is for its own programs to arrange."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return os.access(folder / "cgroup.procs", os.W_OK)
    return False


def _move_to_leaf(folder: Path) -> None:
    # No internal processes (cgroup-v2.rst): a group that gives controllers to subgroups has no
    # process itself. The root of the machine's tree may; the root of a container's may not.
    if not (folder / "cgroup.type").exists():
        return
    leaf = folder / LEAF
    leaf.mkdir(exist_ok=True)
    # Again until none is left: those there start others meanwhile.
    for _ in range(8):
        pids = (folder / "cgroup.procs").read_text().split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)


def _enable(folder: Path, controllers: frozenset[str] | set[str]) -> None:
    missing = set(controllers) - _words(folder / "cgroup.subtree_control")
    if missing:
        text = " ".join(f"+{name}" for name in sorted(missing))
        (folder / "cgroup.subtree_control").write_text(text)


# Version 1


def _version_one(mounts: dict[str, Place], paths: dict[str, str]) -> Iterator[Hierarchy]:
    found: dict[Path, set[str]] = {}
    for controller in ("memory", "cpu"):
        if controller in mounts and controller in paths:
            folder = mounts[controller].folder_of(paths[controller])
            if folder is not None and os.access(folder, os.W_OK):
                found.setdefault(folder, set()).add(controller)
    for folder, controllers in found.items():
        yield Hierarchy(folder, 1, frozenset(controllers))


def _settings(hierarchy: Hierarchy, resources: Resources) -> Iterator[tuple[str, str]]:
    """(file, content), in the order in which the kernel takes them."""
    two = hierarchy.version == 2
    memory = resources.memory_limit
    if "memory" in hierarchy.controllers and two:
        yield "memory.max", "max" if memory is None else str(memory)
        # Without this, a container over its limit swaps the machine to a halt.
        yield "memory.swap.max", "max" if memory is None else "0"
        # A container ends as a whole, as in Kubernetes.
        yield "memory.oom.group", "1"
    elif "memory" in hierarchy.controllers:
        # memory.memsw is never below memory: it is opened wide first.
        yield "memory.memsw.limit_in_bytes", "-1"
        yield "memory.limit_in_bytes", "-1" if memory is None else str(memory)
        if memory is not None:
            yield "memory.memsw.limit_in_bytes", str(memory)
    if "cpu" in hierarchy.controllers:
        cores = resources.cpu_limit
        quota = None if cores is None else max(SMALLEST_QUOTA, round(cores * PERIOD))
        if two:
            yield "cpu.max", f"{'max' if quota is None else quota} {PERIOD}"
        else:
            yield "cpu.cfs_period_us", str(PERIOD)
            yield "cpu.cfs_quota_us", "-1" if quota is None else str(quota)


# What the machine says


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hierarchy is mounted, and which part of it."""

    root: str
    point: Path

    def folder_of(self, path: str) -> Path | None:
        """The folder of a cgroup; None where that part is not mounted."""
        if self.root != "/":
            if path != self.root and not path.startswith(self.root + "/"):
                return None
            path = path[len(self.root) :]
        folder = self.point / path.lstrip("/")
        return folder if folder.is_dir() else None


def _mounts(proc: Path) -> dict[str, Place]:
    """Controller → where it is mounted; version 2 under the empty name."""
    found: dict[str, Place] = {}
    for line in (proc / "mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        words, (kind, _, options) = left.split(), right.split(maxsplit=2)
        place = Place(words[3], Path(words[4]))
        if kind == "cgroup2":
            found.setdefault("", place)
        elif kind == "cgroup":
            for name in options.split(","):
                found.setdefault(name, place)
    return found


def _paths(proc: Path) -> dict[str, str]:
    """Controller → our cgroup in its hierarchy; version 2 under the empty name."""
    found = {}
    for line in (proc / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            found[name] = path
    return found


def _started(pid: int) -> str:
    """When the process started, in the machine's ticks; empty when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _words(file: Path) -> set[str]:
    try:
        return set(file.read_text().split())
    except OSError:
        return set()


def _subgroups(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.is_dir()]
    except OSError:
        return []


def _remove_tree(folder: Path) -> None:
    for below in _subgroups(folder):
        _remove_tree(below)
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as exc:
        # A process that cannot be ended (in a system call) keeps it; a later start takes it away.
        get_logger().debug("cgroup_left", target=folder.name, error=exc.strerror)
