"""Where an intercept's traffic comes out on the laptop: a stream joined to the local program."""

from __future__ import annotations

import asyncio

from lapdev.errors import ConnectFailed
from lapdev.net.address import TcpAddress
from lapdev.net.listener import dial
from lapdev.net.relay import Waiting, relay
from lapdev.tunnel import Stream

LOCAL_DIAL_TIMEOUT = 0.8
"""The sidecar waits one second for a yes or no before the request goes to the next version."""

LOOPBACK = ("127.0.0.1", "::1")
"""Both: what a development server calls localhost may be only one of them."""


async def join_local(stream: Stream, port: int) -> None:
    """The stream is joined to whatever listens on `port` of this machine, or refused.

    It is accepted only once the local program accepted: a refusal makes the sidecar fall back.
    """
    waiting = Waiting()
    try:
        async with asyncio.timeout(LOCAL_DIAL_TIMEOUT):
            local = await _dial_local(port, waiting)
    except (ConnectFailed, TimeoutError):
        stream.refuse(
            ConnectFailed(
                f"no program answers on port {port} of the laptop",
                hint="start it, or remove the intercept",
                hop="devbox",
            )
        )
        return
    if stream.is_closing():
        local.abort()
        return
    stream.accept(Waiting())
    joined = relay(stream, local)
    if waiting.received:
        joined.from_b(waiting.received)


async def _dial_local(port: int, waiting: Waiting) -> asyncio.Transport:
    for host in LOOPBACK[:-1]:
        try:
            return (await dial(TcpAddress(host, port), lambda: waiting))[0]
        except ConnectFailed:
            continue
    return (await dial(TcpAddress(LOOPBACK[-1], port), lambda: waiting))[0]
