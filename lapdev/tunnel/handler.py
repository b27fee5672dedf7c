"""What a role does with a tunnel, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lapdev.model import Identity
from lapdev.wire.control import Message, Target

if TYPE_CHECKING:
    from lapdev.tunnel.stream import Stream
    from lapdev.tunnel.tunnel import Tunnel


class TunnelHandler(Protocol):
    """The role's side. Callbacks do not block; `call_received` is a coroutine."""

    def stream_opened(self, tunnel: Tunnel, stream: Stream, target: Target) -> None:
        """The peer opened a stream: `accept` or `refuse` it, now or later."""

    async def call_received(self, tunnel: Tunnel, message: Message) -> Message:
        """The answer. A LapdevError becomes the caller's CallFailed.

        May run twice for one call, when a connection was lost before the answer was out; it is
        cancelled when the session ends.
        """
        ...

    def tunnel_up(self, tunnel: Tunnel) -> None:
        """Connected, or connected again (`tunnel.resumed`)."""

    def tunnel_down(self, tunnel: Tunnel, error: Exception) -> None:
        """The connection is lost; within the grace time streams and calls wait."""

    def tunnel_closed(self, tunnel: Tunnel, error: Exception) -> None:
        """The session is over; its streams are reset."""


@dataclass(frozen=True, slots=True)
class TunnelKey:
    """Whose tunnel it is."""

    identity: Identity
    """What the peer's credential proved; at the dialling end, whom we dialled."""
    instance: str
    """The peer's process."""
    session: str
