"""Asks the kernel which TCP sockets listen: NETLINK_SOCK_DIAG, sock_diag(7).

The kernel walks its table of listeners only, where `/proc/net/tcp` prints every connection of the
network namespace. A diag socket belongs for good to the namespace it was made in, whoever has it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

ANSWER_BYTES = 65536

_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_LISTEN = 10

# struct nlmsghdr: length, type, flags, sequence, port.
_HEADER = struct.Struct("=IHHII")
# struct inet_diag_req_v2: family, protocol, extensions, pad, states, and an inet_diag_sockid of
# nothing: every socket.
_REQUEST = struct.Struct("=BBBxI48x")
# struct inet_diag_msg: family, state, timer, retrans; of its inet_diag_sockid the source port and
# address (the network's byte order); expires, queues, user id; inode.
_ANSWER = struct.Struct("!BBBBHxx16s")
_INODE = struct.Struct("=I")
_INODE_AT = 68


@dataclass(frozen=True, slots=True)
class Listening:
    """A TCP socket that accepts connections."""

    address: str
    """As `inet_ntop` writes it."""
    port: int
    inode: int


def request(family: int, sequence: int) -> bytes:
    """What asks for every listening TCP socket of the address family."""
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << _LISTEN)
    size = _HEADER.size + len(body)
    return _HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, sequence, 0) + body


def parse(datagram: bytes, sequence: int) -> tuple[list[Listening], bool]:
    """The listeners of one datagram, and whether it ends the answer to that request.

    Raises:
        OSError: the kernel refuses to answer.
    """
    found: list[Listening] = []
    for kind, number, body in _messages(datagram):
        if number != sequence:
            continue  # of a request that was given up
        if kind == _NLMSG_ERROR:
            code = -int(struct.unpack_from("=i", body)[0]) if len(body) >= 4 else 0
            raise OSError(code, "the kernel does not tell which sockets listen")
        if kind == _NLMSG_DONE:
            return found, True
        if kind == _SOCK_DIAG_BY_FAMILY and len(body) >= _INODE_AT + _INODE.size:
            found.append(_listening(body))
    return found, False


class SockDiag:
    """The listeners of one network namespace, as often as somebody asks."""

    def __init__(self, diag: socket.socket) -> None:
        """Takes the socket, one of `interfaces.open_diag`."""
        self._diag = diag
        self._sequence = 0

    def listeners(self) -> list[Listening]:
        """Every TCP socket that listens now, of both address families.

        Raises:
            OSError: the kernel refuses to answer.
        """
        return [
            found for family in (socket.AF_INET, socket.AF_INET6) for found in self._ask(family)
        ]

    def close(self) -> None:
        self._diag.close()

    def _ask(self, family: int) -> list[Listening]:
        self._sequence += 1
        self._diag.send(request(family, self._sequence))
        found: list[Listening] = []
        over = False
        while not over:
            # The kernel makes each part of the answer as it is asked for it: it never blocks.
            some, over = parse(self._diag.recv(ANSWER_BYTES), self._sequence)
            found += some
        return found


def _messages(datagram: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, sequence, body) of each; what is cut short is left out."""
    at = 0
    while at + _HEADER.size <= len(datagram):
        size, kind, _, sequence, _ = _HEADER.unpack_from(datagram, at)
        if size < _HEADER.size or at + size > len(datagram):
            return
        yield kind, sequence, datagram[at + _HEADER.size : at + size]
        at += (size + 3) & ~3


def _listening(body: bytes) -> Listening:
    family, _, _, _, port, raw = _ANSWER.unpack_from(body)
    address = raw[:4] if family == socket.AF_INET else raw
    inode = _INODE.unpack_from(body, _INODE_AT)[0]
    return Listening(socket.inet_ntop(family, address), port, inode)
