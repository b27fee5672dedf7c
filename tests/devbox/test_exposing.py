"""The devbox's side: it dials one address, whatever it is asked for, and keeps its key."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from lapdev.devbox import exposing as module
from lapdev.devbox.app import dial_error
from lapdev.devbox.exposing import Exposer, Exposing, Reports, exposure_key
from lapdev.errors import CallFailed, ConfigError, ConnectFailed, LoginRequired, StreamRefused
from lapdev.model import ExposureId, ExposureKind
from lapdev.net.address import TcpAddress
from lapdev.net.tasks import Tasks
from lapdev.wire.control import (
    Done,
    ExposureState,
    ExposureTarget,
    Message,
    RequestSeen,
    RequestsSeen,
    ServiceTarget,
    StartExposure,
    Target,
)
from tests.support.exposing import Recorded, exposing
from tests.support.raw import PATIENCE, answer_every_request, recording_app
from tests.support.tunnel_ends import Ends, Recorder, connected, failing

ID = ExposureId("web-x")
STATE = ExposureState(ID, "http://web-x.lapdev.localhost")


async def announced(ends: Ends, exposer: Exposer) -> None:
    """The exposer has the dialling end of `ends`, whose acceptor plays the cloud."""
    ends.acceptor.watcher.answer = lambda message: STATE
    ends.tunnel._handler = exposer
    exposer.tunnel_up(ends.tunnel)
    async with asyncio.timeout(PATIENCE):
        await exposer._known.wait()


async def ask(ends: Ends, target: Target) -> bytes:
    """The answer to one request that the cloud sends to `target`."""
    recorder = Recorder()
    stream = ends.acceptor.tunnel.open_stream(target, recorder)
    stream.write(b"GET /who HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        await stream.wait_accepted()
        await recorder.wait_until(lambda seen: b"/who" in seen.data)
    stream.abort()
    return bytes(recorder.data)


async def test_the_cloud_is_told_no_address(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends, Tasks() as tasks:
        await announced(ends, Exposer(exposing(4321), tasks, Reports()))
        (told,) = ends.acceptor.watcher.calls
        assert isinstance(told, StartExposure)
        assert "4321" not in repr(told)
        assert "127.0.0.1" not in repr(told)


async def test_its_id_leads_to_the_program_and_nothing_else_does(tmp_path: Path) -> None:
    async with (
        recording_app(answer_every_request) as app,
        connected(tmp_path) as ends,
        Tasks() as tasks,
    ):
        await announced(ends, Exposer(exposing(app.port), tasks, Reports()))
        assert b"GET /who" in await ask(ends, ExposureTarget(ID))
        for other in (ExposureTarget(ExposureId("y")), ServiceTarget("ns", "127.0.0.1", app.port)):
            with pytest.raises(StreamRefused, match="does not expose that"):
                await ask(ends, other)
        assert len(app.connections) == 1


async def test_localhost_is_either_loopback_address(tmp_path: Path) -> None:
    async with (
        recording_app(answer_every_request) as app,
        connected(tmp_path) as ends,
        Tasks() as tasks,
    ):
        wanted = Exposing(TcpAddress("localhost", app.port), ExposureKind.HTTP, "web", "a" * 64)
        await announced(ends, Exposer(wanted, tasks, Reports()))
        assert b"GET /who" in await ask(ends, ExposureTarget(ID))


async def test_a_program_that_is_not_there_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOKING_INTERVAL", 0.01)
    async with recording_app(answer_every_request) as app:
        port = app.port
    async with connected(tmp_path) as ends, Tasks() as tasks:
        reports = Recorded()
        exposer = Exposer(exposing(port), tasks, reports)
        await announced(ends, exposer)
        await exposer.look()
        with pytest.raises(StreamRefused, match="does not run") as caught:
            await ask(ends, ExposureTarget(ID))
        assert caught.value.cause == ConnectFailed.cause
        async with recording_app(answer_every_request, port):
            await reports.wait_for("target_found")
            assert b"GET /who" in await ask(ends, ExposureTarget(ID))
        assert reports.events == ["exposed", "target_lost", "target_found"]


async def test_a_first_refusal_ends_it_and_a_later_one_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANNOUNCE_AGAIN", 0.01)
    async with connected(tmp_path) as ends, Tasks() as tasks:
        first = Exposer(exposing(1), tasks, Reports())
        ends.acceptor.watcher.answer = failing(ConfigError("no ports here"))
        first.tunnel_up(ends.tunnel)
        assert isinstance(await first.failed, CallFailed)

        reports = Recorded()
        second = Exposer(exposing(1), tasks, reports)
        await announced(ends, second)
        ends.acceptor.watcher.answer = failing(ConfigError("not now"))
        second.tunnel_up(ends.tunnel)
        await reports.wait_for("disconnected", 2)
        ends.acceptor.watcher.answer = lambda message: STATE
        await reports.wait_for("exposed", 2)
        assert not second.failed.done()


async def test_a_refused_token_ends_it_and_an_unreachable_cloud_does_not() -> None:
    async with Tasks() as tasks:
        reports = Recorded()
        exposer = Exposer(exposing(1), tasks, reports)
        exposer.dial_failed(ConnectFailed("nobody there"))
        assert (reports.events, exposer.failed.done()) == (["disconnected"], False)
        exposer.dial_failed(LoginRequired("no such token"))
        exposer.dial_failed(LoginRequired("again"))
        assert str(await exposer.failed) == "no such token"


async def test_a_setting_that_cannot_be_used_ends_it_only_before_it_ever_worked(
    tmp_path: Path,
) -> None:
    wrong = dial_error(ConfigError("ca_file x: No such file"), "https://cloud")
    async with connected(tmp_path) as ends, Tasks() as tasks:
        first = Exposer(exposing(1), tasks, Reports())
        first.dial_failed(wrong)
        assert (await first.failed).detail == "ca_file x: No such file"
        reports = Recorded()
        second = Exposer(exposing(1), tasks, reports)
        await announced(ends, second)
        second.dial_failed(wrong)
        assert (reports.events[-1], second.failed.done()) == ("disconnected", False)


async def test_what_visitors_did_is_reported_and_other_calls_are_refused(tmp_path: Path) -> None:
    async with connected(tmp_path) as ends, Tasks() as tasks:
        reports = Recorded()
        exposer = Exposer(exposing(1), tasks, reports)
        await announced(ends, exposer)
        seen = RequestSeen("GET", "/", 200, 1.0)
        assert await ends.acceptor.tunnel.call(RequestsSeen(ID, (seen,))) == Done()
        assert reports.seen == [seen]
        with pytest.raises(CallFailed, match="takes no Done"):
            await ends.acceptor.tunnel.call(Done())


async def test_the_end_is_told_and_a_cloud_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "END_TIMEOUT", 0.01)
    async with connected(tmp_path) as ends, Tasks() as tasks:
        exposer = Exposer(exposing(1), tasks, Reports())
        await exposer.end()  # nothing was announced
        await announced(ends, exposer)
        said: list[Message] = ends.acceptor.watcher.calls
        ends.acceptor.watcher.gate.clear()
        await exposer.end()
        await ends.acceptor.watcher.wait_until(lambda watcher: len(said) == 2)
        assert type(said[-1]).__name__ == "EndExposure"


async def test_what_was_asked_for_is_ended_though_its_answer_was_still_to_come(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as ends, Tasks() as tasks:
        exposer = Exposer(exposing(1), tasks, Reports())
        said: list[Message] = ends.acceptor.watcher.calls
        ends.acceptor.watcher.answer = lambda message: STATE
        ends.acceptor.watcher.gate.clear()
        ends.tunnel._handler = exposer
        exposer.tunnel_up(ends.tunnel)
        await ends.acceptor.watcher.wait_until(lambda watcher: len(said) == 1)
        ending = tasks.spawn(exposer.end(), "end")
        assert exposer.state is None
        ends.acceptor.watcher.gate.set()
        await ending
        assert type(said[-1]).__name__ == "EndExposure"


def test_a_key_is_this_machines_and_the_things_own(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    key = exposure_key(here, ExposureKind.HTTP, "web")
    assert exposure_key(here, ExposureKind.HTTP, "web") == key
    others = {
        exposure_key(here, ExposureKind.TCP, "web"),
        exposure_key(here, ExposureKind.HTTP, "api"),
        exposure_key(there, ExposureKind.HTTP, "web"),
    }
    assert len(others | {key}) == 4
    assert stat.S_IMODE((here / "expose-key").stat().st_mode) == 0o600
    assert (here / "expose-key").read_text().strip() not in {key, *others}
