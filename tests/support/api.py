"""A whole API on a real database, called in-process or through a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI

from lapdev.cloud.actions import ApiService
from lapdev.cloud.api import create_api
from lapdev.cloud.clusters import ClusterLinks
from lapdev.cloud.logs import LogReaders
from lapdev.cloud.tokens import InterceptTokens, sha256_hex
from lapdev.model import PreviewUrl
from lapdev.store import Store
from lapdev.wire.control import InterceptGrant
from tests.support.cluster_link import RecordingLink

TOKEN = "tests-own-api-token"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@dataclass
class ApiRig:
    """What a test of the API holds in its hands."""

    app: FastAPI
    client: httpx.AsyncClient
    service: ApiService
    link: RecordingLink
    store: Store

    async def make_shop(self, name: str = "shop") -> dict[str, object]:
        """A shared environment `name`, made through the API."""
        from tests.support.shop_manifests import shop

        answer = await self.client.post(
            "/api/v1/environments", json={"name": name, "kind": "shared", "manifests": shop()}
        )
        assert answer.status_code == 201, answer.text
        made: dict[str, object] = answer.json()
        return made


@asynccontextmanager
async def api_rig(folder: Path) -> AsyncIterator[ApiRig]:
    """An API with one cluster, `local`, and a client that sends a valid token."""
    store = await Store.open(f"sqlite:///{folder}/lapdev.db", lowest_tcp_port)
    try:
        await store.ensure_cluster("local", "c" * 64)
        await store.ensure_token(sha256_hex(TOKEN), "tests")
        link = RecordingLink()
        service = ApiService(store, link, InterceptTokens("key"), preview_url)
        links = ClusterLinks(store, service.tasks, lambda intercept: InterceptGrant(intercept, ""))
        app = create_api(service, LogReaders(links))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://lapdev.localhost", headers=BEARER
        ) as client:
            yield ApiRig(app, client, service, link, store)
        await service.aclose()
    finally:
        await store.aclose()


def preview_url(preview: PreviewUrl) -> str:
    """What the cloud would make of a preview."""
    if preview.tcp_port is not None:
        return f"tcp://127.0.0.1:{preview.tcp_port}"
    return f"http://{preview.label}.lapdev.localhost:8080"


def lowest_tcp_port(taken: Collection[int]) -> int:
    """Nobody listens there, so nobody has to know whether it is free."""
    return next(port for port in range(20_000, 20_100) if port not in taken)
