"""The shop's API: the second hop of the demo. An ordinary application; it knows no lapdev.

It asks the search service and counts visits in Redis, and lists who answered.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import redis.asyncio as redis
import uvicorn
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

VERSION = os.environ.get("VERSION", "v1")
SEARCH_URL = os.environ.get("SEARCH_URL", "http://search:8090")
REDIS_URL = os.environ.get("REDIS_URL", "redis://redis:6379/0")
FORWARDED = ("traceparent", "tracestate")
CHECKOUT = {"v1": "three steps", "v2": "one step"}

last_request: dict[tuple[str, int], int] = {}
"""Connection → the number of the last request that came over it."""


class CountConnections:
    """Remembers each connection that carried a request, other than a probe."""

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/healthz" and scope["client"]:
            self.requests += 1
            last_request[tuple(scope["client"])] = self.requests
            scope["number"] = self.requests
        await self.inner(scope, receive, send)


async def ask_search(request: Request) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The search service's own word on who it is, and what it found."""
    headers = {name: request.headers[name] for name in FORWARDED if name in request.headers}
    params = {"q": request.query_params.get("q", "")}
    client: httpx.AsyncClient = request.app.state.search
    try:
        try:
            answer = await client.get("/search", params=params, headers=headers)
        except (httpx.RemoteProtocolError, httpx.ReadError):
            # The other side may close an idle connection just as it is used again.
            answer = await client.get("/search", params=params, headers=headers)
        answer.raise_for_status()
        found = answer.json()
        return found["hop"], found["items"]
    except (httpx.HTTPError, ValueError, KeyError) as exc:
        error = f"{type(exc).__name__}: {exc}"[:200]
        return {"service": "search", "version": "", "error": error}, []


async def count_visit(request: Request) -> dict[str, Any]:
    """Redis as a hop: its version by its own word, and the visits it counted."""
    state = request.app.state
    try:
        visits = await state.redis.incr("shop:visits")
        if not state.redis_version:
            state.redis_version = (await state.redis.info("server"))["redis_version"]
    except (RedisError, OSError) as exc:
        error = f"{type(exc).__name__}: {exc}"[:200]
        return {"service": "redis", "version": "", "error": error}
    return {
        "service": "redis",
        "version": state.redis_version,
        "runtime": "redis-server",
        "visits": visits,
    }


async def shop(request: Request) -> JSONResponse:
    search_hop, items = await ask_search(request)
    redis_hop = await count_visit(request)
    own = {"service": "api", "version": VERSION, "runtime": "python"}
    return JSONResponse(
        {
            "hops": [own, search_hop, redis_hop],
            "items": items,
            "checkout": CHECKOUT.get(VERSION, f"as {VERSION} has it"),
            "visits": redis_hop.get("visits"),
        }
    )


async def connections(request: Request) -> JSONResponse:
    """Connections that carried a request since the one numbered `after`: all, without it."""
    after = int(request.query_params.get("after", "0"))
    used = sum(number > after for number in last_request.values())
    return JSONResponse({"opened": used, "requests": request.scope["number"]})


async def healthz(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=16, keepalive_expiry=4.0)
    timeout = httpx.Timeout(20.0, connect=5.0)
    app.state.search = httpx.AsyncClient(base_url=SEARCH_URL, limits=limits, timeout=timeout)
    app.state.redis = redis.from_url(REDIS_URL, socket_connect_timeout=2, socket_timeout=5)
    app.state.redis_version = ""
    try:
        yield
    finally:
        await app.state.search.aclose()
        await app.state.redis.aclose()


app = Starlette(
    routes=[
        Route("/shop", shop),
        Route("/connections", connections),
        Route("/healthz", healthz),
    ],
    middleware=[Middleware(CountConnections)],
    lifespan=lifespan,
)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host=os.environ.get("POD_IP", "0.0.0.0"),
        port=int(os.environ.get("PORT", "8080")),
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
