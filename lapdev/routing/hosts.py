"""What a preview host means: label → preview URL and the environment it shows.

Hosts are compared as the edge must (robustness rows 31 and 32): letter case, one trailing dot and
a port make no difference, anything that is not one plain label under the domain is no preview.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from lapdev.model import Environment, EnvironmentId, EnvironmentKind, PreviewUrl
from lapdev.routing.paths import PathTable

# One label (RFC 1123 §2.1), then the rest of the name; no userinfo, path, comma or IPv6 gets by.
_HOST = re.compile(
    rb"([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)"
    rb"((?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*)\.?(?::[0-9]{1,5})?"
)


@dataclass(frozen=True, slots=True)
class PreviewEntry:
    """A preview URL with the environment it belongs to."""

    preview: PreviewUrl
    environment: Environment
    paths: PathTable
    """What answers each path of it."""

    @classmethod
    def of(cls, preview: PreviewUrl, environment: Environment) -> PreviewEntry:
        return cls(preview, environment, PathTable.of(preview, environment.namespace))

    @property
    def branch(self) -> EnvironmentId | None:
        """The id the edge stamps on requests, or None when the host shows no branch."""
        if self.environment.kind is EnvironmentKind.BRANCH:
            return self.environment.id
        return None


def split_host(host: bytes) -> tuple[str, str] | None:
    """(first label, rest of the name) in lower case, or None when it is not a host name.

    A port and one trailing dot are dropped; a single label has the rest "".
    """
    found = _HOST.fullmatch(host.lower())
    if found is None or len(host) > 260:  # 253 octets of name, a dot, a port
        return None
    return found[1].decode("ascii"), found[2][1:].decode("ascii")


@dataclass(slots=True)
class PreviewIndex:
    """All preview URLs by label. Replaced whole, never changed."""

    entries: dict[str, PreviewEntry] = field(default_factory=dict)
    tcp: dict[str, PreviewEntry] = field(default_factory=dict)
    """Raw TCP previews by label: no host leads to them."""

    @classmethod
    def build(
        cls, previews: Iterable[PreviewUrl], environments: Iterable[Environment]
    ) -> PreviewIndex:
        """The index of the previews whose environment is among `environments`."""
        by_id = {environment.id: environment for environment in environments}
        index = cls()
        for preview in previews:
            if preview.environment in by_id:
                kind = index.entries if preview.tcp_port is None else index.tcp
                kind[preview.label] = PreviewEntry.of(preview, by_id[preview.environment])
        return index

    def without(self, environment: EnvironmentId) -> PreviewIndex:
        """The same index less the previews of one environment."""
        http = {k: e for k, e in self.entries.items() if e.environment.id != environment}
        tcp = {k: e for k, e in self.tcp.items() if e.environment.id != environment}
        return PreviewIndex(http, tcp)

    def lookup(self, host: bytes, domain: str) -> PreviewEntry | None:
        """The preview shown under `host`, which must be one label directly under `domain`.

        `domain` is lower case without a leading or trailing dot: `lapdev.localhost`.
        """
        parts = split_host(host)
        if parts is None or parts[1] != domain:
            return None
        return self.entries.get(parts[0])
