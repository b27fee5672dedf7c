"""The YAML text of a Compose file → values, and the line each of them stands on.

YAML 1.2's core schema, which Compose files are written in: `on` and `22:22` are text here.
Compose's own tags are read too: `!reset` and `!override` say how a later file changes an earlier.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import yaml

from lapdev.errors import ConfigError

Path = tuple[str | int, ...]
Places = Mapping[Path, str]
"""Where the value at a path is written: `compose.yaml:12`."""

VALUES_LIMIT = 50_000
DEPTH_LIMIT = 60


@dataclass(frozen=True, slots=True)
class Document:
    value: Any
    places: dict[Path, str]


@dataclass(frozen=True, slots=True)
class Override:
    """The value takes the place of an earlier file's, instead of being merged with it."""

    value: Any


class Reset:
    """The value of an earlier file is taken away."""


RESET: Final = Reset()

_TAG = "tag:yaml.org,2002:"
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL = re.compile(r"~|null|Null|NULL|")
_INT = re.compile(r"[-+]?(?:0b[01]+|0o[0-7]+|0x[0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_MERGE = re.compile(r"<<")


class _Loader(yaml.SafeLoader):
    """Finds the nodes only; values are made from them below."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's way to begin without YAML 1.1's


for _name, _pattern in (
    ("bool", _BOOL),
    ("null", _NULL),
    ("int", _INT),
    ("float", _FLOAT),
    ("merge", _MERGE),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern.pattern})$"), None)


def read_document(text: str, name: str) -> Document:
    """The one document of a file called `name`.

    Raises:
        ConfigError: names the file and the line.
    """
    try:
        nodes = [node for node in yaml.compose_all(text, _Loader) if node is not None]
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{name}{line}: {exc.problem}", hint="mend the YAML") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise ConfigError(f"{name}: not YAML: {exc}", hint="mend the YAML") from exc
    if len(nodes) != 1:
        raise ConfigError(
            f"{name}: holds {len(nodes)} YAML documents, not one", hint="write one Compose project"
        )
    builder = _Builder(name)
    return Document(builder.value(nodes[0], ()), builder.places)


class _Builder:
    """Nodes → values. Aliases make a small file a large value, or an endless one: a budget of
    values and a depth end the walk."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._budget = VALUES_LIMIT
        self.places: dict[Path, str] = {}

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._count(node, len(path))
        self.places[path] = self._place(node)
        if node.tag == "!reset":
            return RESET
        if node.tag == "!override":
            return Override(self._untagged(node, path))
        if node.tag.startswith("!"):
            self._fail(node, f"the tag {node.tag} is unknown", "leave it out")
        return self._untagged(node, path)

    def _untagged(self, node: yaml.Node, path: Path) -> Any:
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            case _:
                return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key, item in node.value:
            if key.tag == _TAG + "merge":
                merged.append(item)
                continue
            name = self._scalar(key) if isinstance(key, yaml.ScalarNode) else None
            if not isinstance(name, str):
                name = key.value if key.tag in (_TAG + "int", _TAG + "float") else None
            if not isinstance(name, str):
                self._fail(key, "a key is not text", "put it in quotes")
            if name in result:
                self._fail(key, f"the key {name!r} is there twice", "keep one of the two")
            result[name] = self.value(item, (*path, name))
        # Keys written out win over merged ones, and earlier merged ones over later.
        for source in self._merge_sources(merged, len(path)):
            inherited = self._mapping(source, (*path, "<<"))
            for name, item in inherited.items():
                if name not in result:
                    result[name] = item
                    self._adopt((*path, "<<", name), (*path, name))
        return result

    def _merge_sources(self, nodes: list[yaml.Node], depth: int) -> Iterator[yaml.MappingNode]:
        for node in nodes:
            for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
                self._count(item, depth + 1)
                if not isinstance(item, yaml.MappingNode):
                    self._fail(item, "<< merges what is not a mapping", "merge a mapping")
                yield item

    def _adopt(self, old: Path, new: Path) -> None:
        """The place of a merged value is the anchor's; of what is in it, as far as is known."""
        if old in self.places:
            self.places[new] = self.places[old]

    def _scalar(self, node: yaml.Node) -> Any:
        text = node.value
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return self._integer(text)
            case "float" if _FLOAT.fullmatch(text):
                return float(text)
            case "str" | "int" | "float" | "timestamp" | "merge" | "!override":
                return text
            case tag:
                self._fail(node, f"a {tag} is not text, number or boolean", "put it in quotes")

    def _integer(self, text: str) -> int | str:
        digits = text.lstrip("+-")
        sign = -1 if text.startswith("-") else 1
        octal = re.fullmatch(r"0[0-7]+", digits)
        try:
            return sign * int(digits, 8 if octal else 0)
        except ValueError:  # thousands of digits
            return text

    def _count(self, node: yaml.Node, depth: int) -> None:
        self._budget -= 1
        if self._budget < 0 or depth > DEPTH_LIMIT:
            self._fail(
                node,
                f"holds more than {VALUES_LIMIT} values, or deeper than {DEPTH_LIMIT}",
                "use fewer aliases",
            )

    def _place(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}"

    def _fail(self, node: yaml.Node, problem: str, hint: str) -> NoReturn:
        raise ConfigError(f"{self._place(node)}: {problem}", hint=hint)
