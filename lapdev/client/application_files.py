"""An application from files, Kubernetes YAML or Compose: the objects of one environment.

What a file is, its content says. Errors carry file and line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lapdev.client.manifest_files import Manifest, parse_manifests, read_text


@dataclass(frozen=True, slots=True)
class Application:
    name: str
    """A DNS label: what the environment is called unless the user says otherwise."""
    objects: tuple[Manifest, ...]
    notes: tuple[str, ...]
    """For people: what was ignored, which variables are unset."""
    files: frozenset[str]
    """Every file that was read, absolute; standard input is not among them."""


def read_application(
    paths: Sequence[str], environ: Mapping[str, str], profiles: Sequence[str] = ()
) -> Application:
    """The application that these files and folders describe together; `-` is standard input.

    Raises:
        ConfigError: says what is wrong, in which file and line where there is one, and the remedy.
    """
    objects: list[Manifest] = []
    files: set[str] = set()
    for path in paths:
        objects += parse_manifests(read_text(path), path)
        if path != "-":
            files.add(str(Path(path).resolve()))
    first = Path.cwd() if not paths or paths[0] == "-" else Path(paths[0]).resolve().parent
    return Application(_label(first.name), tuple(objects), (), frozenset(files))


def _label(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-") or "app"
