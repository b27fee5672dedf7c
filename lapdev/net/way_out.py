"""How this process reaches the outside: which authorities it believes, and through which proxy.

`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` mean what they mean to curl. A proxy is
asked to CONNECT (RFC 9110 §9.3.6), so it sees the server's name and, of TLS, nothing more.
"""

from __future__ import annotations

import base64
import functools
import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from lapdev.errors import ConfigError
from lapdev.net.address import TcpAddress
from lapdev.net.tls import client_context


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    host: str
    port: int
    tls: bool = False
    authorization: str = field(default="", repr=False)
    """The whole value of Proxy-Authorization; empty: none."""

    def __str__(self) -> str:
        return str(TcpAddress(self.host, self.port))


@dataclass(frozen=True, slots=True)
class WayOut:
    """The default goes directly, and believes the machine's authorities."""

    ca_file: str = ""
    http_proxy: str = field(default="", repr=False)
    """A URL, with name and password if the proxy wants them."""
    https_proxy: str = field(default="", repr=False)
    no_proxy: str = ""
    """Names, `.suffixes`, addresses and networks that are reached directly; `*` for all."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], ca_file: str = "") -> WayOut:
        """As the variables say; those in lower case win, as with curl."""

        def value(name: str) -> str:
            return environ.get(name.lower()) or environ.get(name, "")

        anything = value("ALL_PROXY")
        # In a CGI program HTTP_PROXY is what a client's `Proxy:` header says (CVE-2016-5385).
        is_cgi = "REQUEST_METHOD" in environ
        plain = environ.get("http_proxy", "") if is_cgi else value("HTTP_PROXY")
        return cls(ca_file, plain or anything, value("HTTPS_PROXY") or anything, value("NO_PROXY"))

    def context(self) -> ssl.SSLContext:
        """For connections over TLS, to servers and to proxies.

        Raises:
            ConfigError: the CA file is none.
        """
        return _context(self.ca_file)

    def proxy_for(self, address: TcpAddress) -> ProxyAddress | None:
        """None: it is reached directly.

        Raises:
            ConfigError: the proxy that is named is none we can use.
        """
        url = self.https_proxy if address.tls else self.http_proxy
        if not url or _is_own(address.host) or self._is_exempt(address):
            return None
        return _parse_proxy(url)

    def _is_exempt(self, address: TcpAddress) -> bool:
        host = address.host.lower().rstrip(".")
        return any(
            _matches(entry.strip().lower(), host, address.port)
            for entry in self.no_proxy.split(",")
            if entry.strip()
        )


@functools.lru_cache(maxsize=4)
def _context(ca_file: str) -> ssl.SSLContext:
    # Reading all of the machine's authorities takes 30 ms: not at every try to reconnect.
    return client_context(ca_file)


def _is_own(host: str) -> bool:
    """This machine itself: no proxy leads back to it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, colon, number = entry.rpartition(":")
    if colon and number.isdecimal() and (":" not in name or name.startswith("[")):
        if int(number) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except (ValueError, TypeError):
        suffix = entry.removeprefix("*").removeprefix(".").rstrip(".")
        return bool(suffix) and (host == suffix or host.endswith("." + suffix))


def _parse_proxy(url: str) -> ProxyAddress:
    hint = "HTTPS_PROXY and HTTP_PROXY are http://[NAME:PASSWORD@]HOST:PORT, or https://…"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as exc:
        # The URL may hold a password: it is not repeated.
        raise ConfigError("the proxy of the environment is no URL", hint=hint) from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"a proxy of kind {parts.scheme!r} cannot be used", hint=hint)
    tls = parts.scheme == "https"
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    return ProxyAddress(parts.hostname, port or (443 if tls else 80), tls, authorization)
