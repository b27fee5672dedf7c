"""A value inside a manifest together with where it stands, so that every complaint can say so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NoReturn

from lapdev.errors import ConfigError

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a manifest. `where` reads `Deployment/api: spec.replicas`."""

    value: Any
    where: str

    def fail(self, problem: str, hint: str) -> NoReturn:
        raise ConfigError(f"{self.where.removesuffix(':')}: {problem}", hint=hint)

    def wrong_type(self, wanted: str) -> NoReturn:
        found = "nothing" if self.value is None else type(self.value).__name__
        self.fail(f"is {found}, not {wanted}", f"write {wanted}")

    def child(self, name: str) -> Node:
        """The member of that name; its value is None when there is none."""
        if self.value is None:
            return Node(None, f"{self.where}.{name}")
        if not isinstance(self.value, dict):
            self.wrong_type("a mapping")
        separator = " " if self.where.endswith(":") else "."
        return Node(self.value.get(name), f"{self.where}{separator}{name}")

    def items(self) -> list[Node]:
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            self.wrong_type("a list")
        return [Node(item, f"{self.where}[{index}]") for index, item in enumerate(self.value)]

    def text(self, default: str | None = None) -> str:
        if self.value is None and default is not None:
            return default
        if not isinstance(self.value, str):
            self.wrong_type("a string")
        return self.value

    def integer(self, low: int, high: int, default: int | None = None) -> int:
        if self.value is None and default is not None:
            return default
        # bool is an int to Python, and never meant as one in a manifest.
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self.wrong_type("a whole number")
        if not low <= self.value <= high:
            self.fail(f"is {self.value}", f"write a number from {low} to {high}")
        return self.value

    def texts(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self.items())

    def text_map(self) -> dict[str, str]:
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            self.wrong_type("a mapping")
        return {name: self.child(name).text() for name in self.value}

    def dns_label(self) -> str:
        name = self.text()
        if not _DNS_LABEL.fullmatch(name):
            self.fail(
                f"{name!r} is not a name", "use a-z, 0-9 and inner hyphens, at most 63 characters"
            )
        return name


def object_node(item: dict[str, Any], kind: str) -> Node:
    """A whole Kubernetes object."""
    metadata = item.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return Node(item, f"{kind}/{name or '?'}:")
