"""`lapdev env logs`: whose lines, in which order, and what a lost connection does."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner, Result

from lapdev.client import log_lines
from lapdev.client.logs import logs
from lapdev.errors import NotFound, UpstreamClosed
from tests.support.log_api import LogApi, log_api, printed

LOST = "lapdev: the connection was lost; trying again"


async def run(api: LogApi, *words: str) -> Result:
    env = {"LAPDEV_SERVER": api.server, "LAPDEV_TOKEN": "t"}
    return await asyncio.to_thread(CliRunner().invoke, logs, ["shop", *words], env=env)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "RECONNECT_INTERVAL", 0.0)


async def test_the_only_workload_need_not_be_named() -> None:
    async with log_api() as api:
        api.past = [printed("one"), printed("two")]
        assert (await run(api)).stdout == "one\ntwo\n"
        assert api.queries == [
            {"workload": "web", "container": "", "lines": "1000", "follow": "false"}
        ]


async def test_of_several_workloads_one_is_named() -> None:
    async with log_api() as api:
        api.workloads = ["web", "db"]
        result = await run(api)
        assert result.exit_code == 2
        assert "name one of the workloads of shop: web, db" in result.stderr
        await run(api, "db", "-c", "main", "-n", "5")
        assert api.queries == [
            {"workload": "db", "container": "main", "lines": "5", "follow": "false"}
        ]


async def test_without_a_workload_it_says_where_to_look() -> None:
    async with log_api() as api:
        api.workloads = []
        result = await run(api)
        assert isinstance(result.exception, NotFound)
        assert "lapdev env status shop" in result.exception.hint


async def test_lines_of_several_containers_are_in_their_order() -> None:
    async with log_api() as api:
        api.past = [printed("a", 1), printed("c", 3), printed("b", 2, "db")]
        assert (await run(api)).stdout == "web | a\ndb  | b\nweb | c\n"


async def test_json_lines_are_the_apis() -> None:
    async with log_api() as api:
        api.past = [printed("a", 1), printed("\x1b[1mb\u2028", 2)]
        found = (await run(api, "--json")).stdout.split("\n")
        assert [json.loads(line) for line in found if line] == api.past


async def test_following_goes_on_after_a_lost_connection_and_says_each_line_once() -> None:
    async with log_api() as api:
        api.past = [printed("a", 1)]
        api.followed = [
            [printed("a", 1), printed("b", 2)],
            [printed("a", 1), printed("b", 2), printed("c", 2)],
        ]
        result = await run(api, "-f")
        assert result.stdout == "a\nb\nc\n"
        assert result.stderr.splitlines() == [LOST, LOST, "lapdev: no environment 'shop'"]
        assert result.exit_code == 0


async def test_a_workload_that_is_gone_ends_it() -> None:
    async with log_api() as api:
        api.followed = [[printed("a", 1)], []]
        api.workloads = ["db"]
        result = await run(api, "web", "--follow")
        assert result.stderr.splitlines() == [LOST, "lapdev: shop has no workload web any more"]


async def test_what_the_server_says_within_the_lines_is_an_error() -> None:
    async with log_api() as api:
        api.past = [printed("a"), {"error": {"cause": "x", "detail": "no room", "hint": "make it"}}]
        result = await run(api)
        assert isinstance(result.exception, UpstreamClosed)
        assert (result.exception.detail, result.exception.hint) == ("no room", "make it")


async def test_a_server_that_ends_each_connection_at_once_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_lines, "RECONNECT_TIMEOUT", 0.0)
    async with log_api() as api:
        api.followed = [[], [], []]
        result = await run(api, "-f")
        assert isinstance(result.exception, UpstreamClosed)
