"""What a way to tunnels looks like, whoever is at their other end: clusters, or devboxes."""

from __future__ import annotations

from typing import Any, Protocol

from lapdev.tunnel import Tunnel


class Ways(Protocol):
    """The tunnels of many owners. Each implementation has its own kind of owner's id."""

    def tunnel_nowait(self, owner: Any, /) -> Tunnel | None:
        """A connected tunnel of the owner, or None."""

    def elsewhere(self, owner: Any, tunnel: Tunnel, /) -> bool:
        """The tunnel's other end is not ready after all: is there another?"""

    async def wait_tunnel(self, owner: Any, /) -> Tunnel:
        """A connected tunnel, after a short wait at most.

        Raises:
            NotReady: none came.
        """
        ...
