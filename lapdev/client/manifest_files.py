"""Kubernetes objects from YAML files, every mistake with file and line."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import yaml

from lapdev.errors import ConfigError

Manifest = dict[str, Any]

FILE_LIMIT_BYTES = 1_048_576
VALUES_LIMIT = 20_000


def read_manifests(path: str) -> list[Manifest]:
    """The objects of a file with one or more YAML documents; `-` is standard input.

    Raises:
        ConfigError: names file and line.
    """
    return parse_manifests(read_text(path), path)


def parse_manifests(text: str, path: str) -> list[Manifest]:
    """The objects of such a file's text. Raises ConfigError, which names `path` and line."""
    try:
        # Composed first: a node knows its line, a loaded value does not.
        nodes = [node for node in yaml.compose_all(text, yaml.SafeLoader) if node is not None]
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: {exc.problem}", hint="mend the YAML") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ConfigError(f"{path}: not YAML: {exc}", hint="mend the YAML") from exc
    nodes = [node for node in nodes if not _is_null(node)]
    objects = [
        _checked(document, f"{path}:{node.start_mark.line + 1}")
        for node, document in zip(nodes, documents, strict=True)
    ]
    if not objects:
        raise ConfigError(f"{path}: holds no object", hint="write Kubernetes objects there")
    return objects


def read_bytes(path: str) -> bytes:
    """A file of at most 1 MiB; `-` is standard input. Raises ConfigError."""
    try:
        with Path("/dev/stdin" if path == "-" else path).open("rb") as file:
            content = file.read(FILE_LIMIT_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}", hint="check the name") from exc
    except ValueError as exc:  # a NUL in the name
        raise ConfigError(f"{path!r}: {exc}", hint="check the name") from exc
    if len(content) > FILE_LIMIT_BYTES:
        raise ConfigError(f"{path}: is larger than 1 MiB", hint="split it")
    return content


def read_text(path: str) -> str:
    """As `read_bytes`, of text. Raises ConfigError when it is not UTF-8."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 at byte {exc.start}", hint="save as UTF-8") from exc


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def _checked(document: object, where: str) -> Manifest:
    if not isinstance(document, dict):
        raise ConfigError(
            f"{where}: is not a Kubernetes object", hint="begin it with apiVersion and kind"
        )
    if not isinstance(document.get("kind"), str):
        values = document.values()
        hint = "set apiVersion and kind"
        if any(isinstance(item, dict) and {"image", "build"} & item.keys() for item in values):
            hint = "if it is a Compose file, put its services below `services:`"
        raise ConfigError(f"{where}: the object has no kind", hint=hint)
    _refuse_what_json_lacks(document, f"{where} ({document['kind']})")
    return document


def _refuse_what_json_lacks(document: Manifest, where: str) -> None:
    """YAML knows keys and values that JSON, and so Kubernetes, does not.

    Aliases make a small file an endless object; a budget of values ends the walk.
    """
    waiting: list[tuple[object, str]] = [(document, where)]
    for _ in range(VALUES_LIMIT):
        if not waiting:
            return
        value, place = waiting.pop()
        match value:
            case dict():
                for key, item in value.items():
                    if not isinstance(key, str):
                        raise ConfigError(
                            f"{place}: key {key!r} is not text", hint="put it in quotes"
                        )
                    waiting.append((item, f"{place}.{key}"))
            case list():
                waiting.extend((item, f"{place}[{index}]") for index, item in enumerate(value))
            case date() | bytes() | set() | tuple():
                raise ConfigError(
                    f"{place}: a {type(value).__name__} is not JSON", hint="put it in quotes"
                )
            case _:
                pass
    raise ConfigError(f"{where}: holds more than {VALUES_LIMIT} values", hint="use fewer aliases")
