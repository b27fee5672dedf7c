"""What the objects of an environment have become, told object by object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """Objects as `Kind/name`, in the order they were written."""

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


def compare(before: Sequence[Manifest], after: Sequence[Manifest]) -> Changes:
    """How `after` differs from `before`; both are known to have kinds and names."""
    old = {title(item): item for item in before}
    new = {title(item): item for item in after}
    kept = [name for name in new if name in old]
    return Changes(
        created=tuple(name for name in new if name not in old),
        changed=tuple(name for name in kept if new[name] != old[name]),
        removed=tuple(name for name in old if name not in new),
        unchanged=tuple(name for name in kept if new[name] == old[name]),
    )


def title(item: Manifest) -> str:
    """`Deployment/web`."""
    return f"{item.get('kind')}/{item['metadata']['name']}"
