"""Where an intercept's traffic comes out on the laptop: a stream joined to the local program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lapdev.errors import ConnectFailed
from lapdev.net.address import TcpAddress
from lapdev.net.listener import dial
from lapdev.tunnel import Stream, outlet

LOCAL_DIAL_TIMEOUT = 0.8
"""The sidecar waits one second for a yes or no before the request goes to the next version."""

LOOPBACK = ("127.0.0.1", "::1")
"""Both: what a development server calls localhost may be only one of them."""

_Dialled = tuple[asyncio.Transport, asyncio.Protocol]


async def join_local(stream: Stream, port: int) -> None:
    """The stream is joined to whatever listens on `port` of this machine, or refused.

    It is accepted only once the local program accepted: a refusal makes the sidecar fall back.
    """

    async def dial_local(factory: Callable[[], asyncio.Protocol]) -> _Dialled:
        try:
            async with asyncio.timeout(LOCAL_DIAL_TIMEOUT):
                return await _dial_either(port, factory)
        except (ConnectFailed, TimeoutError) as exc:
            raise ConnectFailed(f"no program answers on port {port} of the laptop") from exc

    await outlet(stream, dial_local)


async def _dial_either(port: int, factory: Callable[[], asyncio.Protocol]) -> _Dialled:
    for host in LOOPBACK[:-1]:
        try:
            return await dial(TcpAddress(host, port), factory)
        except ConnectFailed:
            continue
    return await dial(TcpAddress(LOOPBACK[-1], port), factory)
