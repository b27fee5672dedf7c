"""Compose files → one document: variables replaced, `extends` and `include` followed, merged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lapdev.cluster.compose.documents import Document, read_document
from lapdev.cluster.compose.interpolation import Lookup, interpolate
from lapdev.cluster.compose.local_paths import absolute_paths
from lapdev.cluster.compose.merging import merge, plain, subtree
from lapdev.cluster.compose.shapes import long_forms
from lapdev.cluster.compose.sources import Reader, folder_of
from lapdev.cluster.compose.values import Value
from lapdev.errors import ConfigError

_EXTENDS_LIMIT = 20


@dataclass(frozen=True, slots=True)
class Source:
    """One Compose file: its text, the name complaints call it by, and where it is."""

    text: str
    name: str
    path: str = ""
    """Absolute; empty for standard input."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What files of one project are read with."""

    reader: Reader
    folder: str
    """Absolute: where relative paths start."""
    variables: Mapping[str, str]
    note: Callable[[str, str], None]
    """Called with the name of each variable that has no value, and where it stands."""

    @property
    def lookup(self) -> Lookup:
        return self.variables.get


def load(sources: Sequence[Source], around: Surroundings, chain: tuple[str, ...] = ()) -> Document:
    """The document that these files make together, the later ones changing the earlier.

    `chain` are the files that include these.

    Raises:
        ConfigError: names file, line and path.
    """
    result: Document | None = None
    for source in sources:
        document = _prepared(source, around)
        document = _with_extends(document, source, around)
        document = _with_includes(document, around, (*chain, source.path))
        result = merge(result, document) if result else document
    assert result is not None
    return Document(plain(result.value), result.places)


def environment_of(folder: str, environ: Mapping[str, str], reader: Reader) -> dict[str, str]:
    """The environment, and below it what the folder's `.env` says."""
    path = reader.join(folder, ".env")
    found = reader.variables(path, environ.get) if reader.exists(path) else {}
    return found | dict(environ)


def _prepared(source: Source, around: Surroundings) -> Document:
    document = read_document(source.text, source.name)
    if not isinstance(document.value, dict):
        Value(document.value, (), document.places).wrong_type("a mapping with services")
    document = interpolate(document, around.lookup, around.note)
    document = long_forms(document)
    return absolute_paths(document, lambda path: around.reader.join(around.folder, path))


# extends


def _with_extends(document: Document, source: Source, around: Surroundings) -> Document:
    services = document.value.get("services")
    if not isinstance(services, dict):
        return document
    result = document
    for name, service in services.items():
        if isinstance(service, dict) and "extends" in service:
            extended = _extended(name, document, (source, around), ())
            others = {key: item for key, item in result.value["services"].items() if key != name}
            # Built anew, so that the service keeps its turn.
            value = {key: extended.value["services"].get(key, others.get(key)) for key in services}
            result = Document(result.value | {"services": value}, result.places | extended.places)
    return result


def _extended(
    name: str, document: Document, at: tuple[Source, Surroundings], seen: tuple[str, ...]
) -> Document:
    """The service of that name with all it extends, in a document of its own."""
    around = at[1]
    own = subtree(document, ("services", name), ("services", name))
    value = Value(document.value["services"][name], ("services", name), document.places)
    extends = value.child("extends")
    if not extends:
        return own
    extends.only(("service", "file"))
    base_name = extends.child("service").text()
    base, base_at = document, at
    if extends.child("file"):
        path = _existing(extends.child("file"), around)
        inner = replace(around, folder=folder_of(path))
        base_source = Source(around.reader.text(path), extends.child("file").text(), path)
        base, base_at = _prepared(base_source, inner), (base_source, inner)
    link = f"{base_at[0].path or base_at[0].name}: {base_name}"
    if link in seen or len(seen) > _EXTENDS_LIMIT:
        extends.fail("extends itself in a circle", "let one of the services stand by itself")
    known = base.value.get("services")
    if not isinstance(known, dict) or not isinstance(known.get(base_name), dict):
        extends.fail(f"there is no service {base_name!r}", "name a service of that file")
    found = _extended(base_name, base, base_at, (*seen, link))
    merged = merge(subtree(found, ("services", base_name), ("services", name)), own)
    service = dict(merged.value["services"][name])
    service.pop("extends", None)
    return Document({"services": {name: service}}, merged.places)


# include


def _with_includes(document: Document, around: Surroundings, chain: tuple[str, ...]) -> Document:
    include = Value(document.value.get("include"), ("include",), document.places)
    if not include:
        return document
    result = Document(
        {key: v for key, v in document.value.items() if key != "include"}, document.places
    )
    for item in include.items():
        included = _included(item, around, chain)
        _refuse_twice(item, result, included)
        result = merge(included, result)
    return result


def _included(item: Value, around: Surroundings, chain: tuple[str, ...]) -> Document:
    reader = around.reader
    long = isinstance(item.value, dict)
    if long:
        item.only(("path", "project_directory", "env_file"))
    given = item.child("path") if long else item
    named = given.items() if isinstance(given.value, list) else [given]
    if not named:
        item.fail("names no file", "write the path of a Compose file")
    paths = [_existing(name, around) for name in named]
    if set(paths) & set(chain):
        item.fail("includes itself in a circle", "leave one of the includes out")
    folder = folder_of(paths[0])
    if long and item.child("project_directory"):
        folder = reader.join(around.folder, item.child("project_directory").text())
    variables: Mapping[str, str] = dict(around.variables)
    if long and item.child("env_file"):
        for path in item.child("env_file").texts():
            inner = reader.variables(reader.join(around.folder, path), around.lookup)
            variables = inner | dict(variables)
    else:
        variables = environment_of(folder, variables, reader)
    sources = [
        Source(reader.text(path), name.text(), path)
        for path, name in zip(paths, named, strict=True)
    ]
    inner_around = replace(around, folder=folder, variables=variables)
    return load(sources, inner_around, chain)


def _existing(name: Value, around: Surroundings) -> str:
    path = around.reader.join(around.folder, name.text())
    if not around.reader.exists(path):
        name.fail(f"there is no file {path}", "check the name")
    return path


def _refuse_twice(item: Value, document: Document, included: Document) -> None:
    """An include adds; it does not change."""
    for section in ("services", "volumes", "networks", "secrets", "configs"):
        ours: Any = document.value.get(section)
        theirs: Any = included.value.get(section)
        if not isinstance(ours, dict) or not isinstance(theirs, dict):
            continue
        for name in ours.keys() & theirs.keys():
            if ours[name] != theirs[name]:
                raise ConfigError(
                    f"{item.where}: {section}.{name} of the included file is in this one, too",
                    hint="give one of them another name",
                )
