"""What the sidecars' listener answers, by bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lapdev.model import EnvironmentId, SidecarIdentity
from tests.support.pods import PodHost, pod_host

POD = SidecarIdentity("shop", EnvironmentId("e1"), "shop", "api", pod="api-1")
UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[PodHost]:
    async with pod_host(tmp_path) as found:
        yield found


async def ask(host: PodHost, target: str, *, token: str = "", upgrade: bool = True) -> bytes:
    """The whole answer to one request."""
    reader, writer = await asyncio.open_unix_connection(host.address.removeprefix("unix:"))
    lines = f"GET {target} HTTP/1.1\r\nHost: manager\r\n" + (UPGRADE if upgrade else "")
    if token:
        lines += f"Authorization: {token}\r\n"
    writer.write(f"{lines}\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


CASES = [
    ("/", "Bearer good", 404, "no_route"),
    ("/_lapdev/tunnel/manager", "Bearer good", 404, "no_route"),
    ("/_lapdev/tunnel/pod/", "Bearer good", 404, "no_route"),
    ("/_lapdev/tunnel/pod?token=abc", "Bearer good", 400, "bad_request"),
    ("/_lapdev/tunnel/pod", "", 401, "login_required"),
    ("/_lapdev/tunnel/pod", "Bearer wrong", 401, "login_required"),
    ("/_lapdev/tunnel/pod", "Basic good", 401, "login_required"),
]


@pytest.mark.parametrize(("target", "credential", "status", "cause"), CASES)
async def test_whoever_is_no_pod_is_turned_away(
    host: PodHost, target: str, credential: str, status: int, cause: str
) -> None:
    good = host.tokens.issue(POD)
    answer = await ask(host, target, token=credential.replace("good", good))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(body)["error"]["cause"] == cause
    assert good.encode() not in answer


async def test_a_pod_that_does_not_upgrade_is_told_to(host: PodHost) -> None:
    token = f"Bearer {host.tokens.issue(POD)}"
    answer = await ask(host, "/_lapdev/tunnel/pod", token=token, upgrade=False)
    assert answer.startswith(b"HTTP/1.1 426 ")


async def test_a_revoked_token_opens_nothing(host: PodHost) -> None:
    token = host.tokens.issue(POD)
    host.tokens.revoke(POD)
    answer = await ask(host, "/_lapdev/tunnel/pod", token=f"Bearer {token}")
    assert answer.startswith(b"HTTP/1.1 401 ")
