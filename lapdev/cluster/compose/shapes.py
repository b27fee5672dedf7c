"""Short forms in a document are brought into their long one, so that files can be merged.

What has neither form stays as it is: reading the services complains about it, by its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lapdev.cluster.compose.documents import RESET, Document, Override, Path
from lapdev.cluster.compose.values import scalar_text

_PAIRS = ("environment", "labels", "annotations", "sysctls")
_LISTS = ("env_file", "tmpfs", "dns", "dns_search", "profiles", "label_file")
_NAMES: dict[str, Any] = {
    "depends_on": {"condition": "service_started"},
    "networks": None,
}


def long_forms(document: Document) -> Document:
    """The document with every service in its long form."""
    root = document.value
    if not isinstance(root, dict) or not isinstance(root.get("services"), dict):
        return document
    places = dict(document.places)
    services = {
        name: _service(service, ("services", name), places)
        for name, service in root["services"].items()
    }
    return Document(root | {"services": services}, places)


def _service(service: Any, path: Path, places: dict[Path, str]) -> Any:
    if not isinstance(service, dict):
        return service
    result = dict(service)

    def change(name: str, how: Callable[[Any, Path], Any]) -> None:
        if name not in result:
            return
        value = result[name]
        if isinstance(value, Override):
            result[name] = Override(how(value.value, (*path, name)))
        elif value is not RESET:
            result[name] = how(value, (*path, name))

    def pairs(value: Any, at: Path) -> Any:
        return _pairs(value, at, places)

    def build(value: Any, at: Path) -> Any:
        if isinstance(value, str):
            return {"context": value}
        if isinstance(value, dict) and "args" in value:
            return value | {"args": pairs(value["args"], (*at, "args"))}
        return value

    for name in _PAIRS:
        change(name, pairs)
    for name in _LISTS:
        change(name, lambda value, _: [value] if isinstance(value, str) else value)
    for name, empty in _NAMES.items():
        change(name, lambda value, at, empty=empty: _named(value, at, places, empty))  # type: ignore[misc]
    change("build", build)
    change("extends", lambda value, _: {"service": value} if isinstance(value, str) else value)
    return result


def _pairs(value: Any, path: Path, places: dict[Path, str]) -> Any:
    """`["A=1", "B"]` → `{"A": "1", "B": None}`."""
    if not isinstance(value, list) or any(isinstance(item, (dict, list)) for item in value):
        return value
    result: dict[str, str | None] = {}
    for index, item in enumerate(value):
        name, sign, text = scalar_text(item).partition("=")
        result[name] = text if sign else None
        _move(places, (*path, index), (*path, name))
    return result


def _named(value: Any, path: Path, places: dict[Path, str], empty: Any) -> Any:
    """`[db]` → `{"db": …}`."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return value
    for index, item in enumerate(value):
        _move(places, (*path, index), (*path, item))
    return dict.fromkeys(value, empty)


def _move(places: dict[Path, str], old: Path, new: Path) -> None:
    if old in places:
        places[new] = places[old]
