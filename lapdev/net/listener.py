"""Accepting and dialling: where listening sockets are made and connections opened."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lapdev.errors import ConfigError, ConnectFailed
from lapdev.net.address import Address, InheritedAddress, TcpAddress, UnixAddress, parse_address

BACKLOG = 1024

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class Listener:
    """A bound, accepting socket."""

    __slots__ = ("_server", "address")

    def __init__(self, server: asyncio.Server, address: Address) -> None:
        self._server = server
        self.address = address
        """Where it really listens: port 0 has become a number."""

    async def aclose(self) -> None:
        """No new connection is accepted; those that are open go on. Idempotent."""
        self._server.close()
        if isinstance(self.address, UnixAddress):
            Path(self.address.path).unlink(missing_ok=True)  # noqa: ASYNC240 - one syscall


async def listen(address: Address | str, factory: ProtocolFactory) -> Listener:
    """A listener at `address`, serving each connection with a protocol from `factory`.

    A Unix socket is made with mode 0600, in place of a stale one.

    Raises:
        ConfigError: the address is taken, or not ours to bind.
    """
    where = parse_address(address) if isinstance(address, str) else address
    loop = asyncio.get_running_loop()
    try:
        sock = _listening_socket(where)
    except OSError as exc:
        raise ConfigError(f"cannot listen on {where}: {exc.strerror}", hint=_hint(exc)) from exc
    if sock.family == socket.AF_UNIX:
        return Listener(await loop.create_unix_server(factory, sock=sock, backlog=BACKLOG), where)
    server = await loop.create_server(factory, sock=sock, backlog=BACKLOG)
    if isinstance(where, TcpAddress):
        where = TcpAddress(where.host, sock.getsockname()[1])
    return Listener(server, where)


def bind_tcp(address: TcpAddress) -> socket.socket:
    """A bound, listening, inheritable-on-request TCP socket at `address`."""
    info = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, proto, _, sockaddr = info[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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


async def dial(address: Address | str, factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
    """A connection to `address`, served by a protocol from `factory`.

    The deadline is the caller's; cancelling closes what was half open.

    Raises:
        ConnectFailed: nothing accepts connections there.
    """
    where = parse_address(address) if isinstance(address, str) else address
    loop = asyncio.get_running_loop()
    try:
        match where:
            case UnixAddress(path):
                transport, protocol = await loop.create_unix_connection(factory, path)
            case TcpAddress(host, port, tls):
                context = ssl.create_default_context() if tls else None
                transport, protocol = await loop.create_connection(factory, host, port, ssl=context)
            case InheritedAddress():
                raise ConfigError(f"{where} can be listened on, not dialled")
    except OSError as exc:
        raise ConnectFailed(f"cannot connect to {where}: {exc.strerror or exc}") from exc
    return transport, protocol
