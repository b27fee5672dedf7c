"""Bad inputs against the whole path: refused, or the same to every reader. Nothing in between."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e_path.bad_inputs import CHUNKED, REFUSED, fields
from tests.support.raw import connect
from tests.support.recording import MODES, Seen, Stage, pieces, read, send, whole_path

REFUSALS = {400, 405, 413, 414, 417, 421, 426, 431, 501, 505}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mode", MODES)
async def test_an_input_is_refused_or_is_the_same_to_every_reader(
    tmp_path: Path, mode: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with whole_path(tmp_path) as stage:
        assert await _not_refused(stage, mode) == {}
        await _check_normalised(stage, mode)
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said
    assert "_failed" not in said


async def _not_refused(stage: Stage, mode: str) -> dict[str, str]:
    """What should have been refused with no request at the app, and what happened instead."""
    failures: dict[str, str] = {}
    behind = mode == "behind a GET"
    for name, raw in REFUSED.items():
        stage.backend.forget()
        data = raw.replace(b"HOST", stage.host.encode())
        if mode in ("bytes", "lines") and len(data) > 3_000:
            continue  # the limits hold for single bytes, too: tests/wire/http1
        writes = pieces(data, mode, stage.get("/valid"))
        outcome = await send(stage, writes, 2 if behind else 1, closing=True)
        wrong = _why_not_refused(outcome.statuses, outcome.fields, outcome.closed, behind)
        if len(stage.backend.seen) != behind or stage.backend.broken:
            wrong += f" the app saw {stage.backend.seen} {stage.backend.broken}"
        if wrong:
            failures[name] = wrong
    return failures


def _why_not_refused(
    statuses: list[int], answer: dict[str, str], closed: bool, behind: bool
) -> str:
    wanted = 2 if behind else 1
    if len(statuses) != wanted or statuses[-1] not in REFUSALS or (behind and statuses[0] != 200):
        return f"answered {statuses}"
    if answer.get("connection") != "close":
        return "no Connection: close"
    return "" if closed else "not closed"


def one(stage: Stage) -> Seen:
    """The one request the app saw."""
    [seen] = stage.backend.seen
    assert not stage.backend.broken
    return seen


NORMALISED = {
    # input → body the app sees
    "a length": (fields(b"Content-Length: 5", body=b"hello"), b"hello"),
    "row 3, one line": (fields(b"Content-Length: 0"), b""),
    "row 5, letter case": (
        fields(b"Transfer-Encoding: CHUNKED", body=b"5\r\nhello\r\n0\r\n\r\n"),
        b"hello",
    ),
    "row 19": (CHUNKED + b"1\r\nx\r\n" * 300 + b"0\r\n\r\n", b"x" * 300),
    "row 20": (
        CHUNKED + b"1\r\nx\r\n0\r\nAuthorization: a\r\ntracestate: lapdev-env-id=b\r\n\r\n",
        b"x",
    ),
    "row 23": (
        b"GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 10\r\n\r\n0123456789",
        b"0123456789",
    ),
    "row 25": (
        b"GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        b"",
    ),
    "row 27": (
        b"GET / HTTP/1.1\r\nHost: HOST\r\n"
        b"Connection: X-Forwarded-For, Authorization, tracestate, lapdev-diverted\r\n"
        b"Authorization: mine\r\n\r\n",
        b"",
    ),
    "row 32": (b"GET / HTTP/1.1\r\nHost: HOST.:443\r\n\r\n", b""),
    "row 33": (b"GET http://HOST/ HTTP/1.1\r\nHost: other.example\r\n\r\n", b""),
    "row 38": (
        b"GET / HTTP/1.1\r\nHost: HOST\r\nX-Forwarded-For: evil\r\nForwarded: for=evil\r\n"
        b"X_Forwarded_For: evil\r\nX-Real-IP: evil\r\nLapdev-Diverted: evil\r\n\r\n",
        b"",
    ),
    "row 77": (
        b"GET / HTTP/1.1\r\nHost: HOST\r\ntracestate: "
        + b",".join(b"k%d=evil" % n for n in range(40))
        + b",lapdev-env-id=evil\r\n\r\n",
        b"",
    ),
}


async def _check_normalised(stage: Stage, mode: str) -> None:
    for name, (raw, body) in NORMALISED.items():
        stage.backend.forget()
        data = raw.replace(b"HOST", stage.host.encode())
        count = 2 if mode.endswith("GET") else 1
        writes = pieces(data, mode, stage.get("/valid"))
        outcome = await send(stage, writes, count, closing=False)
        assert outcome.statuses == [200] * count, name
        assert not stage.backend.broken, name
        seen = [request for request in stage.backend.seen if request.target != b"/valid"]
        assert [request.body for request in seen] == [body], name
        _check_stamped(stage, seen[0], name)


def _check_stamped(stage: Stage, seen: Seen, name: str) -> None:
    framing = seen.values(b"content-length") + seen.values(b"transfer-encoding")
    assert len(framing) <= 1, name
    [host] = seen.values(b"host")
    assert host.lower().startswith(stage.host.encode()), name
    assert seen.values(b"x-forwarded-for") == [b"127.0.0.1"], name
    for gone in (
        b"upgrade",
        b"http2-settings",
        b"x_forwarded_for",
        b"x-real-ip",
        b"lapdev-diverted",
    ):
        assert seen.values(gone) == [], name
    members = b",".join(seen.values(b"tracestate"))
    assert b"lapdev-env-id" not in members, name
    if name == "row 27":
        assert seen.values(b"authorization") == [b"mine"]
    if name == "row 77":
        assert members.count(b"evil") == 40  # another's list is another's business


async def a_branch_is_stamped_in_front_of_at_most_31_others(stage: Stage) -> None:
    """Rows 76 and 77."""
    others = ",".join(f"k{number}=v" for number in range(40))
    forged = f"tracestate: lapdev-env-id=aaaaaaaaaaaaaaaa,{others}"
    request = f"GET / HTTP/1.1\r\nHost: {stage.branch_host}\r\n{forged}\r\n\r\n"
    await send(stage, [request.encode()], 1, closing=False)
    [line] = one(stage).values(b"tracestate")
    members = line.split(b",")
    assert members[0] == b"lapdev-env-id=" + stage.branch.encode()
    assert len(members) == 32
    assert b"aaaaaaaaaaaaaaaa" not in line


async def a_cut_body_never_looks_whole_to_the_app(stage: Stage) -> None:
    """Row 21."""
    for cut in (fields(b"Content-Length: 10", body=b"half!"), CHUNKED + b"5\r\nhalf!\r\n"):
        async with connect(stage.port) as client:
            client.send(cut.replace(b"HOST", stage.host.encode()))
            client.writer.write_eof()
            outcome = await read(client, 1, closing=True)
        assert set(outcome.statuses) <= REFUSALS
        assert outcome.closed
        assert stage.backend.seen == []


async def after_connection_close_nothing_is_read(stage: Stage) -> None:
    """Row 28."""
    data = stage.get().replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    for surplus in (b"\x00\r\n garbage", stage.get("/smuggled")):
        stage.backend.forget()
        outcome = await send(stage, [data + surplus], 1, closing=True)
        assert (outcome.statuses, outcome.closed) == ([200], True)
        assert one(stage).target == b"/"


BROKEN_ANSWERS = {
    "length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "length foo": b"HTTP/1.1 200 OK\r\nContent-Length: foo\r\n\r\nx",
    "both": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: zip\r\n\r\n",
    "status 20": b"HTTP/1.1 20 OK\r\n\r\n",
    "status 2000": b"HTTP/1.1 2000 OK\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nX: a\n\n",
    "64 KiB": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 65_536 + b"\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "endless 1xx": b"HTTP/1.1 102 Processing\r\n\r\n" * 100,
    "no answer": b" ",
}


async def an_answer_that_is_not_http_is_502_and_the_next_one_is_whole(stage: Stage) -> None:
    """Row 29."""
    async with connect(stage.port) as client:
        for name, answer in BROKEN_ANSWERS.items():
            stage.backend.forget()
            stage.backend.answer = answer
            client.send(stage.get())
            assert (await client.response())[0] == 502, name
            stage.backend.forget()
            client.send(stage.get())
            assert (await client.response())[0] == 200, name


CUT_ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf!\r\n",
)


async def a_cut_answer_is_an_error_to_the_client(stage: Stage) -> None:
    """Row 30."""
    for answer in CUT_ANSWERS:
        stage.backend.forget()
        stage.backend.answer = answer
        async with connect(stage.port) as client:
            client.send(stage.get())
            await client.read_until(b"\r\n\r\n")
            rest = await client.read_rest()
        assert b"0\r\n\r\n" not in rest
        assert len(rest) < 100


async def what_came_with_an_upgrade_waits_for_the_answer(stage: Stage) -> None:
    """Rows 24 and 43: without a 101 it is the next request, routed by its own host."""
    asking = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\n"
    async with connect(stage.port) as client:
        first = stage.get().replace(b"\r\n\r\n", f"\r\n{asking}\r\n".encode())
        client.send(first + stage.get("/admin").replace(stage.host.encode(), b"evil.example"))
        assert (await client.response())[0] == 200  # as the app answers
        assert (await client.response())[0] == 404
        assert one(stage).values(b"upgrade") == [b"websocket"]


async def an_upgrade_leads_through_in_both_directions(stage: Stage) -> None:
    async with connect(stage.port) as client:
        stage.backend.answer = (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello"
        )
        asking = b"\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
        client.send(stage.get().replace(b"\r\n\r\n", asking) + b"early")
        assert (await client.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await client.read_exactly(5) == b"hello"
        client.writer.write_eof()
        assert await client.read_rest() == b""


async def a_head_or_a_body_that_never_ends_reaches_no_app(stage: Stage) -> None:
    async with connect(stage.port) as client:
        client.send(stage.get()[:-2])
        await asyncio.sleep(0.05)
        client.writer.transport.abort()
        assert stage.backend.seen == []


CHECKS = (
    a_branch_is_stamped_in_front_of_at_most_31_others,
    a_cut_body_never_looks_whole_to_the_app,
    after_connection_close_nothing_is_read,
    an_answer_that_is_not_http_is_502_and_the_next_one_is_whole,
    a_cut_answer_is_an_error_to_the_client,
    what_came_with_an_upgrade_waits_for_the_answer,
    an_upgrade_leads_through_in_both_directions,
    a_head_or_a_body_that_never_ends_reaches_no_app,
)


async def test_connections_that_end_or_switch_in_odd_places(tmp_path: Path) -> None:
    async with whole_path(tmp_path) as stage:
        for check in CHECKS:
            stage.backend.forget()
            await check(stage)
