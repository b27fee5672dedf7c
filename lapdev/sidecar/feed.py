"""The routes a sidecar holds, and the tunnel to the manager that they come through.

The last good snapshot holds while the manager is away; a snapshot is taken whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lapdev.errors import RemoteProtocolError, StreamRefused
from lapdev.log import get_logger
from lapdev.model import RouteSnapshot
from lapdev.routing.table import RouteTable

if TYPE_CHECKING:
    from lapdev.tunnel import Stream, Tunnel
    from lapdev.wire.control import Message, Target


class Routes:
    """The snapshot in force. Empty until the first one arrives: everything goes to the app."""

    __slots__ = ("_followers", "digest", "generation", "names", "table")

    def __init__(self) -> None:
        self.table = RouteTable()
        self.generation = 0
        self.digest = ""
        self.names: dict[str, str] = {}
        """Branch id → name, for headers and logs."""
        self._followers: list[Callable[[RouteSnapshot], None]] = []

    def follow(self, callback: Callable[[RouteSnapshot], None]) -> None:
        """`callback` runs with each snapshot that takes force."""
        self._followers.append(callback)

    def apply(self, snapshot: RouteSnapshot) -> bool:
        """True when the snapshot is in force now; an older generation changes nothing."""
        if snapshot.generation < self.generation:
            return False
        if snapshot.digest != self.digest or not self.digest:
            self.table = RouteTable.from_snapshot(snapshot)
            self.names = {row.branch: row.name for row in snapshot.branches}
        self.generation, self.digest = snapshot.generation, snapshot.digest
        for callback in self._followers:
            callback(snapshot)
        return True


class RouteFeed:
    """The handler of the tunnel to the manager."""

    def __init__(self, routes: Routes) -> None:
        self.routes = routes
        self._tunnels: set[Tunnel] = set()
        """Those that are up: two while a manager's process takes another's place."""

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        """Applies routes and says what is held afterwards.

        Raises:
            RemoteProtocolError: any other message.
        """
        # Loaded with the tunnel this came through: the first request is served before that.
        from lapdev.wire.control import ApplyRoutes, RoutesApplied

        if not isinstance(message, ApplyRoutes):
            raise RemoteProtocolError(f"a sidecar takes no {type(message).__name__}")
        applied = self.routes.apply(message.snapshot)
        get_logger().debug(
            "route_table_applied" if applied else "route_table_ignored",
            workload=message.snapshot.workload,
        )
        return RoutesApplied(self.routes.generation, self.routes.digest)

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        stream.refuse(StreamRefused("a sidecar's tunnel to its manager carries no streams"))

    @property
    def up(self) -> bool:
        return bool(self._tunnels)

    def tunnel_up(self, tunnel: Tunnel) -> None:
        self._tunnels.add(tunnel)

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        self._tunnels.discard(tunnel)

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        self._tunnels.discard(tunnel)
