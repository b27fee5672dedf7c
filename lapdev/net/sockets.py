"""All listening sockets of a process: what it needs to hand them to the process that follows it.

A socket that another process left to us is used again in place of a new one at its address, so
that at no moment nobody listens there: what waits in its backlog waits for us.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from lapdev.errors import ConfigError
from lapdev.net.accepting import ProtocolFactory
from lapdev.net.address import Address, InheritedAddress, UnixAddress, parse_address
from lapdev.net.listener import Listener, listen


@dataclass(frozen=True, slots=True)
class LeftSocket:
    """A listening socket on its way from one process to another."""

    asked: str
    """The address as it was set. The same setting gets the same socket, also where port 0 was
    asked for."""
    address: str
    """Where it really listens."""
    sock: socket.socket


class ListeningSockets:
    """Makes listeners, and knows which there are."""

    def __init__(self, left: Iterable[LeftSocket] = ()) -> None:
        """`left` are ours from now on."""
        self._left = list(left)
        self._listeners: list[tuple[str, Listener]] = []
        self._released = False

    async def listen(
        self, address: Address | str, factory: ProtocolFactory, tls: ssl.SSLContext | None = None
    ) -> Listener:
        """As `net.listener.listen`, with the socket that was left to us for this address if any.

        Raises:
            ConfigError: the address is taken, or not ours to bind, or all has been released.
        """
        if self._released:
            raise ConfigError("this process is stopping, and listens to nothing more")
        where = parse_address(address) if isinstance(address, str) else address
        listener = await listen(where, factory, self._take(where), tls)
        self._listeners = [(asked, one) for asked, one in self._listeners if one.accepting]
        self._listeners.append((str(where), listener))
        return listener

    def offers(self) -> list[LeftSocket]:
        """Every socket that is listened on, for another process. Still ours, too."""
        return [
            LeftSocket(asked, _really(listener), listener.sock)
            for asked, listener in self._listeners
            if listener.accepting
        ]

    def release(self) -> None:
        """Nothing is accepted here any more. The sockets go on where they have been handed to."""
        self._released = True
        for _, listener in self._listeners:
            listener.release()

    async def aclose(self) -> None:
        """Nobody listens any more. Idempotent."""
        self._released = True
        for _, listener in self._listeners:
            await listener.aclose()

    def close_left(self) -> None:
        """What was left to us and nobody wants is closed."""
        while self._left:
            self._left.pop().sock.close()

    def _take(self, where: Address) -> socket.socket | None:
        if isinstance(where, InheritedAddress):  # that one is our own to have
            return None
        for left in self._left:
            if str(where) in (left.asked, left.address):
                self._left.remove(left)
                return left.sock
        return None


def _really(listener: Listener) -> str:
    address = listener.address
    if isinstance(address, InheritedAddress):
        name = listener.sock.getsockname()
        if isinstance(name, tuple):
            host, port = name[:2]
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return str(UnixAddress(name))
    return str(address)
