"""SOCKS5 as far as a proxy needs it: bytes in, what was asked for out (RFC 1928). No sockets.

Only CONNECT, no authentication (the listener is loopback), and names rather than addresses: an
in-cluster name that was resolved on the laptop would be somebody else's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

VERSION = 5
NO_AUTHENTICATION = 0
CONNECT = 1


class Reply(IntEnum):
    SUCCEEDED = 0
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


class AddressType(IntEnum):
    IPV4 = 1
    NAME = 3
    IPV6 = 4


@dataclass(frozen=True, slots=True)
class Request:
    host: str
    port: int
    refusal: Reply | None = None
    """Set when the request is well formed but not one this proxy carries out."""


def read_greeting(data: bytes) -> tuple[bytes, bytes] | None:
    """(answer, rest) for `VER NMETHODS METHODS`; None while incomplete.

    Raises:
        ValueError: this is no SOCKS5, or the client insists on authenticating.
    """
    if len(data) < 2:
        return None
    if data[0] != VERSION:
        raise ValueError("not SOCKS5")
    end = 2 + data[1]
    if len(data) < end:
        return None
    if NO_AUTHENTICATION not in data[2:end]:
        raise ValueError("the client offers no method without authentication")
    return bytes((VERSION, NO_AUTHENTICATION)), data[end:]


def read_request(data: bytes) -> tuple[Request, bytes] | None:
    """(request, rest) for `VER CMD RSV ATYP ADDR PORT`; None while incomplete.

    Raises:
        ValueError: it is not a SOCKS5 request.
    """
    if len(data) < 5:
        return None
    version, command, _, kind, first = data[:5]
    if version != VERSION:
        raise ValueError("not SOCKS5")
    start, length = 4, {AddressType.IPV4: 4, AddressType.IPV6: 16}.get(AddressType(kind))
    if length is None:
        start, length = 5, first
    end = start + length + 2
    if len(data) < end:
        return None
    address, port = data[start : end - 2], int.from_bytes(data[end - 2 : end], "big")
    if kind != AddressType.NAME:
        request = Request(address.hex(), port, Reply.ADDRESS_TYPE_NOT_SUPPORTED)
    elif command != CONNECT:
        request = Request(address.decode("ascii"), port, Reply.COMMAND_NOT_SUPPORTED)
    else:
        request = Request(address.decode("ascii"), port)
    return request, data[end:]


def reply(code: Reply) -> bytes:
    """`VER REP RSV ATYP BND.ADDR BND.PORT`: the bound address says nothing, and is zero."""
    return bytes((VERSION, code, 0, AddressType.IPV4, 0, 0, 0, 0, 0, 0))
