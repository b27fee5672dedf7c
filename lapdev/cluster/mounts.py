"""What one container sees mounted: made in a mount namespace of its own, before it is started.

Imported by `enter`, whose start is on every container's way, and only where there are mounts:
nothing slow, nothing of lapdev but the system calls. No file of the machine is made or changed. A
place to mount at that does not exist is made possible by a *cover*: a folder in memory that lies
over the deepest folder there is and shows, bound back, everything that folder had.
"""

# Loading pathlib takes longer than all that is done here.
# ruff: noqa: PTH102, PTH114, PTH115, PTH116, PTH208, PTH211

from __future__ import annotations

import errno
import os
import stat

from lapdev.cluster import syscalls

READ_WRITE = "rw"
READ_ONLY = "ro"
HIDDEN = "hidden"
"""`target` is empty: a folder or file inside an earlier mount that is not for pods."""
OWN = "own"
"""`target` is the pod's already: folders may be made in it."""
MACHINE = "machine"
"""`target` is the machine's, although it lies in what is the pod's."""

_FIELDS = 4


class MountError(Exception):
    """A container cannot have what it is to have; the text says what and why."""


class Step:
    """One line of a plan."""

    __slots__ = ("kind", "source", "target", "within")

    def __init__(self, kind: str, target: str, source: str = "", within: str = "") -> None:
        self.kind = kind
        self.target = target
        self.source = source
        """A file or folder as the manager sees it, or, with `within`, a path below that. The former
        has no symbolic link in its path."""
        self.within = within
        """A folder that `source` may not lead out of; missing folders are made in it."""


def encode(steps: list[Step]) -> bytes:
    fields = [field for s in steps for field in (s.kind, s.target, s.source, s.within)]
    return "\0".join(fields).encode(errors="surrogateescape")


def decode(plan: bytes) -> list[Step]:
    fields = plan.decode(errors="surrogateescape").split("\0")
    return [Step(*fields[at : at + _FIELDS]) for at in range(0, len(fields), _FIELDS)]


def open_sources(steps: list[Step]) -> list[tuple[Step, int]]:
    """Every step with its tree (-1 where it needs none), opened as this process sees the machine.

    To be called before the pod is joined: there, much of it is covered.
    """
    return [(step, _open_source(step)) for step in steps]


def attach(opened: list[tuple[Step, int]]) -> None:
    """This process, alone, sees all of it in its place. To be called inside the pod."""
    syscalls.unshare(syscalls.NEW_NS)
    places = _Places()
    for step, tree in opened:
        try:
            _take(places, step, tree)
        except OSError as exc:
            raise MountError(f"cannot mount at {step.target}: {_why(exc)}") from exc
        finally:
            if tree >= 0:
                os.close(tree)


def _take(places: _Places, step: Step, tree: int) -> None:
    if step.kind in (OWN, MACHINE):
        places.mounted(os.path.realpath(step.target), writable=step.kind == OWN)
    elif step.kind == HIDDEN:
        _hide(step.target)
    else:
        place = places.ready(step.target, folder=stat.S_ISDIR(os.fstat(tree).st_mode))
        syscalls.move_mount(tree, place)
        # Docker and Kubernetes make missing places inside a volume in the volume, too.
        places.mounted(place, writable=step.kind == READ_WRITE)


def _open_source(step: Step) -> int:
    if step.kind not in (READ_WRITE, READ_ONLY):
        return -1
    try:
        tree = _open_within(step) if step.within else _open_real(step.source)
        if step.kind == READ_ONLY:
            syscalls.make_read_only(tree)
    except OSError as exc:
        source = f"{step.within}/{step.source}" if step.within else step.source
        known = {
            errno.EXDEV: "it leads out of its volume",
            errno.ELOOP: "a link has taken its place",
        }
        why = known.get(exc.errno or 0) or _why(exc)
        raise MountError(f"cannot mount {source} at {step.target}: {why}") from exc
    return tree


def _why(exc: OSError) -> str:
    return os.strerror(exc.errno or 0)


