"""The cloud behind its own certificate: browsers, the API and tunnels over TLS alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from lapdev.account import Account
from lapdev.client.rest import RestClient
from lapdev.errors import ConnectFailed
from lapdev.net.tls import client_context
from tests.support.certificates import make_authority, make_certificate
from tests.support.raw import AppConnection, recording_app
from tests.support.running_cloud import DOMAIN, StandInManager, connected, running_cloud
from tests.support.shop_manifests import shop

NAMES = f"DNS:{DOMAIN},DNS:*.{DOMAIN}"
BODY = bytes(range(256)) * 4_000


async def answer_large(connection: AppConnection) -> None:
    await connection.read_until(b"\r\n\r\n")
    connection.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
    await connection.writer.drain()


async def test_previews_the_api_and_tunnels_are_served_over_tls(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    certificate = make_certificate(authority, tmp_path, "cloud", NAMES)
    ca_file = str(authority.cert)
    async with (
        recording_app(answer_large) as app,
        running_cloud(tmp_path, certificate=certificate) as cloud,
    ):
        beside = StandInManager({"web": app})
        async with connected(cloud, "manager", cloud.cluster_token, beside):
            await cloud.ok("POST", "/environments", {"name": "shop", "manifests": shop()})
            previews = await cloud.ok("GET", "/environments/shop/previews")
        url = httpx.URL(previews["previews"][0]["url"])
        assert url.scheme == "https"
        server = f"https://{DOMAIN}:{url.port}"

        manager = StandInManager({"web": app})
        over_tls = replace(cloud, address=server)
        async with (
            connected(over_tls, "manager", cloud.cluster_token, manager, ca_file) as tunnel,
            httpx.AsyncClient(verify=client_context(ca_file)) as browser,
        ):
            assert tunnel.connected
            answer = await browser.get(
                f"https://127.0.0.1:{url.port}/",
                headers={"host": f"{url.host}:{url.port}"},
                extensions={"sni_hostname": url.host},
            )
            assert answer.content == BODY
        head = bytes(app.connections[0])
        assert b"x-forwarded-proto: https\r\n" in head.lower()
        assert b";proto=https" in head.lower()

        def list_environments(ca: str) -> object:
            with RestClient(Account(server, cloud.token, ca)) as client:
                return client.call("GET", "environments")["environments"]

        assert await asyncio.to_thread(list_environments, ca_file)
        assert await asyncio.to_thread(list_environments, str(certificate.cert))
        with pytest.raises(ConnectFailed, match="certificate is refused") as caught:
            await asyncio.to_thread(list_environments, "")
        assert "--ca-file" in caught.value.hint
