"""An API that knows one environment and prints what a test says, connection by connection."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lapdev.cloud.asgi import AsgiBridge
from lapdev.net.http_server import HttpServer
from lapdev.net.tasks import Tasks
from tests.support.raw import listening


def printed(text: str, time: float = 1.0, container: str = "web", pod: str = "web-1") -> Any:
    """A line of a container, as the API has it."""
    return {"time": time, "pod": pod, "container": container, "text": text}


@dataclass
class LogApi:
    """What it answers, and what it was asked."""

    past: list[Any] = field(default_factory=list)
    followed: list[list[Any]] = field(default_factory=list)
    """The lines of each connection that follows; when they are used up, the environment is gone."""
    workloads: list[str] = field(default_factory=lambda: ["web"])
    found: Any = None
    """The environment as it answers, where its workloads' names are not enough."""
    queries: list[dict[str, str]] = field(default_factory=list)
    server: str = ""

    async def environment(self, _: Request) -> Response:
        if self.queries and self.queries[-1]["follow"] == "true" and not self.followed:
            error = {"cause": "not_found", "detail": "no environment 'shop'", "hint": ""}
            return JSONResponse({"error": error}, 404)
        if self.found is not None:
            return JSONResponse(self.found)
        return JSONResponse({"workloads": [{"name": name} for name in self.workloads]})

    async def logs(self, request: Request) -> Response:
        self.queries.append(dict(request.query_params))
        following = request.query_params["follow"] == "true"
        lines = self.followed.pop(0) if following else self.past
        content = "".join(json.dumps(line) + "\n" for line in lines)
        return StreamingResponse(iter([content]), media_type="application/x-ndjson")


@asynccontextmanager
async def log_api() -> AsyncIterator[LogApi]:
    api = LogApi()
    routes = [
        Route("/api/v1/environments/shop", api.environment),
        Route("/api/v1/environments/shop/logs", api.logs),
    ]
    async with Tasks() as tasks:
        server = HttpServer(AsgiBridge(Starlette(routes=routes), tasks).handle)
        async with listening(server.connection) as port:
            api.server = f"http://127.0.0.1:{port}"
            yield api
        await server.aclose()
