"""A connection through a proxy: CONNECT, and TLS inside of it (RFC 9110 §9.3.6)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar, cast

from lapdev.errors import ConnectFailed
from lapdev.net.address import TcpAddress
from lapdev.net.tls import dial_failure
from lapdev.net.way_out import ProxyAddress, WayOut

P = TypeVar("P", bound=asyncio.BaseProtocol)

MAX_ANSWER_BYTES = 16_384
_HTTP = b"HTTP/1."
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: |\r\n)")


async def connect_through(
    proxy: ProxyAddress, address: TcpAddress, way: WayOut, factory: Callable[[], P]
) -> tuple[asyncio.Transport, P]:
    """A connection to `address`, served by a protocol from `factory`.

    The deadline is the caller's; cancelling closes what was half open.

    Raises:
        ConnectFailed: the proxy, or the server behind it, is not there or does not want us.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, asking = await loop.create_connection(
            lambda: _Asking(proxy, address),
            proxy.host,
            proxy.port,
            ssl=way.context() if proxy.tls else None,
        )
    except (OSError, ValueError) as exc:
        raise dial_failure(f"the proxy {proxy}", exc) from exc
    try:
        await asking.answered
        if address.tls:
            secured = await loop.start_tls(
                transport, asking, way.context(), server_hostname=address.host
            )
            assert secured is not None
            transport = secured
    except OSError as exc:
        transport.abort()
        raise dial_failure(f"{address} through the proxy {proxy}", exc) from exc
    except BaseException:
        transport.abort()
        raise
    protocol = factory()
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    return transport, protocol


class _Asking(asyncio.Protocol):
    """The connection until the proxy has let us through."""

    def __init__(self, proxy: ProxyAddress, address: TcpAddress) -> None:
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._proxy = proxy
        self._address = address
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        lines = [f"CONNECT {self._address} HTTP/1.1", f"Host: {self._address}"]
        if self._proxy.authorization:
            lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def data_received(self, data: bytes) -> None:
        if self.answered.done():
            return
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        looks_right = self._received.startswith(_HTTP[: len(self._received)])
        if not end and looks_right and len(self._received) <= MAX_ANSWER_BYTES:
            return
        match = _STATUS.match(head + end)
        status = int(match[1]) if match is not None else 0
        if 200 <= status < 300 and not rest:
            self.answered.set_result(None)
        else:
            self._fail(_refusal(status, self._proxy, self._address))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(
            ConnectFailed(f"the proxy {self._proxy} closed the connection to {self._address}")
        )

    def _fail(self, error: ConnectFailed) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)
            self.answered.exception()  # nobody may be waiting any more


def _refusal(status: int, proxy: ProxyAddress, address: TcpAddress) -> ConnectFailed:
    hint = ""
    if status == 407:
        given = "other" if proxy.authorization else "a"
        hint = f"it wants {given} name and password: HTTPS_PROXY=http://NAME:PASSWORD@{proxy}"
    elif status in (403, 405):
        hint = f"it does not allow connections to {address}; NO_PROXY would go past it"
    elif 200 <= status < 300:
        hint = "it sent a page: a sign-in page, or it is no proxy; open it in a browser"
    elif not status:
        hint = "it does not speak as an HTTP proxy: check HTTPS_PROXY and HTTP_PROXY"
    said = f"answered {status}" if status else "answered something that is not HTTP/1.1"
    return ConnectFailed(f"the proxy {proxy} {said} for {address}", hint=hint)
