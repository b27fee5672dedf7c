"""A whole API on a real database, called in-process or through a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI

from lapdev.cloud.actions import ApiService
from lapdev.cloud.api import create_api
from lapdev.cloud.tokens import InterceptTokens, sha256_hex
from lapdev.store import Store
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
    store = await Store.open(f"sqlite:///{folder}/lapdev.db")
    try:
        await store.ensure_cluster("local", "c" * 64)
        await store.ensure_token(sha256_hex(TOKEN), "tests")
        link = RecordingLink()
        service = ApiService(store, link, InterceptTokens("key"), preview_url)
        app = create_api(service)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://lapdev.localhost", headers=BEARER
        ) as client:
            yield ApiRig(app, client, service, link, store)
    finally:
        await store.aclose()


def preview_url(label: str) -> str:
    """What the cloud would make of a label."""
    return f"http://{label}.lapdev.localhost:8080"
