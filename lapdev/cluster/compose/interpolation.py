"""Variables in a Compose file: `$VAR`, `${VAR}`, and defaults, errors and replacements in braces.

Implements the Compose specification's chapter "Interpolation".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lapdev.cluster.compose.documents import Document, Override, Path
from lapdev.cluster.compose.values import Value
from lapdev.errors import ConfigError

Lookup = Callable[[str], str | None]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
_HINT = "write $$ where a dollar sign is meant"
_DEPTH_LIMIT = 20
_LENGTH_LIMIT = 100_000


class Unset(Exception):  # noqa: N818 - says what happened; never leaves this room
    """A required variable has no value."""


class Malformed(Exception):  # noqa: N818
    """A `$` begins nothing that is known."""


def substitute(text: str, lookup: Lookup, unset: Callable[[str], None], depth: int = 0) -> str:
    """`text` with its variables replaced; `unset` is told of each without value and default.

    Raises:
        Malformed, Unset: the message says what.
    """
    if depth > _DEPTH_LIMIT:
        raise Malformed("defaults are nested too deeply")
    result = []
    position = length = 0
    while (dollar := text.find("$", position)) >= 0:
        result.append(text[position:dollar])
        value, position = _variable(text, dollar + 1, (lookup, unset, depth))
        result.append(value)
        length += len(value)
        if length > _LENGTH_LIMIT:
            raise Malformed("the variables' values are too long")
    return "".join([*result, text[position:]])


def _variable(
    text: str, start: int, given: tuple[Lookup, Callable[[str], None], int]
) -> tuple[str, int]:
    """What stands for the `$` before `start`, and where the text goes on."""
    lookup, unset, _ = given
    if text.startswith("$", start):
        return "$", start + 1
    if match := _NAME.match(text, start):
        value = lookup(match[0])
        if value is None:
            unset(match[0])
        return value or "", match.end()
    name = _NAME.match(text, start + 1)
    if not text.startswith("{", start) or not name:
        raise Malformed(f"{text[start - 1 : start + 12]!r} is not a variable")
    end = _closing(text, start)
    return _braced(name[0], text[name.end() : end], given), end + 1


def _closing(text: str, start: int) -> int:
    """The brace that closes the one at `start`; a default may hold variables of its own."""
    depth = 0
    position = start
    while position < len(text):
        if text.startswith("$$", position):
            position += 2
            continue
        if text.startswith("${", position):
            depth += 1
            position += 2
            continue
        if text[position] == "{" and position == start:
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if not depth:
                return position
        position += 1
    raise Malformed(f"{text[start - 1 :][:40]!r} has no closing brace")


def _braced(name: str, rest: str, given: tuple[Lookup, Callable[[str], None], int]) -> str:
    lookup, unset, depth = given
    value = lookup(name)
    if not rest:
        if value is None:
            unset(name)
        return value or ""
    operator = next((word for word in _OPERATORS if rest.startswith(word)), "")
    if not operator:
        raise Malformed(f"${{{name}{rest[:20]}}} is not a variable")
    # With a colon, an empty value counts as none.
    has_value = bool(value) if operator.startswith(":") else value is not None
    if operator.endswith("+"):
        if not has_value:
            return ""
    elif has_value:
        return value or ""
    word = substitute(rest[len(operator) :], lookup, unset, depth + 1)
    if operator.endswith("?"):
        raise Unset(f"variable {name} is required" + (f": {word}" if word else ""))
    return word


def interpolate(document: Document, lookup: Lookup, note: Callable[[str, str], None]) -> Document:
    """The document with the variables in its texts replaced.

    `note` is called with each variable that has neither value nor default, and the path of the
    text it is in.

    Raises:
        ConfigError: names file, line and path of the text.
    """

    def walk(value: Any, path: Path) -> Any:
        match value:
            case str():
                return text(value, path)
            case dict():
                return {key: walk(item, (*path, key)) for key, item in value.items()}
            case list():
                return [walk(item, (*path, index)) for index, item in enumerate(value)]
            case Override():
                return Override(walk(value.value, path))
            case _:
                return value

    def text(value: str, path: Path) -> str:
        at = Value(value, path, document.places)
        try:
            return substitute(value, lookup, lambda name: note(name, at.where))
        except Malformed as exc:
            raise ConfigError(f"{at.where}: {exc}", hint=_HINT) from exc
        except Unset as exc:
            raise ConfigError(
                f"{at.where}: {exc}", hint="set it in the environment or in .env"
            ) from exc

    return Document(walk(document.value, ()), document.places)
