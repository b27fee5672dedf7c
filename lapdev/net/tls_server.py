"""Accepting TLS connections, and telling whoever speaks plain HTTP there that it is HTTPS.

The loop's own TLS server would close such a connection without a word. So the first byte is looked
at, and left where it is, before the connection is anybody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from lapdev.net.accepting import PAUSE, ProtocolFactory
from lapdev.net.readiness import wait_readable
from lapdev.net.tasks import spawn
from lapdev.net.tls import HANDSHAKE_TIMEOUT, SHUTDOWN_TIMEOUT

LINGER_TIMEOUT = 2.0
"""After an answer we read on for this long, so that the peer can read it (RFC 9112 §9.6)."""
LINGER_BYTES = 65_536

_AT_ONCE = 64
"""Connections accepted in one turn of the loop."""

_HANDSHAKE = b"\x16"  # RFC 8446 §5.1: the content type of a ClientHello's record

_TEXT = b"This port speaks HTTPS: write https:// in place of http://.\n"
_ANSWER = b"\r\n".join(
    [
        b"HTTP/1.1 400 Bad Request",
        b"Content-Type: text/plain; charset=utf-8",
        b"Cache-Control: no-store",
        b"Connection: close",
        b"Content-Length: %d" % len(_TEXT),
        b"",
        _TEXT,
    ]
)


class TlsServer:
    """Serves what a listening socket accepts, once hands are shaken."""

    def __init__(
        self, factory: ProtocolFactory, sock: socket.socket, context: ssl.SSLContext
    ) -> None:
        """`sock` is non-blocking, and the server's own from now on."""
        self._factory = factory
        self._sock = sock
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False
        self._watch()

    def close(self) -> None:
        """Nothing is accepted any more; what has been goes on. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def _watch(self) -> None:
        self._retry = None
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue  # it left again
            except OSError:  # no descriptors, no memory: the socket stays readable meanwhile
                self._loop.remove_reader(self._sock.fileno())
                self._retry = self._loop.call_later(PAUSE, self._watch)
                return
            accepted.setblocking(False)
            # Made now, because whoever makes it watches how many descriptors are left.
            spawn(self._meet(accepted, self._factory()), "TLS handshake")

    async def _meet(self, sock: socket.socket, protocol: asyncio.BaseProtocol) -> None:
        try:
            # What goes wrong is the peer's business alone (ssl.SSLError is an OSError).
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                    first = await _first_byte(sock)
                if first == _HANDSHAKE:
                    kept = socket.socket(fileno=sock.detach())  # the transport's from now on
                    await self._loop.connect_accepted_socket(
                        lambda: protocol,
                        kept,
                        ssl=self._context,
                        ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
                        ssl_shutdown_timeout=SHUTDOWN_TIMEOUT,
                    )
                elif first.isalpha():  # a method's
                    await _explain(sock)
        finally:
            sock.close()


async def _first_byte(sock: socket.socket) -> bytes:
    """Still there to be read. Empty when the peer is gone."""
    with contextlib.suppress(BlockingIOError):
        return sock.recv(1, socket.MSG_PEEK)
    await wait_readable(sock)
    return sock.recv(1, socket.MSG_PEEK)


async def _explain(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    left = LINGER_BYTES
    async with asyncio.timeout(LINGER_TIMEOUT):
        await loop.sock_sendall(sock, _ANSWER)
        sock.shutdown(socket.SHUT_WR)
        while left > 0 and (data := await loop.sock_recv(sock, left)):
            left -= len(data)
