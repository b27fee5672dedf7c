"""Where the containers of manifests start: in the folder of the manifests, like a Compose file's.

The server may have been started anywhere, by another `lapdev up` in another project.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lapdev.client.manifest_files import Manifest
from lapdev.cluster.manifests.template import WORKLOAD_KINDS, template_path


def folder_of(paths: Sequence[str]) -> Path:
    """The folder that relative commands in these files are meant from: that of the first one."""
    if not paths or paths[0] == "-":
        return Path.cwd()
    first = Path(paths[0]).absolute()
    return first if first.is_dir() else first.parent


def with_working_dirs(objects: Iterable[Manifest], folder: Path) -> list[Manifest]:
    """The objects; containers that have no `workingDir` get this one.

    What is not as a manifest should be stays as it is: the server says so better.
    """
    result = [copy.deepcopy(item) if item["kind"] in WORKLOAD_KINDS else item for item in objects]
    for item in result:
        if item["kind"] in WORKLOAD_KINDS:
            for container in _containers(item):
                container["workingDir"] = container.get("workingDir") or str(folder)
    return result


def _containers(item: Manifest) -> Iterator[Manifest]:
    found: object = item
    for name in (*template_path(item["kind"]), "spec"):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return
    for name in ("initContainers", "containers"):
        listed = found.get(name)
        if isinstance(listed, list):
            yield from (container for container in listed if isinstance(container, dict))
