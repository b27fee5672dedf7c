"""A pod's own network interfaces, set by ioctl, which takes no netlink library; and a socket that
tells who listens on them.

Imported by `pause`, where start-up time counts: nothing slow, nothing of lapdev.
"""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCADDRT = 0x890B
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C

_NETLINK_SOCK_DIAG = 4
_IFF_UP = 1
_RTF_UP_GATEWAY = 3


def _sockaddr(address: str) -> bytes:
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


def _call(request: int, argument: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return fcntl.ioctl(sock, request, argument)


def bring_up(name: str) -> None:
    answer = _call(_SIOCGIFFLAGS, struct.pack("=16sH22x", name.encode(), 0))
    flags = struct.unpack_from("=16sH", answer)[1] | _IFF_UP
    _call(_SIOCSIFFLAGS, struct.pack("=16sH22x", name.encode(), flags))


def set_address(name: str, address: str, netmask: str) -> None:
    for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, netmask)):
        _call(request, struct.pack("=16s16s8x", name.encode(), _sockaddr(value)))


def set_default_route(gateway: str) -> None:
    everywhere = _sockaddr("0.0.0.0")
    # struct rtentry (linux/route.h): pad, destination, gateway, mask, flags, and fields left zero.
    route = struct.pack(
        "@L16s16s16sH70x", 0, everywhere, _sockaddr(gateway), everywhere, _RTF_UP_GATEWAY
    )
    _call(_SIOCADDRT, route)


def open_diag() -> socket.socket:
    """For `sock_diag`, of the network namespace of the calling process; it does not block.

    Raises:
        OSError: the kernel has no sock_diag, or it is not ours to use.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    return socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)
