"""What answers a path of a preview: made once per preview, asked once per request."""

from __future__ import annotations

from dataclasses import dataclass

from lapdev.model import PathRoute, PreviewUrl
from lapdev.wire.control import ServiceTarget

_Row = tuple[bytes, bytes, bool, ServiceTarget]
"""(path, path as a prefix, exact only, target)."""


@dataclass(frozen=True, slots=True)
class PathTable:
    """The targets of one preview, in the order they are tried."""

    only: ServiceTarget | None
    """Without routes: what every path leads to."""
    rows: tuple[_Row, ...] = ()

    @classmethod
    def of(cls, preview: PreviewUrl, namespace: str) -> PathTable:
        """The table of a preview whose services are in `namespace`."""
        if not preview.routes:
            return cls(ServiceTarget(namespace, preview.service, preview.port))
        return cls(None, tuple(_row(route, namespace) for route in preview.routes))

    def find(self, target: bytes) -> ServiceTarget | None:
        """What answers a request target in origin-form; None when nothing does.

        The path is compared as it was sent, octet for octet, without its query. `*` (OPTIONS,
        RFC 9110 §9.3.7: the server as a whole) is what answers `/`.
        """
        if self.only is not None:
            return self.only
        path = target.partition(b"?")[0]
        if path == b"*":
            path = b"/"
        for exact, prefix, exact_only, found in self.rows:
            if path == exact or (not exact_only and path.startswith(prefix)):
                return found
        return None


def _row(route: PathRoute, namespace: str) -> _Row:
    path = route.path.encode()
    target = ServiceTarget(namespace, route.service, route.port)
    if route.exact:
        return path, path, True, target
    # A prefix of whole segments: `/api` and `/api/` both take `/api` and `/api/x`, not `/apis`.
    whole = path.rstrip(b"/")
    return whole or b"/", whole + b"/", False, target
