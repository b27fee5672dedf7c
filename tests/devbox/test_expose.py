"""`lapdev expose`: what it takes and what it prints."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from lapdev.devbox.expose import (
    MOST_WAITING,
    JsonLines,
    Shown,
    expose,
    printable,
    request_line,
    target_address,
)
from lapdev.errors import ConfigError
from lapdev.model import ExposureId, ExposureKind
from lapdev.net.address import TcpAddress
from lapdev.net.tasks import Tasks
from lapdev.wire.control import ExposureState, RequestSeen
from tests.support.exposing import exposing

NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)
STATE = ExposureState(ExposureId("web-x"), "http://web-x.lapdev.localhost:8080")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("3000", TcpAddress("localhost", 3000)),
        (":3000", TcpAddress("localhost", 3000)),
        ("127.0.0.1:80", TcpAddress("127.0.0.1", 80)),
        ("[::1]:80", TcpAddress("::1", 80)),
        ("db.internal:5432", TcpAddress("db.internal", 5432)),
    ],
)
def test_a_target_is_a_port_or_a_host_and_a_port(text: str, address: TcpAddress) -> None:
    assert target_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "web", "web:", "0", "70000", "http://web:80", "unix:/x", "fd:3", "a b:1"]
)
def test_any_other_target_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        target_address(text)
    assert "lapdev expose 3000" in caught.value.hint


def test_a_port_of_the_cloud_goes_with_raw_ones_only() -> None:
    done = CliRunner().invoke(expose, ["3000", "--port", "20000"])
    assert done.exit_code == 2
    assert "--port goes with --tcp" in done.output
    done = CliRunner().invoke(expose, ["3000", "--tcp", "--udp"])
    assert (done.exit_code, "two exposures" in done.output) == (2, True)


def test_the_address_alone_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown(exposing(3000), terminal=False)
    shown.target_lost("nothing listens there")
    shown.exposed(STATE)
    shown.disconnected("gone", "look there")
    shown.disconnected("gone", "look there")
    shown.exposed(STATE)
    shown.target_found()
    out, err = capsys.readouterr()
    assert out == "http://web-x.lapdev.localhost:8080\n"
    assert err.splitlines() == [
        "127.0.0.1:3000: nothing listens there; visitors are told so on a page meanwhile",
        "not connected: gone; trying again (look there)",
        "connected again",
        "127.0.0.1:3000 answers",
    ]


def test_a_terminal_is_told_where_it_leads_and_who_came(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown(exposing(3000, ExposureKind.TCP), terminal=True)
    shown.exposed(ExposureState(STATE.id, "tcp://127.0.0.1:20000", "port 20000 is taken"))
    shown.target_lost("nothing listens there")
    shown.requests((RequestSeen("STREAM", "", 0, 12.0, 3, 4),), 5)
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "tcp://127.0.0.1:20000"
    assert "connection  3 bytes in, 4 out  12 ms" in out
    assert "and 5 more" in out
    assert "It leads to 127.0.0.1:3000. Ctrl-C ends it." in err
    assert "nobody can reach it: port 20000 is taken" in err
    assert "visitors are cut off" in err


@pytest.mark.parametrize(
    ("request_seen", "line"),
    [
        (RequestSeen("GET", "/a", 200, 3.4), "12:00:00  200  GET     /a  3 ms"),
        (
            RequestSeen("POST", "/a", 502, 20_000, error="connect_failed"),
            "12:00:00  502  POST    /a  20 s  (connect_failed)",
        ),
        (
            RequestSeen("GET", "/\x1b[2J", 0, 1, error="downstream_closed"),
            "12:00:00  ---  GET     /?[2J  1 ms  (downstream_closed)",
        ),
        (
            RequestSeen("STREAM", "", 0, 1234, 1_000, 2),
            "12:00:00  connection  1,000 bytes in, 2 out  1234 ms",
        ),
    ],
)
def test_one_exchange_is_one_line(request_seen: RequestSeen, line: str) -> None:
    assert request_line(request_seen, NOON) == line


def test_a_strangers_text_cannot_steer_a_terminal() -> None:
    assert printable("a\r\n\x1b]0;x\x07\x9b31mü") == "a???]0;x??31mü"


def test_with_json_everything_is_an_object_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = JsonLines()
    lines.exposed(STATE)
    lines.disconnected("gone")
    lines.target_lost("nothing listens there")
    lines.target_found()
    lines.requests((RequestSeen("GET", "/", 200, 1.0),), 2)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in found] == [
        "exposed",
        "disconnected",
        "target_lost",
        "target_found",
        "request",
        "requests_left_out",
    ]
    assert found[0]["url"] == STATE.url
    assert found[4]["status"] == 200


@pytest.mark.parametrize(
    ("error", "ends"),
    [(BrokenPipeError(errno.EPIPE, "Broken pipe"), True), (OSError(errno.ENOSPC, "full"), False)],
)
def test_it_ends_when_nobody_reads_and_goes_on_when_the_disk_is_full(
    error: OSError, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(text: str, err: bool) -> None:
        raise error

    monkeypatch.setattr("click.echo", failing)
    for reports in (JsonLines(), Shown(exposing(3000), terminal=True)):
        told: list[bool] = []
        reports.on_unheard = lambda told=told: told.append(True)  # type: ignore[misc]
        reports.exposed(STATE)
        assert (reports.unheard, bool(told)) == (ends, ends)


async def test_who_reads_slowly_holds_nothing_up_and_misses_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w", encoding="utf-8") as writer:
        monkeypatch.setattr("sys.stdout", writer)
        lines = JsonLines()
        seen = RequestSeen("GET", "/" + "x" * 255, 200, 1.0)
        for _ in range(3 * MOST_WAITING):
            lines.requests((seen,), 0)  # far more than a pipe holds, and it does not block
        async with asyncio.timeout(20), Tasks() as tasks:
            tasks.spawn(lines.keep_printing(), "print what waits")
            for _ in range(MOST_WAITING):
                line = await asyncio.to_thread(reader.readline)
                assert json.loads(line)["event"] == "request"
        monkeypatch.undo()
