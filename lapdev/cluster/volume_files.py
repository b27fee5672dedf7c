"""Files that a pod gets from ConfigMaps, Secrets and facts about itself."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lapdev.cluster.manifests import ConfigFiles, Configs, DownwardFiles, PodFacts, Projected
from lapdev.cluster.manifests.config import Reference, find_config
from lapdev.errors import ConfigError

_MAPS = ("metadata.labels", "metadata.annotations")


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int


def projected_files(
    where: str, volume: Projected, facts: PodFacts, configs: Configs
) -> dict[str, File]:
    """Relative path → file. Of two sources for one path the later wins.

    Raises:
        ConfigError: it refers to what is not there; names `where`, object and key.
    """
    files: dict[str, File] = {}
    for source in volume.sources:
        if isinstance(source, ConfigFiles):
            found = _config_files(where, source, configs)
        else:
            found = _downward_files(where, source, facts)
        for path, (content, mode) in found.items():
            if path.startswith("/") or not path or ".." in path.split("/"):
                raise ConfigError(
                    f"{where}: {path!r} leads out of the volume",
                    hint="write a relative path without `..`",
                )
            files[path] = File(content, volume.mode if mode is None else mode)
    return files


def write_files(folder: Path, files: dict[str, File], *, secret: bool) -> None:
    """The folder has these files and no others; unchanged content leaves all as it is.

    Containers that have an older folder mounted keep that one. Raises OSError.
    """
    digest = _digest(files)
    seal = folder.with_name(f"{folder.name}.digest")
    if folder.is_dir() and seal.is_file() and seal.read_text() == digest:
        return
    # Never written into: what a pod has made of its folder may be links to anywhere.
    fresh = folder.with_name(f"{folder.name}.new")
    for old in (fresh, folder):
        shutil.rmtree(old, ignore_errors=True)
    fresh.mkdir(parents=True)
    for path, file in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as written:
            written.write(file.content)
            os.fchmod(fd, file.mode)
    fresh.chmod(0o700 if secret else 0o755)
    fresh.rename(folder)
    seal.write_text(digest)


def is_secret(volume: Projected) -> bool:
    """Nobody but this user may look into it."""
    return any(
        isinstance(source, ConfigFiles) and source.kind == "Secret" for source in volume.sources
    )


def _config_files(
    where: str, source: ConfigFiles, configs: Configs
) -> dict[str, tuple[bytes, int | None]]:
    keys = tuple(key for key, _, _ in source.items)
    reference = Reference(where, source.kind, source.name, keys, source.optional)
    found = find_config(reference, configs)
    if found is None:
        return {}
    if not source.items:
        return {key: (content, None) for key, content in found.data.items()}
    return {path: (found.data[key], mode) for key, path, mode in source.items if key in found.data}


def _downward_files(
    where: str, source: DownwardFiles, facts: PodFacts
) -> dict[str, tuple[bytes, int | None]]:
    files = {}
    for field, path, mode in source.items:
        value = _lines(facts, field) if field in _MAPS else facts.field(field)
        if value is None:
            raise ConfigError(
                f"{where}: {path!r} refers to field {field!r}, which is not supported",
                hint="use metadata.name, metadata.labels, metadata.annotations or status.podIP",
            )
        files[path] = (value.encode(), mode)
    return files


def _lines(facts: PodFacts, field: str) -> str:
    """`key="value"`, one a line, as Kubernetes writes whole maps."""
    values = facts.labels if field == "metadata.labels" else facts.annotations
    return "\n".join(f"{key}={json.dumps(text)}" for key, text in sorted(values.items()))


def _digest(files: dict[str, File]) -> str:
    described = [
        (path, file.mode, hashlib.sha256(file.content).hexdigest())
        for path, file in sorted(files.items())
    ]
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()
