"""ConfigMaps and Secrets: what they hold, and which of them a pod refers to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ConfigKind = Literal["ConfigMap", "Secret"]


@dataclass(frozen=True, slots=True)
class ConfigObject:
    kind: ConfigKind
    name: str
    data: dict[str, bytes] = field(default_factory=dict, repr=False)
    """`data` and `binaryData`; a Secret's `stringData` too."""


Configs = Mapping[tuple[ConfigKind, str], ConfigObject]
"""(kind, name) → object."""
