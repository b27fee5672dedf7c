"""Row 65: who may open a tunnel, asked of a whole cloud through its socket."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest

from lapdev.cloud.tokens import sha256_hex
from lapdev.store import Store, no_tcp_ports
from tests.support.raw_tunnel import (
    PATIENCE,
    RawTunnel,
    hello_map,
    raw_tunnel,
    upgrade_request,
)
from tests.support.running_cloud import RunningCloud, running_cloud

GOAWAY = 12
MANAGER = "/_lapdev/tunnel/manager"
DEVBOX = "/_lapdev/tunnel/devbox"


async def answer_to(cloud: RunningCloud, path: str, *fields: str) -> tuple[int, str]:
    """(status, everything that was answered) of an upgrade request; the connection must end."""
    reader, writer = await asyncio.open_unix_connection(cloud.address.removeprefix("unix:"))
    writer.write(upgrade_request(path, *fields))
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1]), answer.decode()


async def test_row_65_no_token_an_unknown_one_and_a_revoked_one_are_401(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        for path in (MANAGER, DEVBOX, "/_lapdev/tunnel/sidecar"):
            assert (await answer_to(cloud, path))[0] == 401
            assert (await answer_to(cloud, path, "Authorization: Bearer unknown"))[0] == 401
            assert (await answer_to(cloud, path, "Authorization: Basic eDp5"))[0] == 401
        fields = (f"Authorization: Bearer {cloud.token}",)
        async with raw_tunnel(
            cloud.address, {"role": "devbox"}, path=DEVBOX, fields=fields
        ) as peer:
            assert peer.frames[0][0] == 1
        # The first user's token is exchanged for another, in the database of the running cloud.
        store = await Store.open(f"sqlite:///{tmp_path}/data/lapdev.db", no_tcp_ports)
        await store.ensure_token(sha256_hex(secrets.token_urlsafe()), "bootstrap")
        await store.aclose()
        assert (await answer_to(cloud, DEVBOX, *fields))[0] == 401


async def test_row_65_a_token_that_is_somebody_elses_is_403(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        for path, token in (
            (MANAGER, cloud.token),
            (DEVBOX, cloud.cluster_token),
            ("/_lapdev/tunnel/sidecar", cloud.cluster_token),
        ):
            status, answer = await answer_to(cloud, path, f"Authorization: Bearer {token}")
            assert status == 403, path
            assert token not in answer


async def test_row_65_a_token_in_the_query_string_is_400_and_never_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_cloud(tmp_path, log_level="debug") as cloud:
        path = f"{MANAGER}?token={cloud.cluster_token}"
        fields = (f"Authorization: Bearer {cloud.cluster_token}",)
        for given in ((), fields):
            status, answer = await answer_to(cloud, path, *given)
            assert status == 400
            assert cloud.cluster_token not in answer
    logged = capsys.readouterr().err
    assert "role_started" in logged
    assert cloud.cluster_token not in logged


async def test_row_65_a_role_that_is_not_the_credentials_is_closed_with_1002(
    tmp_path: Path,
) -> None:
    async with running_cloud(tmp_path) as cloud:
        fields = (f"Authorization: Bearer {cloud.token}",)
        async with raw_tunnel(cloud.address, path=DEVBOX, fields=fields) as peer:
            peer.send([0, hello_map(role="manager")])
            assert (await peer.closed()).code == 1002


def as_manager(cloud: RunningCloud, **hello: Any) -> Any:
    fields = (f"Authorization: Bearer {cloud.cluster_token}",)
    return raw_tunnel(cloud.address, hello, fields=fields)


async def until_called(peer: RawTunnel) -> None:
    """The cloud has taken this tunnel for a manager's: it asks what is there."""
    await peer.next_of(10)


async def test_row_65_of_two_with_one_token_and_one_instance_the_newest_wins(
    tmp_path: Path,
) -> None:
    async with running_cloud(tmp_path) as cloud, as_manager(cloud, session="older") as older:
        await until_called(older)
        async with as_manager(cloud, session="newer") as newer:
            # A second is the bar; the wait itself is for the code.
            async with asyncio.timeout(1):
                assert (await older.closed()).code == 4409
            await until_called(newer)


async def test_row_65_two_instances_with_one_token_live_side_by_side(tmp_path: Path) -> None:
    async with (
        running_cloud(tmp_path) as cloud,
        as_manager(cloud, instance="one", session="a") as one,
        as_manager(cloud, instance="two", session="b") as two,
    ):
        await until_called(one)
        await until_called(two)
        for number in (7, 8):
            one.send([8, number])
            two.send([8, number])
            assert (await one.next_of(9))[1] == number
            assert (await two.next_of(9))[1] == number


async def test_row_65_a_hello_that_resumes_what_was_replaced_begins_anew(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        async with as_manager(cloud, session="first") as peer:
            assert peer.frames[0][1]["resumed"] is False
        # What another process overheard of a session is worth nothing under another instance.
        async with as_manager(cloud, instance="other", session="first", resume=True) as peer:
            assert peer.frames[0][1]["resumed"] is False
