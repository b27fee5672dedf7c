"""A pod's volumes on this machine: folders and files, and where containers see them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BindMount:
    """A file or folder of this machine that a container sees at another place."""

    source: str
    target: str
    """Absolute. Made possible where this machine has no such file or folder."""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class VolumeFolders:
    """Where a pod's volumes are kept."""

    pod: Path
    """Goes with the pod."""
    claims: Path
    """Of the pod's namespace: goes with that."""
