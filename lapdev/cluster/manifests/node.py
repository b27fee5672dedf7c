"""A value inside a manifest together with where it stands, so that every complaint can say so."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lapdev.errors import ConfigError

NAME_SHOWN = 80
TEXT_SHOWN = 1000
"""Characters of a name, and of a complaint."""

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_DNS_LABEL.pattern}(\.{_DNS_LABEL.pattern})*")
_HOST_LABEL = r"[a-z0-9_]([-_a-z0-9]{0,61}[a-z0-9_])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_HOST_LABEL}(\.{_HOST_LABEL})*")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a manifest. `where` reads `Deployment/api: spec.replicas`."""

    value: Any
    where: str

    @property
    def present(self) -> bool:
        """It is written, and not as null, which Kubernetes takes for absent."""
        return self.value is not None

    @property
    def place(self) -> str:
        """`where`, for complaints."""
        return self.where.removesuffix(":")

    def fail(self, problem: str, hint: str) -> NoReturn:
        raise ConfigError(_printable(f"{self.place}: {problem}"), hint=_printable(hint))

    def wrong_type(self, wanted: str) -> NoReturn:
        """The value itself is never told: it may be a secret."""
        found = "nothing" if self.value is None else type(self.value).__name__
        hint = f"write {wanted}"
        if wanted == "a string" and isinstance(self.value, (int, float)):
            hint = 'write it in quotes ("80", "true")'
        self.fail(f"is {found}, not {wanted}", hint)

    # Inside

    def child(self, name: str) -> Node:
        """The member of that name; its value is None when there is none."""
        if self.value is not None and not isinstance(self.value, dict):
            self.wrong_type("a mapping")
        where = f"{self.where}{' ' if self.where.endswith(':') else '.'}{name}"
        return Node(None if self.value is None else self.value.get(name), where)

    def mapping(self) -> dict[str, Any]:
        """The value as a mapping whose keys are strings; nothing is an empty one."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            self.wrong_type("a mapping")
        for key in self.value:
            if not isinstance(key, str):
                self.fail(f"has the key {key!r:.40}, not a string", "write the key in quotes")
        return self.value

    def items(self) -> list[Node]:
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            self.wrong_type("a list")
        return [Node(item, f"{self.where}[{index}]") for index, item in enumerate(self.value)]

    def one_of(self, names: Sequence[str], what: str) -> str:
        """The one member among `names` that is written; empty when there is none."""
        known = self.mapping()
        written = [name for name in names if known.get(name) is not None]
        if len(written) > 1:
            self.fail(f"has {written[0]} and {written[1]}", f"keep one {what}")
        return written[0] if written else ""

    # Values

    def text(self, default: str | None = None) -> str:
        """A string that can be handed to a process: no NUL, nothing UTF-8 cannot say."""
        if self.value is None and default is not None:
            return default
        if not isinstance(self.value, str):
            self.wrong_type("a string")
        if "\0" in self.value:
            self.fail("contains a NUL byte", "leave it out")
        try:
            self.value.encode()
        except UnicodeEncodeError:
            self.fail("is not text: it contains half a surrogate pair", "write valid Unicode")
        return self.value

    def choice(self, allowed: Collection[str], default: str) -> str:
        word = self.text(default)
        if word not in allowed:
            self.fail(f"is {word!r:.60}", f"write one of: {', '.join(allowed)}")
        return word

    def integer(self, low: int, high: int, default: int | None = None) -> int:
        if self.value is None and default is not None:
            return default
        # bool is an int to Python, and never meant as one in a manifest.
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self.wrong_type("a whole number")
        if not low <= self.value <= high:
            shown = str(self.value) if abs(self.value) < 10**18 else "too large a number"
            self.fail(f"is {shown}", f"write a number from {low} to {high}")
        return self.value

    def seconds(self, high: int = 10**9) -> float | None:
        """A whole number of seconds; None when nothing is said."""
        return None if self.value is None else float(self.integer(0, high))

    def flag(self) -> bool:
        """False when nothing is said."""
        if self.value is None:
            return False
        if not isinstance(self.value, bool):
            self.wrong_type("true or false")
        return self.value

    def texts(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self.items())

    def text_map(self) -> dict[str, str]:
        """As in Kubernetes, an entry without a value is the empty string."""
        return {name: self.child(name).text("") for name in self.mapping()}

    # Names and paths

    def dns_label(self) -> str:
        name = self.text()
        if not _DNS_LABEL.fullmatch(name):
            self.fail(
                f"{name!r:.80} is not a name",
                "use a-z, 0-9 and inner hyphens, at most 63 characters",
            )
        return name

    def object_name(self) -> str:
        """What ConfigMaps, claims and their like are called: DNS labels with dots between."""
        name = self.text()
        if not _DNS_SUBDOMAIN.fullmatch(name):
            self.fail(f"{name!r:.80} is not a name", "use a-z, 0-9, and inner hyphens and dots")
        return name

    def host_name(self) -> str:
        """A name for a pod's hosts file. Other than in Kubernetes, `_` is allowed, as C libraries
        take it and services of Compose files have it."""
        name = self.text()
        if not HOST_NAME.fullmatch(name):
            self.fail(
                f"{name!r:.80} is not a host name",
                "use a-z, 0-9, and inner hyphens, underscores and dots",
            )
        return name

    def config_key(self) -> str:
        """An entry's name in a ConfigMap or Secret: a file's name, too."""
        name = self.text()
        if not _CONFIG_KEY.fullmatch(name) or name.startswith(".."):
            self.fail(
                f"{name!r:.80} is not a key", "use letters, digits, '-', '_' and '.', not '..'"
            )
        return name

    def absolute_path(self) -> str:
        """`/a//b/./c/` reads `/a/b/c`."""
        path = self.text()
        if not path.startswith("/"):
            self.fail(f"{path!r:.80} is not an absolute path", "begin it with /")
        return "/" + self._without_parents(path)

    def relative_path(self) -> str:
        """A path that stays inside; `.` reads as the empty one."""
        path = self.text()
        if path.startswith("/"):
            self.fail(f"{path!r:.80} is an absolute path", "leave out the leading /")
        return self._without_parents(path)

    def _without_parents(self, path: str) -> str:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            self.fail(f"{path!r:.80} leads outside", "leave out '..'")
        return "/".join(parts)


def object_node(item: dict[str, Any], kind: str) -> Node:
    """A whole Kubernetes object."""
    metadata = item.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    shown = _printable(name[:NAME_SHOWN]) if isinstance(name, str) else ""
    return Node(item, f"{kind}/{shown or '?'}:")


def refuse_repeated(named: Iterable[tuple[Node, str]], what: str) -> None:
    """No name is there twice; the complaint says where both stand."""
    seen: dict[str, Node] = {}
    for node, name in named:
        if name in seen:
            node.fail(
                f"{what} {name!r:.80} is at {_tail(seen[name])} already",
                f"give each {what} of its own",
            )
        seen[name] = node


def _printable(text: str) -> str:
    """What a manifest says is shown on terminals: nothing in it may steer one."""
    return "".join(char if char.isprintable() else "?" for char in text[:TEXT_SHOWN])


def _tail(node: Node) -> str:
    """`spec.template.spec.containers[0]` of a node's whole place."""
    return node.place.partition(": ")[2] or node.place
