"""Accepting and dialling: where listening sockets are made and connections opened."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lapdev.errors import ConfigError
from lapdev.net.accepting import Accepting, ProtocolFactory, Serving
from lapdev.net.address import Address, InheritedAddress, TcpAddress, UnixAddress, parse_address
from lapdev.net.buffers import keep_little, keep_little_unsent
from lapdev.net.proxy_connect import connect_through
from lapdev.net.tls import dial_failure
from lapdev.net.tls_server import TlsServer
from lapdev.net.way_out import WayOut

BACKLOG = 1024


class Listener:
    """A bound, accepting socket."""

    __slots__ = ("_accepting", "address", "sock")

    def __init__(self, accepting: Accepting, address: Address) -> None:
        self._accepting = accepting
        self.address = address
        """Where it really listens: port 0 has become a number."""
        self.sock = accepting.sock

    @property
    def accepting(self) -> bool:
        return self._accepting.accepting

    async def aclose(self) -> None:
        """No new connection is accepted; those that are open go on. Idempotent."""
        ours = self.accepting  # else the path is another process's by now
        self.release()
        if ours and isinstance(self.address, UnixAddress):
            Path(self.address.path).unlink(missing_ok=True)  # noqa: ASYNC240 - one syscall

    def release(self) -> None:
        """This process accepts nothing more; another that has the socket goes on. Idempotent."""
        self._accepting.close()


async def listen(
    address: Address | str,
    factory: ProtocolFactory,
    sock: socket.socket | None = None,
    tls: ssl.SSLContext | None = None,
) -> Listener:
    """A listener at `address`, serving each connection with a protocol from `factory`.

    A Unix socket is made with mode 0600, in place of a stale one. `sock`, where there is one,
    listens at `address` already, and is the listener's from now on. With `tls` a protocol meets its
    transport when the handshake is over.

    Raises:
        ConfigError: the address is taken, or not ours to bind.
    """
    where = parse_address(address) if isinstance(address, str) else address
    loop = asyncio.get_running_loop()
    try:
        sock = sock or _listening_socket(where)
        sock.setblocking(False)
    except OSError as exc:
        raise ConfigError(f"cannot listen on {where}: {exc.strerror}", hint=_hint(exc)) from exc
    if sock.family != socket.AF_UNIX and isinstance(where, TcpAddress):
        where = TcpAddress(where.host, sock.getsockname()[1])

    async def start(guarded: ProtocolFactory, own: socket.socket) -> Serving:
        if own.family == socket.AF_UNIX:
            return await loop.create_unix_server(guarded, sock=own, backlog=BACKLOG)
        if tls is not None:
            return TlsServer(guarded, own, tls)
        return await loop.create_server(guarded, sock=own, backlog=BACKLOG)

    accepting = Accepting(sock, factory, start)
    await accepting.start()
    return Listener(accepting, where)


def bind_tcp(address: TcpAddress) -> socket.socket:
    """A bound, listening, inheritable-on-request TCP socket at `address`."""
    info = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, proto, _, sockaddr = info[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keep_little_unsent(sock)
        sock.bind(sockaddr)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _listening_socket(where: Address) -> socket.socket:
    match where:
        case InheritedAddress(fd):
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            return sock
        case UnixAddress(path):
            Path(path).unlink(missing_ok=True)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.bind(path)
                Path(path).chmod(0o600)
                sock.listen(BACKLOG)
            except OSError:
                sock.close()
                raise
            sock.setblocking(False)
            return sock
        case TcpAddress():
            return bind_tcp(where)


def _hint(exc: OSError) -> str:
    if exc.errno == 98:  # EADDRINUSE
        return "stop the program that listens there, or choose another port"
    if exc.errno == 13:  # EACCES
        return "ports below 1024 need a privilege; choose a higher one"
    return "check the host name and that the address belongs to this machine"


P = TypeVar("P", bound=asyncio.BaseProtocol)


async def dial(
    address: Address | str, factory: Callable[[], P], way: WayOut | None = None
) -> tuple[asyncio.Transport, P]:
    """A connection to `address`, served by a protocol from `factory`.

    `way` names proxies and authorities; without it the peer is near, and the kernel keeps little
    between it and us. The deadline is the caller's; cancelling closes what was half open.

    Raises:
        ConnectFailed: nothing accepts connections there; says what to do about it.
    """
    where = parse_address(address) if isinstance(address, str) else address
    loop = asyncio.get_running_loop()
    try:
        match where:
            case UnixAddress(path):
                return await loop.create_unix_connection(factory, path)
            case TcpAddress(host, port, tls):
                near, way = way is None, way or WayOut()
                if (proxy := way.proxy_for(where)) is not None:
                    return await connect_through(proxy, where, way, factory)
                # RFC 6761 §6.3: names below localhost are this machine; not every resolver knows.
                to = "127.0.0.1" if host.endswith(".localhost") else host
                if not tls:
                    dialled = await loop.create_connection(factory, to, port)
                    if near:
                        keep_little(dialled[0])
                    return dialled
                return await loop.create_connection(
                    factory, to, port, ssl=way.context(), server_hostname=host
                )
            case InheritedAddress():
                raise ConfigError(f"{where} can be listened on, not dialled")
    except (OSError, ValueError) as exc:  # ValueError: a name that cannot be encoded (RFC 5890)
        raise dial_failure(where, exc) from exc