def _open_real(path: str) -> int:
    """The tree at a path that was looked at before: no pod has put a link there since."""
    fd = syscalls.open_real(path)
    try:
        return syscalls.open_tree(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _open_within(step: Step) -> int:
    """The tree at a path inside a volume: no symbolic link in it leads elsewhere."""
    parts = step.source.split("/")
    root = syscalls.open_real(step.within)
    folder = os.dup(root)
    try:
        for end in range(1, len(parts) + 1):
            try:
                below = syscalls.open_beneath(root, "/".join(parts[:end]))
            except FileNotFoundError:
                os.mkdir(parts[end - 1], dir_fd=folder)
                below = syscalls.open_beneath(root, "/".join(parts[:end]))
            os.close(folder)
            folder = below
        return syscalls.open_tree(f"/proc/self/fd/{folder}")
    finally:
        os.close(folder)
        os.close(root)


def _hide(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # not there, or not ours to read
    if stat.S_ISDIR(mode):
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_RDONLY
        syscalls.mount("tmpfs", path, "tmpfs", flags, "mode=755")
    else:
        syscalls.mount("/dev/null", path, flags=syscalls.MS_BIND)


class _Places:
    """Where things can be mounted, and what has been done to make that so."""

    def __init__(self) -> None:
        self._roots: dict[str, bool] = {}
        """Of mounts made here: may folders be made in them?"""

    def mounted(self, path: str, *, writable: bool) -> None:
        self._roots[path] = writable

    def ready(self, target: str, *, folder: bool) -> str:
        """The real path of `target`, where there is now a folder or a file."""
        path = os.path.realpath(target)
        if path == "/" or path == "/proc" or path.startswith("/proc/"):
            raise OSError(errno.EPERM, "")
        parts = path[1:].split("/")
        for depth, part in enumerate(parts):
            above = "/" + "/".join(parts[:depth])
            here = "/" + "/".join(parts[: depth + 1])
            last = depth == len(parts) - 1
            kind = _kind(here)
            if kind == ("folder" if folder or not last else "file"):
                continue
            if kind or not self._makes(above):
                self._covered(above, cover(above, without=part), part)
            if last and not folder:
                os.close(os.open(here, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            else:
                os.mkdir(here, 0o755)
        return path

    def _covered(self, folder: str, shown: list[str], without: str) -> None:
        self._roots.pop(f"{folder.rstrip('/')}/{without}", None)
        for name in shown:
            # Still the machine's, where it is not ours already.
            self._roots.setdefault(f"{folder.rstrip('/')}/{name}", False)
        self._roots[folder] = True

    def _makes(self, folder: str) -> bool:
        """The folder lies in what is this container's own."""
        while folder not in self._roots:
            if folder == "/":
                return False
            folder = folder.rpartition("/")[0] or "/"
        return self._roots[folder]


def _kind(path: str) -> str:
    """`folder`, `file` for anything else, empty where there is nothing."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, PermissionError):
        return ""  # what the pod may not look at is as good as not there
    return "folder" if stat.S_ISDIR(mode) else "file"


def cover(folder: str, without: str = "") -> list[str]:
    """The folder is in memory and has all it had, except for one name; returns the names."""
    had = _entries(folder, without)
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    # A root cannot be mounted over: another takes its place.
    place = folder if folder != "/" else _any_folder(had)
    syscalls.mount("tmpfs", place, "tmpfs", flags, "mode=755")
    for name, link, tree in had:
        path = f"{place}/{name}"
        if tree < 0:
            os.symlink(link, path)
            continue
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.mkdir(path, 0o755)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        syscalls.move_mount(tree, path)
        os.close(tree)
    if folder == "/":
        syscalls.pivot_root(place)
    return [name for name, _, _ in had]


def _entries(folder: str, without: str) -> list[tuple[str, str, int]]:
    """(name, where a symbolic link leads, tree of anything else) of all that is in a folder."""
    try:
        names = os.listdir(folder)
    except PermissionError:
        return []  # nobody in the pod could look either
    found = []
    for name in names:
        path = f"{folder.rstrip('/')}/{name}"
        if name == without:
            continue
        try:
            if os.path.islink(path):
                found.append((name, os.readlink(path), -1))
            else:
                found.append((name, "", syscalls.open_tree(path)))
        except FileNotFoundError:
            continue  # removed this moment
    return found


def _any_folder(entries: list[tuple[str, str, int]]) -> str:
    for name, _, tree in entries:
        if tree >= 0 and stat.S_ISDIR(os.fstat(tree).st_mode):
            return f"/{name}"
    raise OSError(errno.ENOENT, "")
