"""Joins two tunnels' streams into one path: end to end, with acceptance and backpressure."""

from __future__ import annotations

import asyncio

from lapdev.errors import ConnectTimeout, LapdevError
from lapdev.net.relay import Waiting, relay_waiting
from lapdev.tunnel import Stream, Tunnel
from lapdev.wire.control import Target

ACCEPT_TIMEOUT = 10.0
"""Longer than either kind of far end tries to connect; one that says nothing holds no task."""


async def pair(near: Stream, far_tunnel: Tunnel, target: Target) -> None:
    """`near` reaches `target` over `far_tunnel`, or is refused with the far end's own reason.

    `near` is accepted only when the far end has accepted: that is what lets a sidecar fall back
    to another version before a byte of the request is lost.
    """
    far_end = Waiting()
    far = far_tunnel.open_stream(target, far_end)
    try:
        async with asyncio.timeout(ACCEPT_TIMEOUT):
            await far.wait_accepted()
    except TimeoutError:
        far.abort()
        if not near.is_closing():
            near.refuse(ConnectTimeout("the far end of the tunnel did not answer in time"))
        return
    except LapdevError as exc:
        if not near.is_closing():
            near.refuse(exc)
        return
    except BaseException:
        far.abort()
        raise
    if near.is_closing():
        far.abort()
        return
    near_end = Waiting()
    near.accept(near_end)
    relay_waiting(near_end, far_end)
