"""Who answers, request by request: over real sockets, with apps that record what they get."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import AsyncExitStack

import pytest

from lapdev.model import BranchRoute, EnvironmentId, Protocol, SidecarIdentity, SidecarPort
from lapdev.net.relay import reset
from lapdev.sidecar.requests import ANSWERED_BY, MARK
from tests.support.raw import (
    AppConnection,
    RawClient,
    RecordingApp,
    Script,
    answer_every_request,
    connect,
    recording_app,
)
from tests.support.sidecar import BASE, ONE, SERVICE_PORT, TWO, branch, launch, running
from tests.support.unused import unused_port

BY = ANSWERED_BY.decode()


def says(name: bytes) -> Script:
    """An app that answers each GET with its name."""

    async def script(connection: AppConnection) -> None:
        while True:
            await connection.read_head()
            connection.answer(name)

    return script


def get(path: str = "/", environment: str = "", *fields: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: api", *fields]
    if environment:
        lines.append(f"tracestate: lapdev-env-id={environment}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def ask(client: RawClient, request: bytes) -> tuple[int, dict[str, str], bytes]:
    client.send(request)
    return await client.response()


def heads(app: RecordingApp) -> bytes:
    return b"".join(bytes(data) for data in app.connections).lower()


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.UNDECLARED])
async def test_both_branches_and_the_base_share_one_connection(protocol: Protocol) -> None:
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(recording_app(says(b"base")))
        one = await stack.enter_async_context(recording_app(says(b"one")))
        two = await stack.enter_async_context(recording_app(says(b"two")))
        rows = branch(ONE, "one", one.address), branch(TWO, "two", two.address)
        sidecar = await stack.enter_async_context(running(launch(base.port, protocol), *rows))
        client = await stack.enter_async_context(connect(sidecar.addresses[0]))
        for environment, wanted in [
            ("", b"base"),
            (ONE, b"one"),
            (TWO, b"two"),
            (BASE, b"base"),
        ] * 5:
            status, _, body = await ask(client, get("/", environment))
            assert (status, body) == (200, wanted)
        assert [len(app.connections) for app in (base, one, two)] == [1, 1, 1]


async def test_two_services_with_one_port_number_lead_to_two_ports_in_a_branch_too() -> None:
    async with AsyncExitStack() as stack:
        apps = {
            name: await stack.enter_async_context(recording_app(says(name)))
            for name in (b"web", b"metrics", b"web of one", b"metrics of one")
        }
        ports = tuple(
            SidecarPort(0, SERVICE_PORT, apps[name].port, name.decode(), Protocol.HTTP)
            for name in (b"web", b"metrics")
        )
        document = dataclasses.replace(launch(1), ports=ports)
        row = BranchRoute(
            ONE,
            "one",
            {
                "web:80": apps[b"web of one"].address,
                "metrics:80": apps[b"metrics of one"].address,
            },
        )
        sidecar = await stack.enter_async_context(running(document, row))
        answers = []
        for address in sidecar.addresses:
            client = await stack.enter_async_context(connect(address))
            answers += [(await ask(client, get("/", environment)))[2] for environment in ("", ONE)]
        assert answers == [b"web", b"web of one", b"metrics", b"metrics of one"]


CASES = [
    # environment, what answers, answer header
    ("", b"base", "api; env=staging; via=app; reason=default"),
    (BASE, b"base", "api; env=staging; via=app; reason=default"),
    ("gone000000000000", b"base", "api; env=staging; via=app; reason=not_in_branch"),
    (ONE, b"one", "api; env=one; via=branch; reason=branch"),
]


@pytest.mark.parametrize(("environment", "body", "answered_by"), CASES)
async def test_the_answer_header_says_who_and_why(
    environment: str, body: bytes, answered_by: str
) -> None:
    async with (
        recording_app(says(b"base")) as base,
        recording_app(says(b"one")) as one,
        running(launch(base.port), branch(ONE, "one", one.address)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        _, headers, got = await ask(client, get("/", environment))
        assert (got, headers[BY]) == (body, answered_by)


async def test_before_the_first_snapshot_the_app_answers_every_branch() -> None:
    async with (
        recording_app(says(b"base")) as base,
        running(launch(base.port)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        _, headers, body = await ask(client, get("/", ONE))
        assert (body, headers[BY]) == (b"base", "api; env=staging; via=app; reason=no_routes")


async def test_the_branch_is_read_from_tracestate_with_or_without_traceparent() -> None:
    trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with (
        recording_app(says(b"base")) as base,
        recording_app(says(b"one")) as one,
        running(launch(base.port), branch(ONE, "one", one.address)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        for fields in ([trace], []):
            assert (await ask(client, get("/", ONE, *fields)))[2] == b"one"
        assert (await ask(client, get("/", "", trace, "tracestate: other=1")))[2] == b"base"
        assert b"tracestate: other=1\r\n" in heads(base)
        assert b"tracestate: lapdev-env-id=" + ONE.encode() in heads(one)


async def test_a_diverted_request_is_marked_and_the_receiver_keeps_it_for_its_app() -> None:
    inner_identity = SidecarIdentity("ns", ONE, "one", "api", "api-one-0")
    async with (
        recording_app(says(b"base")) as base,
        recording_app(says(b"one")) as one,
        recording_app(says(b"never")) as other,
        # The inner sidecar has a row for the same branch: without the mark it would divert again.
        running(
            launch(one.port, identity=inner_identity), branch(ONE, "one", other.address)
        ) as inner,
        running(launch(base.port), branch(ONE, "one", inner.addresses[0])) as outer,
        connect(outer.addresses[0]) as client,
    ):
        _, headers, body = await ask(client, get("/", ONE))
        assert body == b"one"
        assert headers[BY] == "api; env=one; via=branch; reason=diverted"
        assert MARK not in heads(one)
        assert b"lapdev-env-id=" in heads(one)


async def test_the_mark_travels_to_a_branch_and_nowhere_else() -> None:
    async with (
        recording_app(says(b"base")) as base,
        recording_app(says(b"one")) as one,
        running(launch(base.port), branch(ONE, "one", one.address)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        await ask(client, get("/", ONE))
        await ask(client, get("/"))
        await ask(client, get("/", ONE, "LAPDEV-Diverted: anything"))
        assert b"lapdev-diverted: " + ONE.encode() in heads(one)
        assert b"lapdev-diverted" not in heads(base)
        assert len(one.connections[0].split(b"\r\n\r\n")) == 2  # the marked one stayed here


async def test_a_branch_that_is_down_falls_back_to_the_base_and_says_so() -> None:
    async with (
        recording_app(says(b"base")) as base,
        running(launch(base.port), branch(ONE, "one", f"127.0.0.1:{unused_port()}")) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        for _ in range(2):
            _, headers, body = await ask(client, get("/", ONE))
            assert body == b"base"
            assert headers[BY] == "api; env=staging; via=fallback; reason=branch_connect_failed"
        assert sidecar.counters.requests["fallback"] == 2
        assert sidecar.counters.upstream_failures == 2


async def test_a_body_falls_back_whole_when_none_of_it_was_consumed() -> None:
    async def echo(connection: AppConnection) -> None:
        await connection.read_head()
        connection.answer(await connection.read_exactly(5))

    async with (
        recording_app(echo) as base,
        running(launch(base.port), branch(ONE, "one", f"127.0.0.1:{unused_port()}")) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        request = get("/", ONE, "Content-Length: 5").replace(b"GET", b"POST") + b"whole"
        assert (await ask(client, request))[2] == b"whole"


async def test_an_app_that_is_down_is_a_502_that_names_the_hop() -> None:
    async with (
        running(launch(unused_port())) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        status, headers, _ = await ask(client, get())
        assert (status, headers["lapdev-error"]) == (502, "connect_failed; hop=sidecar")
        assert sidecar.counters.requests["none"] == 1
        # The connection lives on.
        assert (await ask(client, get()))[0] == 502


async def test_the_next_request_finds_an_app_that_came_up_meanwhile() -> None:
    port = unused_port()
    async with running(launch(port)) as sidecar, connect(sidecar.addresses[0]) as client:
        assert (await ask(client, get()))[0] == 502
        async with recording_app(says(b"up"), port):
            assert (await ask(client, get()))[2] == b"up"


async def test_a_connection_the_app_closed_while_idle_is_replaced() -> None:
    closed = asyncio.Event()

    async def once(connection: AppConnection) -> None:
        await connection.read_head()
        connection.answer(b"%d" % connection.index)
        await connection.writer.drain()
        connection.writer.close()
        closed.set()

    async with (
        recording_app(once) as app,
        running(launch(app.port)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        for number in (b"0", b"1", b"2"):
            closed.clear()
            assert (await ask(client, get()))[2] == number
            await closed.wait()


async def test_a_get_is_repeated_when_a_kept_connection_dies_under_it_and_a_post_is_not() -> None:
    async def dies_at_the_second(connection: AppConnection) -> None:
        await connection.read_head()
        connection.answer(b"%d" % connection.index)
        await connection.read_head()
        connection.writer.transport.abort()

    async with recording_app(dies_at_the_second) as app, running(launch(app.port)) as sidecar:
        async with connect(sidecar.addresses[0]) as client:
            assert (await ask(client, get()))[2] == b"0"
            assert (await ask(client, get()))[2] == b"1"
        async with connect(sidecar.addresses[0]) as client:
            assert (await ask(client, get()))[2] == b"2"
            post = get("/", "", "Content-Length: 0").replace(b"GET", b"POST")
            status, headers, _ = await ask(client, post)
            assert (status, headers["lapdev-error"]) == (502, "upstream_closed; hop=sidecar")


async def test_a_branch_cut_off_without_an_answer_gives_a_get_to_the_base_but_no_post() -> None:
    async def cut_off(connection: AppConnection) -> None:
        await connection.read_head()
        reset(connection.writer.transport)

    async with (
        recording_app(says(b"base")) as base,
        recording_app(cut_off) as one,
        running(launch(base.port), branch(ONE, "one", one.address)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        _, headers, body = await ask(client, get("/", ONE))
        assert body == b"base"
        assert headers[BY] == "api; env=staging; via=fallback; reason=branch_upstream_closed"
        post = get("/", ONE, "Content-Length: 0").replace(b"GET", b"POST")
        assert (await ask(client, post))[0] == 502


async def test_an_app_cannot_speak_for_us_in_its_answer() -> None:
    async def passes_on(connection: AppConnection) -> None:
        await connection.read_head()
        connection.answer(
            b"x", b"Lapdev-Answered-By: someone; env=else", b"Lapdev-Error: no_route; hop=edge"
        )

    async with (
        recording_app(passes_on) as app,
        running(launch(app.port)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        _, headers, _ = await ask(client, get())
        assert headers[BY] == "api; env=staging; via=app; reason=default"
        assert "lapdev-error" not in headers


async def test_what_a_branchs_sidecar_says_of_its_failure_stands() -> None:
    async with (
        recording_app(says(b"base")) as base,
        running(launch(unused_port())) as inner,
        running(launch(base.port), branch(ONE, "one", inner.addresses[0])) as outer,
        connect(outer.addresses[0]) as client,
    ):
        status, headers, _ = await ask(client, get("/", ONE))
        assert (status, headers["lapdev-error"]) == (502, "connect_failed; hop=sidecar")


async def test_an_empty_chunked_body_is_ended_for_the_second_candidate_too() -> None:
    async def cut_off(connection: AppConnection) -> None:
        await connection.read_until(b"0\r\n\r\n")
        reset(connection.writer.transport)

    async def whole(connection: AppConnection) -> None:
        await connection.read_until(b"0\r\n\r\n")
        connection.answer(b"base")

    async with (
        recording_app(whole) as base,
        recording_app(cut_off) as one,
        running(launch(base.port), branch(ONE, "one", one.address)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        put = get("/", ONE, "Transfer-Encoding: chunked").replace(b"GET", b"PUT")
        assert (await ask(client, put + b"0\r\n\r\n"))[2] == b"base"


async def test_events_arrive_while_the_response_goes_on() -> None:
    async def events(connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        connection.send(b"data: 1\n\n")
        await connection.read_head()  # never comes: the stream stays open

    async with (
        recording_app(events) as app,
        running(launch(app.port)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.send(get())
        assert b"data: 1\n\n" in await client.read_until(b"\n\n")
        # A half-close would be a client that still listens; this one is gone.
        reset(client.writer.transport)


@pytest.mark.parametrize("environment", ["", ONE])
async def test_an_upgrade_is_relayed_with_half_close(environment: str) -> None:
    async def upgrades(connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        received = await connection.reader.read()
        connection.send(b"got " + received)

    async with (
        recording_app(upgrades) as base,
        recording_app(upgrades) as one,
        running(launch(base.port), branch(ONE, "one", one.address)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.send(get("/", environment, "Connection: Upgrade", "Upgrade: websocket"))
        head = await client.read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert ANSWERED_BY in head
        client.send(b"frames")
        client.writer.write_eof()
        assert await client.read_rest() == b"got frames"
        assert len(base.connections) == (0 if environment else 1)


async def test_a_client_that_leaves_takes_its_upstream_connections_along() -> None:
    gone = asyncio.Event()

    async def waits(connection: AppConnection) -> None:
        await connection.read_head()
        connection.answer(b"x")
        try:
            await connection.reader.read()
        finally:
            gone.set()

    async with recording_app(waits) as app, running(launch(app.port)) as sidecar:
        async with connect(sidecar.addresses[0]) as client:
            await ask(client, get())
        async with asyncio.timeout(5):
            await gone.wait()


async def test_a_thousand_interleaved_requests_over_eight_connections_are_all_right() -> None:
    async with AsyncExitStack() as stack:
        names = {"": b"base", ONE: b"one", TWO: b"two"}
        apps = {
            environment: await stack.enter_async_context(recording_app(says(name)))
            for environment, name in names.items()
        }
        rows = branch(ONE, "one", apps[ONE].address), branch(TWO, "two", apps[TWO].address)
        document = launch(apps[""].port, Protocol.UNDECLARED)
        sidecar = await stack.enter_async_context(running(document, *rows))
        order = list(names)

        async def one_connection(offset: int) -> int:
            wrong = 0
            async with connect(sidecar.addresses[0]) as client:
                for number in range(125):
                    environment = order[(number * 7 + offset) % 3]
                    _, _, body = await ask(client, get("/", environment))
                    wrong += body != names[EnvironmentId(environment)]
            return wrong

        assert sum(await asyncio.gather(*map(one_connection, range(8)))) == 0
        assert all(len(app.connections) <= 8 for app in apps.values())


async def test_a_bad_request_is_refused_and_nothing_reaches_the_app() -> None:
    async with (
        recording_app(answer_every_request) as app,
        running(launch(app.port)) as sidecar,
        connect(sidecar.addresses[0]) as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n")
        assert (await client.read_rest()).startswith(b"HTTP/1.1 400 ")
        assert heads(app) == b""
