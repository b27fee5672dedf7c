"""Joins two tunnels' streams into one path: end to end, with acceptance and backpressure."""

from __future__ import annotations

from lapdev.errors import LapdevError
from lapdev.net.relay import Waiting, relay_waiting
from lapdev.tunnel import Stream, Tunnel
from lapdev.wire.control import Target


async def pair(near: Stream, far_tunnel: Tunnel, target: Target) -> None:
    """`near` reaches `target` over `far_tunnel`, or is refused with the far end's own reason.

    `near` is accepted only when the far end has accepted: that is what lets a sidecar fall back
    to another version before a byte of the request is lost.
    """
    far_end = Waiting()
    far = far_tunnel.open_stream(target, far_end)
    try:
        await far.wait_accepted()
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
