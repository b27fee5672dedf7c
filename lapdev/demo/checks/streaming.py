"""Nothing is buffered whole: websockets, server-sent events, large bodies both ways."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator

from websockets.asyncio.client import connect

from lapdev.demo import shop
from lapdev.demo.checks.scene import Scene, require

MIB = 1024 * 1024
LARGE = 32 * MIB
PIECE = 64 * 1024
MESSAGES = 200
SOON = 1.0
"""Seconds in which a first event has to come while the next is far away."""


async def check_websocket(scene: Scene) -> str:
    """Text, binary, empty and large messages come back as they were, and the close is clean."""
    host, _, port = scene.stage.edge.rpartition(":")
    url = f"ws://{scene.hosts['checkout-v2']}/ws/echo"
    async with connect(url, host=host, port=int(port), proxy=None, max_size=4 * MIB) as socket:
        for number in range(MESSAGES):
            await socket.send(f"message {number}")
            require(await socket.recv() == f"message {number}", f"message {number} came back wrong")
        for body in (b"", b"\x00\xff" * 50_000, bytes(MIB)):
            await socket.send(body)
            require(await socket.recv() == body, f"{len(body)} binary bytes came back wrong")
    require(socket.close_code == 1000, f"closed with {socket.close_code}")
    return f"{MESSAGES + 3} messages up to 1 MiB echoed, closed with 1000"


async def check_events(scene: Scene) -> str:
    """The first event arrives while the stream stays open for an hour."""
    client = await scene.visitor()
    started = time.monotonic()
    headers = {"host": scene.hosts[shop.BASE], "accept": "text/event-stream"}
    async with client.stream("GET", "/events?n=2&every=3600", headers=headers) as answer:
        kind = answer.headers.get("content-type", "")
        require(kind.startswith("text/event-stream"), f"content type {kind!r}")
        first = await anext(answer.aiter_text())
        seconds = time.monotonic() - started
        require("tick 0" in first, f"the first event was {first!r:.60}")
        require(seconds < SOON, f"the first event took {seconds:.1f} s")
    return f"first event after {seconds * 1000:.0f} ms, stream still open"


async def check_upload(scene: Scene) -> str:
    client = await scene.visitor()
    digest = hashlib.sha256()

    async def body() -> AsyncIterator[bytes]:
        for number in range(LARGE // PIECE):
            piece = number.to_bytes(8, "big") * (PIECE // 8)
            digest.update(piece)
            yield piece

    started = time.monotonic()
    headers = {"host": scene.hosts["search-fix"]}
    answer = await client.post("/upload", content=body(), headers=headers)
    require(answer.status_code == 200, f"status {answer.status_code}")
    got = answer.json()
    require(got["size"] == LARGE, f"{got['size']} of {LARGE} bytes arrived")
    require(got["sha256"] == digest.hexdigest(), "the bytes that arrived are not those sent")
    return f"sha256 equal, {_rate(started)}"


async def check_download(scene: Scene) -> str:
    client = await scene.visitor()
    wanted, got, size = hashlib.sha256(), hashlib.sha256(), 0
    block = bytes(range(256)) * 256
    for number in range(LARGE // len(block)):
        wanted.update(number.to_bytes(8, "big") + block[8:])
    started = time.monotonic()
    headers = {"host": scene.hosts[shop.BASE]}
    async with client.stream("GET", f"/download?size={LARGE}", headers=headers) as answer:
        async for piece in answer.aiter_raw():
            got.update(piece)
            size += len(piece)
    require(size == LARGE, f"{size} of {LARGE} bytes arrived")
    require(got.digest() == wanted.digest(), "the bytes that arrived are not those expected")
    return f"sha256 equal, {_rate(started)}"


def _rate(started: float) -> str:
    return f"{LARGE / MIB / (time.monotonic() - started):.0f} MiB/s"
