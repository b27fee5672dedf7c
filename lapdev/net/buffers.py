"""How much the kernel keeps of a connection, on both sides of us.

Left to itself it keeps up to megabytes, several times on the way from an app to its visitor: the
app is many seconds ahead of somebody who reads slowly, and the memory is charged to the container.
"""

from __future__ import annotations

import asyncio
import socket
import threading

UNSENT_BYTES = 262_144
"""Written and not on its way yet. What the peer has room for travels, whatever the distance."""
NEAR_RECEIVE_BYTES = 262_144
"""Of a peer in the same cluster, arrived and not read by us. Not for long distances: there the
window has to hold what a round trip brings."""

READ_BYTES = 262_144
"""Of one read, when much has arrived."""

_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_BYTES))


_per_thread = _PerThread()


def read_buffer() -> memoryview:
    """Where a connection's bytes are read to, one for all of a thread: what is wanted of them has
    to be taken before anything else is read. It stays in the processor's cache."""
    return _per_thread.view


def keep_little_unsent(sock: socket.socket, size: int = UNSENT_BYTES) -> None:
    """Of a listening socket: for the connections that it accepts."""
    if _NOTSENT_LOWAT is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, size)


def keep_little(transport: asyncio.Transport) -> None:
    """The peer is near: neither what we write nor what we have not read is to pile up."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        keep_little_unsent(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NEAR_RECEIVE_BYTES)
