"""Addresses as people write them: `127.0.0.1:8080`, `[::1]:8080`, `unix:/path`, `fd:3`, a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lapdev.errors import ConfigError

UNIX_PATH_BYTES = 107
"""Longest path a Unix socket may have on Linux (sun_path, less its NUL)."""

_TCP = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^\[\]:/\s]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class TcpAddress:
    host: str
    port: int
    tls: bool = False
    """Dialling only: speak TLS and verify the certificate."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class InheritedAddress:
    """A listening socket that an ancestor process opened."""

    fd: int

    def __str__(self) -> str:
        return f"fd:{self.fd}"


Address = TcpAddress | UnixAddress | InheritedAddress


def parse_address(text: str) -> Address:
    """The address that `text` names.

    Raises:
        ConfigError: it is none of the accepted forms; says which there are.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > UNIX_PATH_BYTES:
            raise ConfigError(
                f"{text!r}: a Unix socket has an absolute path of <= {UNIX_PATH_BYTES} bytes",
                hint="choose a shorter runtime directory",
            )
        return UnixAddress(path)
    if text.startswith("fd:") and text[3:].isdecimal():
        return InheritedAddress(int(text[3:]))
    scheme, _, rest = text.rpartition("://")
    if scheme in ("", "http", "https", "ws", "wss"):
        tls = scheme in ("https", "wss")
        address = rest.rstrip("/")
        if scheme and not re.search(r":[0-9]+$", address):
            address += ":443" if tls else ":80"
        match = _TCP.fullmatch(address)
        if match and int(match["port"]) < 65536:
            return TcpAddress(match["v6"] or match["host"], int(match["port"]), tls)
    raise ConfigError(
        f"{text!r} is not an address",
        hint="write HOST:PORT, [IPv6]:PORT, unix:/path, fd:N, or http(s)://HOST:PORT",
    )
