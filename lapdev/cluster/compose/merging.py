"""Two documents as one: a later file, or a service that extends another, changes the earlier.

Implements the Compose specification's chapter "Merge": mappings are merged, lists are appended,
all else is replaced. Entries of a list that mean the same thing (two volumes at one path) are
told apart where they are read: the later wins.
"""

from __future__ import annotations

from typing import Any

from lapdev.cluster.compose.documents import RESET, Document, Override, Path

_REPLACED = ("command", "entrypoint")


def merge(earlier: Document, later: Document) -> Document:
    """What both say together; places follow their values."""
    places = dict(earlier.places)
    value = _merge(earlier.value, later.value, (), (places, later.places))
    return Document(value, places)


def plain(value: Any) -> Any:
    """Without the tags that only a merge has a use for."""
    match value:
        case Override():
            return plain(value.value)
        case dict():
            return {key: plain(item) for key, item in value.items() if item is not RESET}
        case list():
            return [plain(item) for item in value if item is not RESET]
        case _:
            return None if value is RESET else value


def subtree(document: Document, path: Path, new_path: Path) -> Document:
    """The value at `path`, as if it stood at `new_path` of a document with nothing else."""
    value: Any = document.value
    for part in path:
        value = value[part]
    length = len(path)
    places = {
        (*new_path, *place[length:]): text
        for place, text in document.places.items()
        if place[:length] == path
    }
    for part in reversed(new_path):
        value = {part: value}
    return Document(value, places)


Both = tuple[dict[Path, str], dict[Path, str]]
"""The places of the result, and those of the later document."""


def _merge(old: Any, new: Any, path: Path, places: Both) -> Any:
    if isinstance(new, Override) or old is None or old is RESET:
        return _take(plain(new) if isinstance(new, Override) else new, path, path, places)
    old = old.value if isinstance(old, Override) else old
    if isinstance(old, dict) and isinstance(new, dict):
        result = dict(old)
        for key, item in new.items():
            if item is RESET:
                result.pop(key, None)
            else:
                result[key] = _merge(result.get(key), item, (*path, key), places)
        return result
    if isinstance(old, list) and isinstance(new, list) and not _is_replaced(path):
        for index in range(len(new)):
            _take(None, (*path, index), (*path, len(old) + index), places)
        return [*old, *(item for item in new if item not in old)]
    if new is None and isinstance(old, (dict, list)):
        return old
    return _take(new, path, path, places)


def _is_replaced(path: Path) -> bool:
    in_service = len(path) == 3 and path[0] == "services"
    return (in_service and path[-1] in _REPLACED) or path[-2:] == ("healthcheck", "test")


def _take(value: Any, old: Path, new: Path, places: Both) -> Any:
    """The value, its place being the later document's."""
    target, source = places
    length = len(old)
    # Few values are replaced by large ones; what stands inside them is found by its parent.
    for place in [old, *_paths(value, old)]:
        if place in source:
            target[(*new, *place[length:])] = source[place]
    return value


def _paths(value: Any, path: Path) -> list[Path]:
    found: list[Path] = []
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, item in value.items() if isinstance(value, dict) else ():
        found.append((*path, key))
        found += _paths(item, (*path, key))
    return found
