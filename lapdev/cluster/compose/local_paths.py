"""Relative paths in a document become absolute ones, so that it can be merged with documents of
other folders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lapdev.cluster.compose.documents import Document, Override

Absolute = Callable[[str], str]


def absolute_paths(document: Document, absolute: Absolute) -> Document:
    """The document with the paths of this machine made absolute; container paths stay."""
    root = document.value
    if not isinstance(root, dict):
        return document
    result = dict(root)
    for name, members in (("services", _service), ("secrets", _file), ("configs", _file)):
        if isinstance(root.get(name), dict):
            result[name] = {key: members(item, absolute) for key, item in root[name].items()}
    if isinstance(root.get("volumes"), dict):
        result["volumes"] = {key: _volume(item, absolute) for key, item in root["volumes"].items()}
    return Document(result, document.places)


def is_local_path(source: str) -> bool:
    """A volume's source is a path of this machine, not the name of a volume."""
    return source.startswith((".", "/", "~"))


def _service(service: Any, absolute: Absolute) -> Any:
    if not isinstance(service, dict):
        return service
    result = dict(service)
    for name, change in (("build", _build), ("env_file", _env_files), ("volumes", _mounts)):
        if name not in result:
            continue
        if isinstance(result[name], Override):
            result[name] = Override(change(result[name].value, absolute))
        else:
            result[name] = change(result[name], absolute)
    return result


def _build(build: Any, absolute: Absolute) -> Any:
    if not isinstance(build, dict):
        return build
    context = build.get("context")
    if not isinstance(context, str) or _is_remote(context):
        return build
    return build | {"context": absolute(context)}


def _is_remote(context: str) -> bool:
    return "://" in context or context.startswith("git@")


def _env_files(value: Any, absolute: Absolute) -> Any:
    return (
        [_path_of(item, "path", absolute) for item in value] if isinstance(value, list) else value
    )


def _mounts(value: Any, absolute: Absolute) -> Any:
    return [_mount(item, absolute) for item in value] if isinstance(value, list) else value


def _mount(mount: Any, absolute: Absolute) -> Any:
    if isinstance(mount, str):
        source, colon, rest = mount.partition(":")
        if colon and is_local_path(source):
            return f"{absolute(source)}:{rest}"
        return mount
    if isinstance(mount, dict) and mount.get("type") == "bind":
        return _path_of(mount, "source", absolute)
    return mount


def _file(item: Any, absolute: Absolute) -> Any:
    return _path_of(item, "file", absolute) if isinstance(item, dict) else item


def _volume(volume: Any, absolute: Absolute) -> Any:
    """`driver_opts: {o: bind, device: ./data}`."""
    options = volume.get("driver_opts") if isinstance(volume, dict) else None
    if not isinstance(options, dict) or "bind" not in str(options.get("o", "")).split(","):
        return volume
    return volume | {"driver_opts": _path_of(options, "device", absolute)}


def _path_of(value: Any, name: str, absolute: Absolute) -> Any:
    if isinstance(value, str):
        return absolute(value)
    if isinstance(value, dict) and isinstance(value.get(name), str):
        return value | {name: absolute(value[name])}
    return value
