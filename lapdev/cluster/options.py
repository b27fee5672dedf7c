"""What the local driver can be told."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from lapdev.cluster.hidden_paths import hidden_paths, lapdevs_own
from lapdev.cluster.pod_files import PRIVATE_FOLDERS


@dataclass(frozen=True, slots=True)
class EdgeDoor:
    """The way from pods to preview URLs: what they dial at their gateway comes out upstream."""

    domain: str
    """Preview URLs are names below this one."""
    port: int
    """The port in preview URLs."""
    upstream: str
    """Address of a listener that serves previews and nothing else: `unix:PATH` or `host:port`."""


@dataclass(frozen=True, slots=True)
class LocalOptions:
    runtime_dir: Path
    """For the pods' own files; private to this user, and not seen by pods. A folder `pods` in it is
    emptied at start."""
    manager_address: str
    """Where sidecars reach the manager: `unix:PATH`."""
    python: str = sys.executable
    """Interpreter for sidecars, and for pods that ask for lapdev's own."""
    isolation: bool = True
    """Pods have namespaces of their own; off, every pod has an address of 127.64.0.0/10."""
    private: tuple[str, ...] = ()
    """Files and folders with secrets of this machine's lapdev: pods, of the same user, see them
    empty."""
    sidecar_command: tuple[str, ...] = ()
    """Started with `--launch-fd N` appended; empty: `python -P -m lapdev serve --role sidecar`."""
    working_dir: Path = field(default_factory=Path.cwd)
    """Where containers without workingDir start."""
    shutdown_grace: float = 3.0
    """Seconds pods get at most to end when the driver closes."""
    volumes_dir: Path | None = None
    """Where claims are kept, a folder per namespace; None: `volumes` below `runtime_dir`."""
    edge: EdgeDoor | None = None
    """None: pods reach no preview URL."""
    ca_file: str = ""
    """Authorities that sidecars believe beside the machine's own."""
    limits: bool = True
    """Memory and CPU limits of containers are kept where the machine allows it."""

    def sidecar_argv(self) -> list[str]:
        default = (self.python, "-P", "-m", "lapdev", "serve", "--role", "sidecar")
        return [*(self.sidecar_command or default)]

    def covered_folders(self) -> list[str]:
        """What is empty in every pod: scratch space, and what is not for pods at all."""
        hidden = hidden_paths(os.environ, os.getuid())
        return list(dict.fromkeys([*PRIVATE_FOLDERS, *self.refused_paths(), *hidden]))

    def refused_paths(self) -> tuple[str, ...]:
        """What a pod cannot even have by asking for it: a hostPath may not lead there."""
        volumes = (str(self.volumes_dir),) if self.volumes_dir else ()
        return (str(self.runtime_dir), *self.private, *volumes, *lapdevs_own(os.environ))

    def own_folders(self) -> list[str]:
        """Folders that programs of ours and of pods run from."""
        package = Path(__file__).parents[2]
        return [sys.prefix, sys.base_prefix, str(package), str(self.working_dir)]


def base_environment() -> dict[str, str]:
    """What processes in pods inherit: where programs are, never what the manager was told."""
    names = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
    return {name: os.environ[name] for name in names if name in os.environ}
