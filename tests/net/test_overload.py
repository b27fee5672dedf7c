"""F20: past its limits a process turns requests away instead of being killed with all it serves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import structlog

from lapdev.errors import Overloaded
from lapdev.net import overload as module
from lapdev.net.exchange import Exchange
from lapdev.net.http_server import HttpServer
from lapdev.net.overload import Overload, Pressure, of_this_process, resident_bytes, watched
from tests.support.raw import RawClient, connect, listening

MIB = 2**20
LIMIT = 100 * MIB


class Measured:
    used = 0

    def __call__(self) -> int:
        return self.used


@pytest.mark.parametrize(
    ("used", "pressure"),
    [
        (0, Pressure.NONE),
        (80 * MIB, Pressure.NONE),
        (80 * MIB + 1, Pressure.PRESSED),
        (90 * MIB, Pressure.PRESSED),
        (90 * MIB + 1, Pressure.OVERLOADED),
        (LIMIT * 2, Pressure.OVERLOADED),
    ],
)
def test_f20_memory_decides_at_80_and_90_percent(used: int, pressure: Pressure) -> None:
    overload = Overload(LIMIT, lambda: used)
    overload.look()
    assert overload.pressure is pressure


def test_without_a_limit_memory_decides_nothing() -> None:
    overload = Overload(0, lambda: LIMIT)
    overload.look()
    assert overload.pressure is Pressure.NONE


def test_a_loop_that_is_late_for_a_second_counts_as_pressed() -> None:
    overload = Overload(0, lambda: 0)
    for _ in range(3):
        overload.look(0.3)
    assert overload.pressure is Pressure.NONE, "a single hiccup is none"
    overload.look(0.3)
    assert overload.pressure is Pressure.PRESSED
    overload.look(0.1)
    assert overload.pressure is Pressure.NONE


def test_f20_what_is_free_is_given_back_before_anybody_is_turned_away_and_not_all_the_time() -> (
    None
):
    measured, given = Measured(), []

    def give_back() -> None:
        given.append(measured.used)
        measured.used = min(measured.used, 50 * MIB)

    overload = Overload(LIMIT, measured, give_back)
    measured.used = 79 * MIB
    overload.look()
    assert not given
    measured.used = 95 * MIB
    overload.look()
    assert given == [95 * MIB]
    assert overload.pressure is Pressure.NONE
    for _ in range(7):
        measured.used = 95 * MIB
        overload.look()
        assert overload.pressure is Pressure.OVERLOADED
    assert len(given) == 1
    overload.look()
    assert overload.pressure is Pressure.NONE


def test_what_a_crowd_has_needed_is_given_back_when_it_has_gone() -> None:
    measured, given = Measured(), []
    back = 0

    def give_back() -> None:
        given.append(looks)
        measured.used -= back

    overload = Overload(0, measured, give_back)
    for looks in range(700):
        measured.used = (50 if looks == 0 else 58 if looks < 10 else 90) * MIB
        back = 20 * MIB if looks > 300 else 0
        overload.look()
    # Not for 8 MiB; ever less often while it gives nothing; every ten seconds while it does.
    assert given == [10, 90, 250, 570, 610, 650, 690]


def test_what_is_freed_after_many_vain_tries_is_given_back_soon() -> None:
    measured, given, free = Measured(), [], 0
    overload = Overload(0, measured, lambda: given.append(looks), lambda: free)
    for looks in range(700):
        measured.used = (50 if looks == 0 else 90) * MIB
        free = (5 if looks < 400 else 30) * MIB
        overload.look()
    assert given == [1, 81, 241, 400, 480, 640]


def test_this_process_knows_what_it_has_freed() -> None:
    free = module._allocator_has_free()
    pieces = [bytearray(600) for _ in range(100_000)]
    last = pieces.pop()
    before = free()
    pieces.clear()
    assert free() > before + 30 * MIB
    assert last


def test_this_process_gives_back_what_it_has_freed() -> None:
    # Small pieces, with one at the end that keeps the heap from shrinking by itself.
    pieces = [bytearray(600) for _ in range(100_000)]
    last = pieces.pop()
    pieces.clear()
    before = resident_bytes()
    module._allocator_gives_back()()
    assert resident_bytes() < before - 30 * MIB
    assert last


def test_each_change_is_one_line_in_the_log() -> None:
    measured = Measured()
    overload = Overload(LIMIT, measured)
    with structlog.testing.capture_logs() as logs:
        for used in (10, 85, 86, 95, 99, 10, 10):
            measured.used = used * MIB
            overload.look()
    said = [line["status"] for line in logs if line["event"] == "pressure_changed"]
    assert said == ["pressed", "overloaded", "none"]


@asynccontextmanager
async def guarded(overload: Overload) -> AsyncIterator[RawClient]:
    def handle(exchange: Exchange) -> None:
        exchange.respond(200, [], b"served")

    server = HttpServer(overload.guard(handle, "edge"))
    async with listening(server.connection) as port, connect(port) as client:
        yield client
    await server.aclose()


def request(path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


async def test_f20_pressed_a_connection_ends_with_its_answer() -> None:
    overload = Overload(LIMIT, lambda: 85 * MIB)
    overload.look()
    async with guarded(overload) as client:
        client.send(request())
        status, headers, body = await client.response()
        assert (status, headers["connection"], body) == (200, "close", b"served")
        assert await client.read_rest() == b""
    assert overload.turned_away == 0


@pytest.mark.parametrize("used", [85 * MIB, 95 * MIB])
async def test_f20_a_tunnel_is_let_in_until_it_says_whether_it_begins_a_session(used: int) -> None:
    overload = Overload(LIMIT, lambda: used)
    overload.look()
    async with guarded(overload) as client:
        client.send(request("/_lapdev/tunnel/manager"))
        status, headers, _ = await client.response()
        assert (status, "connection" in headers) == (200, False)


@pytest.mark.parametrize(
    ("used", "admitted", "session"), [(10, True, True), (85, True, False), (95, False, False)]
)
def test_f20_what_stays_is_refused_before_what_is_over_soon(
    used: int, admitted: bool, session: bool
) -> None:
    overload = Overload(LIMIT, lambda: used * MIB)
    overload.look()
    for admit, wanted in ((overload.admit, admitted), (overload.admit_session, session)):
        with contextlib.nullcontext() if wanted else pytest.raises(Overloaded):
            admit()
    assert overload.turned_away == 2 - admitted - session


async def test_f20_overloaded_requests_are_503_with_retry_after_until_it_is_over() -> None:
    measured = Measured()
    overload = Overload(LIMIT, measured)
    measured.used = 95 * MIB
    overload.look()
    async with guarded(overload) as client:
        client.send(request())
        status, headers, _ = await client.response()
        assert status == 503
        assert int(headers["retry-after"]) > 0
        assert headers["connection"] == "close"
    measured.used = 50 * MIB
    overload.look()
    async with guarded(overload) as client:
        for _ in range(2):
            client.send(request())
            assert (await client.response())[0] == 200
    values = {metric.name: metric.samples for metric in overload.metrics()}
    assert set(values) == {"lapdev_pressure", "lapdev_turned_away_total"}


async def test_a_watched_process_is_looked_at_again_and_again() -> None:
    looks = 0
    enough = asyncio.Event()

    def used() -> int:
        nonlocal looks
        looks += 1
        if looks == 3:
            enough.set()
        return 95 * MIB

    async with watched(Overload(LIMIT, used)) as overload:
        await enough.wait()
        assert overload.pressure is Pressure.OVERLOADED


def test_this_process_knows_its_own_memory() -> None:
    overload = of_this_process()
    overload.look()
    assert 10 * MIB < resident_bytes() < 10_000 * MIB
