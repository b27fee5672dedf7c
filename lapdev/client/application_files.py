"""An application from files, Kubernetes YAML or Compose: the objects of one environment.

What a file is, its content says. Errors carry file and line.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from lapdev.client.manifest_files import Manifest, parse_manifests, read_bytes, read_text
from lapdev.cluster.compose import Source, convert
from lapdev.cluster.compose.values import dns_label
from lapdev.errors import ConfigError

COMPOSE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
KUSTOMIZE_TIMEOUT = 120.0
_NODES = (yaml.ScalarEvent, yaml.AliasEvent, yaml.CollectionStartEvent)
# Deeper, PyYAML takes its time; and nothing is.
_DEPTH_LIMIT = 100
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Application:
    name: str
    """A DNS label: what the environment is called unless the user says otherwise."""
    objects: tuple[Manifest, ...]
    notes: tuple[str, ...]
    """For people: what was ignored, which variables are unset."""
    files: frozenset[str]
    """Every file that was read, absolute; standard input is not among them."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A file as it was read, or what was made from a kustomization."""

    text: str
    name: str
    """As complaints call it."""
    path: str = ""
    """Absolute; empty for what is no file."""

    @property
    def is_compose(self) -> bool:
        return _is_compose(self.text)


def read_application(
    paths: Sequence[str], environ: Mapping[str, str], profiles: Sequence[str] = ()
) -> Application:
    """The application that these files and folders describe together; `-` is standard input.

    Of a folder, its Compose file is read (with its override beside it), or else its
    kustomization, or else every manifest in it. `profiles` are Compose's.

    Raises:
        ConfigError: says what is wrong, in which file and line where there is one, and the remedy.
    """
    if not paths:
        raise ConfigError("no file is given", hint="name a Compose file, Kubernetes YAML, or -")
    read: set[str] = set()
    texts = [text for path in paths for text in _texts(path, read)]
    compose = [text for text in texts if text.is_compose]
    if compose and len(compose) < len(texts):
        other = next(text for text in texts if not text.is_compose)
        raise ConfigError(
            f"{compose[0].name} is a Compose file, and {other.name} is not",
            hint="give files of one kind; two environments take two commands",
        )
    if compose:
        return _compose(compose, environ, profiles, read)
    objects = [item for text in texts for item in parse_manifests(text.text, text.name)]
    first = Path(paths[0]).resolve()
    folder = Path.cwd() if paths[0] == "-" else first if first.is_dir() else first.parent
    return Application(dns_label(folder.name) or "app", tuple(objects), (), frozenset(read))


def _compose(
    texts: Sequence[_Text], environ: Mapping[str, str], profiles: Sequence[str], read: set[str]
) -> Application:
    sources = [Source(text.text, text.name, text.path) for text in texts]
    found = convert(sources, LocalFiles(), environ, profiles)
    return Application(found.name, found.objects, found.notes, frozenset(read) | set(found.files))


class LocalFiles:
    """What a Compose project refers to, read from this machine."""

    def read_text(self, path: str) -> str:
        return read_text(path)

    def read_bytes(self, path: str) -> bytes:
        return read_bytes(path)

    def exists(self, path: str) -> bool:
        try:
            return Path(path).exists()
        except (OSError, ValueError):  # a part of it is no folder, or it holds a NUL
            return False

    def resolve(self, path: str) -> str:
        try:
            return str(Path(path).expanduser().absolute())
        except RuntimeError as exc:
            raise ConfigError(f"{path}: {exc}", hint="write the whole path") from exc


# Files and folders


def _texts(path: str, read: set[str]) -> list[_Text]:
    if path == "-":
        return [_Text(read_text(path), "stdin")]
    try:
        is_folder = Path(path).is_dir()
    except ValueError:
        is_folder = False
    if not is_folder:
        return [_file(Path(path), read)]
    folder = Path(path)
    compose = [folder / name for name in COMPOSE_NAMES if (folder / name).is_file()]
    if compose:
        override = _override(compose[0])
        return [_file(file, read) for file in (compose[0], override) if file]
    for name in KUSTOMIZATIONS:
        if (folder / name).is_file():
            read |= _below(folder)
            return [_Text(_kustomize(folder), f"{folder} (kustomize)")]
    manifests = sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES)
    if not manifests:
        raise ConfigError(
            f"{folder}: holds neither a Compose file nor manifests",
            hint=f"write {COMPOSE_NAMES[0]}, or Kubernetes objects in files that end in .yaml",
        )
    return [_file(file, read) for file in manifests]


def _file(path: Path, read: set[str]) -> _Text:
    text = _Text(read_text(str(path)), str(path), str(path.absolute()))
    read.add(text.path)
    return text


def _override(path: Path) -> Path | None:
    """`compose.override.yaml` beside `compose.yaml`, with either ending."""
    for suffix in (path.suffix, ".yaml", ".yml"):
        found = path.with_name(f"{path.stem}.override{suffix}")
        if found.is_file():
            return found
    return None


def _below(folder: Path) -> set[str]:
    """What a kustomization may be made of, as far as it is in its folder."""
    return {str(file.absolute()) for file in folder.rglob("*") if file.suffix in _SUFFIXES}


def _kustomize(folder: Path) -> str:
    """The objects of a kustomization, as YAML."""
    for program, *words in (("kustomize", "build"), ("kubectl", "kustomize")):
        if not shutil.which(program):
            continue
        try:
            done = subprocess.run(
                [program, *words, str(folder)],
                capture_output=True,
                text=True,
                timeout=KUSTOMIZE_TIMEOUT,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{folder}: {program} failed: {exc}", hint="run it by hand") from exc
        if done.returncode:
            raise ConfigError(
                f"{folder}: {program}: {done.stderr.strip()[-500:]}",
                hint="mend the kustomization",
            )
        return done.stdout
    raise ConfigError(
        f"{folder}: is a kustomization, and neither kustomize nor kubectl is installed",
        hint="install one of them, or pipe its output: kustomize build … | lapdev up -",
    )


def _is_compose(text: str) -> bool:
    """The first document's keys say so; what is no YAML is not, and reading it says why."""
    depth = 0
    at_key = True
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            is_list = depth == 0 and isinstance(event, yaml.SequenceStartEvent)
            if is_list or depth > _DEPTH_LIMIT or isinstance(event, yaml.DocumentEndEvent):
                return False
            if depth == 1 and isinstance(event, _NODES):
                if at_key and isinstance(event, yaml.ScalarEvent):
                    if event.value in ("kind", "apiVersion"):
                        return False
                    if event.value in ("services", "include"):
                        return True
                at_key = not at_key
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except (yaml.YAMLError, ValueError):
        return False
    return False
