"""A value inside a Compose document together with where it stands: every complaint says both."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from lapdev.cluster.compose.documents import Path, Places
from lapdev.cluster.manifests.known_fields import nearest
from lapdev.errors import ConfigError

_NOT_LABEL = re.compile(r"[^a-z0-9]+")


def dns_label(text: str) -> str:
    """`text` as a DNS label: lower case, `-` for what a label cannot hold; may be empty."""
    return _NOT_LABEL.sub("-", text.lower()).strip("-")[:63].strip("-")


def scalar_text(value: object) -> str:
    """A scalar as Compose writes it into a variable."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return str(value)


def is_plain_text(text: str) -> bool:
    """A program can be handed it: it has no NUL, and is all of Unicode characters."""
    try:
        return "\0" not in text and bool(text.encode() or True)
    except UnicodeEncodeError:
        return False


def dotted(path: Path) -> str:
    """`services.web.ports[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a Compose project, and its path in it."""

    value: Any
    path: Path
    places: Places

    @property
    def where(self) -> str:
        """`compose.yaml:12: services.web.image`."""
        for length in range(len(self.path), -1, -1):
            place = self.places.get(self.path[:length])
            if place:
                return f"{place}: {dotted(self.path)}" if self.path else place
        return dotted(self.path)

    def fail(self, problem: str, hint: str) -> NoReturn:
        raise ConfigError(f"{self.where}: {problem}", hint=hint)

    def wrong_type(self, wanted: str) -> NoReturn:
        found = {dict: "a mapping", list: "a list", str: "text", bool: "a boolean"}.get(
            type(self.value), "nothing" if self.value is None else "a number"
        )
        self.fail(f"is {found}, not {wanted}", f"write {wanted}")

    # Parts

    def __bool__(self) -> bool:
        return self.value is not None

    def _at(self, part: str | int, value: Any) -> Value:
        return Value(value, (*self.path, part), self.places)

    def child(self, name: str) -> Value:
        """The member of that name; its value is None when there is none."""
        if self.value is None:
            return self._at(name, None)
        if not isinstance(self.value, dict):
            self.wrong_type("a mapping")
        return self._at(name, self.value.get(name))

    def members(self) -> list[tuple[str, Value]]:
        if self.value is None:
            return []
        if not isinstance(self.value, dict):
            self.wrong_type("a mapping")
        return [(name, self._at(name, item)) for name, item in self.value.items()]

    def items(self) -> list[Value]:
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            self.wrong_type("a list")
        return [self._at(index, item) for index, item in enumerate(self.value)]

    def only(self, known: Iterable[str]) -> None:
        """Nothing but these keys, and extensions (`x-…`), is in this mapping."""
        allowed = frozenset(known)
        for name, item in self.members():
            if name in allowed or name.startswith("x-"):
                continue
            close = nearest(name, allowed)
            hint = f"did you mean {close!r}?" if close else f"known: {', '.join(sorted(allowed))}"
            item.fail("there is no such key", hint)

    # Scalars. What was interpolated is text, and stands for a number or boolean as well.

    def text(self, default: str | None = None) -> str:
        if self.value is None and default is not None:
            return default
        if self.value is None or isinstance(self.value, (dict, list)):
            self.wrong_type("text")
        result = scalar_text(self.value)
        if not is_plain_text(result):
            self.fail("contains a NUL byte or half a character", "leave it out")
        return result

    def boolean(self, default: bool = False) -> bool:
        if self.value is None:
            return default
        word = scalar_text(self.value).lower()
        if isinstance(self.value, (dict, list)) or word not in _BOOLEANS:
            self.wrong_type("true or false")
        return _BOOLEANS[word]

    def integer(self, low: int, high: int, default: int | None = None) -> int:
        if self.value is None and default is not None:
            return default
        text = "" if isinstance(self.value, (dict, list, bool)) else scalar_text(self.value)
        if not re.fullmatch(r"[-+]?[0-9]{1,18}", text):
            self.wrong_type("a whole number")
        if not low <= int(text) <= high:
            self.fail(f"is {text}", f"write a number from {low} to {high}")
        return int(text)

    def texts(self) -> tuple[str, ...]:
        """A list of texts; a single text is a list of one."""
        if self.value is None or isinstance(self.value, list):
            return tuple(item.text() for item in self.items())
        return (self.text(),)

    def label(self) -> str:
        """The text as a DNS label."""
        result = dns_label(self.text())
        if not result:
            self.fail(f"{self.text()!r} has neither letter nor digit", "choose another name")
        return result


_BOOLEANS = {"true": True, "yes": True, "on": True, "y": True, "1": True, "t": True} | {
    "false": False,
    "no": False,
    "off": False,
    "n": False,
    "0": False,
    "f": False,
}
