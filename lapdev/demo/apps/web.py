"""The shop's web page: the first hop of the demo. An ordinary application; it knows no lapdev.

It asks the API for the shop's state over a small pool of kept-alive connections and passes the
trace context of the visitor's request on, which is all that branch routing asks of an app.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import page
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

VERSION = os.environ.get("VERSION", "v1")
API_URL = os.environ.get("API_URL", "http://api:8080")
LINKS_FILE = sys.argv[1] if len(sys.argv) > 1 else ""
API_CONNECTIONS = 8
FORWARDED = ("traceparent", "tracestate")
DOWNLOAD_BLOCK = bytes(range(256)) * 256
"""64 KiB; every block of a download is this with its own number in the first eight bytes."""


class Api:
    """The pooled client. Few connections on purpose: requests of all branches share them."""

    def __init__(self) -> None:
        self.retries = 0
        self._client = httpx.AsyncClient(
            base_url=API_URL,
            timeout=httpx.Timeout(30.0, connect=5.0),
            limits=httpx.Limits(
                max_connections=API_CONNECTIONS,
                max_keepalive_connections=API_CONNECTIONS,
                keepalive_expiry=60.0,
            ),
        )

    async def get(self, path: str, request: Request, **params: str) -> dict[str, Any]:
        headers = {name: request.headers[name] for name in FORWARDED if name in request.headers}
        try:
            answer = await self._client.get(path, params=params, headers=headers)
        except (httpx.RemoteProtocolError, httpx.ReadError):
            # The other side may close an idle connection just as it is used again.
            self.retries += 1
            answer = await self._client.get(path, params=params, headers=headers)
        answer.raise_for_status()
        return dict(answer.json())

    async def aclose(self) -> None:
        await self._client.aclose()


def own_hop() -> dict[str, str]:
    return {"service": "web", "version": VERSION, "runtime": "python"}


async def shop_state(request: Request) -> tuple[int, dict[str, Any]]:
    """Status and state: without an API the page still shows how far the request came."""
    try:
        state = await request.app.state.api.get(
            "/shop", request, q=request.query_params.get("q", "")
        )
    except (httpx.HTTPError, ValueError) as exc:
        failed = {"service": "api", "version": "", "error": describe(exc)}
        return 502, {"hops": [own_hop(), failed], "items": []}
    state["hops"] = [own_hop(), *state["hops"]]
    return 200, state


def describe(exc: Exception) -> str:
    if isinstance(exc, httpx.HTTPStatusError):
        return f"answered {exc.response.status_code}"
    return f"{type(exc).__name__}: {exc}"[:200]


async def index(request: Request) -> HTMLResponse:
    status, state = await shop_state(request)
    query = request.query_params.get("q", "")
    host = request.headers.get("host", "")
    text = page.render(state, query, page.read_links(LINKS_FILE), host)
    return HTMLResponse(text, status, {"cache-control": "no-store"})


async def hops(request: Request) -> JSONResponse:
    status, state = await shop_state(request)
    return JSONResponse(state["hops"], status, {"cache-control": "no-store"})


async def connections(request: Request) -> JSONResponse:
    """How many connections the API has seen, and how often this process had to ask twice."""
    seen = await request.app.state.api.get("/connections", request, **request.query_params)
    return JSONResponse({**seen, "retries": request.app.state.api.retries})


async def healthz(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


async def events(request: Request) -> StreamingResponse:
    """Server-sent events: `n` of them, one every `every` seconds, the first at once."""
    count = int(request.query_params.get("n", "10"))
    every = float(request.query_params.get("every", "0.5"))

    async def produce() -> AsyncIterator[str]:
        for number in range(count):
            yield f"id: {number}\ndata: tick {number} from web {VERSION}\n\n"
            await asyncio.sleep(every)

    headers = {"cache-control": "no-store"}
    return StreamingResponse(produce(), media_type="text/event-stream", headers=headers)


async def upload(request: Request) -> JSONResponse:
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return JSONResponse({"sha256": digest.hexdigest(), "size": size})


async def download(request: Request) -> StreamingResponse:
    """`size` bytes, the same ones every time: numbered blocks, so that any disorder shows."""
    size = int(request.query_params.get("size", "1048576"))

    async def produce() -> AsyncIterator[bytes]:
        for number, offset in enumerate(range(0, size, len(DOWNLOAD_BLOCK))):
            yield (number.to_bytes(8, "big") + DOWNLOAD_BLOCK[8:])[: size - offset]

    headers = {"content-length": str(size)}
    return StreamingResponse(produce(), media_type="application/octet-stream", headers=headers)


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    while (message := await socket.receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await socket.send_text(message["text"])
        else:
            await socket.send_bytes(message["bytes"])


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.api = Api()
    try:
        yield
    finally:
        await app.state.api.aclose()


app = Starlette(
    routes=[
        Route("/", index),
        Route("/hops.json", hops),
        Route("/connections", connections),
        Route("/healthz", healthz),
        Route("/events", events),
        Route("/upload", upload, methods=["POST"]),
        Route("/download", download),
        WebSocketRoute("/ws/echo", echo),
    ],
    lifespan=lifespan,
)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host=os.environ.get("POD_IP", "0.0.0.0"),
        port=int(os.environ.get("PORT", "8080")),
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
