"""Exposures through a running cloud: visitors reach the one address, and nobody takes it over."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from lapdev.cloud import exposures
from lapdev.errors import CallFailed, StreamRefused
from lapdev.model import Exposure, ExposureId, ExposureKind
from lapdev.net.tasks import Tasks, spawn
from lapdev.store import Store, no_tcp_ports
from lapdev.store import exposures as stored
from lapdev.wire.control import EndExposure, ExposureTarget, StartExposure
from tests.cloud.test_tcp_previews import free_ports, reverse
from tests.support.exposing import KEY, exposing, exposing_devbox
from tests.support.raw import (
    AppConnection,
    answer_every_request,
    connect,
    recording_app,
)
from tests.support.running_cloud import DOMAIN, StandInLaptop, connected, running_cloud


async def test_a_visitor_reaches_the_program_and_its_owner_sees_it(tmp_path: Path) -> None:
    async with (
        recording_app(answer_every_request) as app,
        running_cloud(tmp_path) as cloud,
        exposing_devbox(cloud, exposing(app.port)) as devbox,
    ):
        assert devbox.state.url.startswith(f"http://{devbox.host}:")
        assert (await devbox.get(cloud, "/hello?secret=1")).text == "GET /hello?secret=1 HTTP/1.1"
        head = bytes(app.connections[0]).lower()
        assert b"host: " + devbox.host.encode() in head
        assert b"x-forwarded-for" in head
        await devbox.reports.wait_for("requests")
        (seen,) = devbox.reports.seen
        assert (seen.method, seen.path, seen.status) == ("GET", "/hello", 200)


async def test_what_only_the_edge_may_say_does_not_come_from_outside(tmp_path: Path) -> None:
    async with (
        recording_app(answer_every_request) as app,
        running_cloud(tmp_path) as cloud,
        exposing_devbox(cloud, exposing(app.port)) as devbox,
    ):
        claims = {"x-forwarded-for": "6.6.6.6", "tracestate": "lapdev-env-id=abc"}
        await cloud.api.get("/", headers=claims | {"host": devbox.host})
        head = bytes(app.connections[0]).lower()
        assert b"6.6.6.6" not in head
        assert b"lapdev-env-id" not in head


async def test_nothing_listens_yet_and_then_something_does(tmp_path: Path) -> None:
    async with recording_app(answer_every_request) as app:
        port = app.port
    async with (
        running_cloud(tmp_path) as cloud,
        exposing_devbox(cloud, exposing(port)) as devbox,
    ):
        answer = await devbox.get(cloud)
        assert (answer.status_code, answer.headers["lapdev-error"]) == (
            502,
            "connect_failed; hop=edge",
        )
        error = answer.json()["error"]
        assert "has to start it" in error["hint"]
        assert str(port) not in error["detail"]
        assert devbox.reports.events.count("target_lost") == 1
        async with recording_app(answer_every_request, port):
            assert (await devbox.get(cloud)).status_code == 200


async def test_a_program_that_hangs_up_is_not_called_one_that_does_not_run(tmp_path: Path) -> None:
    async def hang_up(connection: AppConnection) -> None:
        await connection.read_head()
        connection.writer.transport.abort()

    async with (
        recording_app(hang_up) as app,
        running_cloud(tmp_path) as cloud,
        exposing_devbox(cloud, exposing(app.port)) as devbox,
    ):
        answer = await devbox.get(cloud)
        assert (answer.status_code, answer.json()["error"]["cause"]) == (502, "upstream_closed")
        assert "start it" not in answer.json()["error"]["hint"]


async def test_a_websocket_reaches_the_program(tmp_path: Path) -> None:
    async def switch(connection: AppConnection) -> None:
        await connection.read_head()
        connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
        )
        connection.send(await connection.read_exactly(5))

    async with (
        recording_app(switch) as app,
        running_cloud(tmp_path) as cloud,
        exposing_devbox(cloud, exposing(app.port)) as devbox,
        connect(devbox.port) as client,
    ):
        client.send(
            f"GET / HTTP/1.1\r\nhost: {devbox.host}\r\n"
            "connection: upgrade\r\nupgrade: echo\r\n\r\n".encode()
        )
        assert b" 101 " in await client.read_until(b"\r\n\r\n")
        client.send(b"hello")
        assert await client.read_exactly(5) == b"hello"


async def test_raw_bytes_go_both_ways_and_half_close_crosses(tmp_path: Path) -> None:
    ports = free_ports(2)
    async with (
        recording_app(reverse) as app,
        running_cloud(tmp_path, str(ports)) as cloud,
        exposing_devbox(cloud, exposing(app.port, ExposureKind.TCP)) as devbox,
    ):
        assert devbox.port in ports
        async with connect(devbox.port) as client:
            client.send(b"abc" * 100_000)
            client.writer.write_eof()
            assert await client.read_rest() == b"cba" * 100_000
        await devbox.reports.wait_for("requests")
        (seen,) = devbox.reports.seen
        assert (seen.method, seen.bytes_in, seen.bytes_out) == ("STREAM", 300_000, 300_000)


async def test_a_raw_one_without_a_program_resets_its_visitors(tmp_path: Path) -> None:
    ports = free_ports(1)
    async with (
        running_cloud(tmp_path, str(ports)) as cloud,
        exposing_devbox(cloud, exposing(1, ExposureKind.TCP)) as devbox,
        connect(devbox.port) as client,
    ):
        with pytest.raises(ConnectionResetError):
            await client.reader.read()


async def test_name_and_port_survive_a_restart_of_the_cloud(tmp_path: Path) -> None:
    ports = free_ports(3)
    async with recording_app(answer_every_request) as app:
        urls = []
        for _ in range(2):
            async with (
                running_cloud(tmp_path, str(ports)) as cloud,
                exposing_devbox(cloud, exposing(app.port)) as http,
                exposing_devbox(cloud, exposing(app.port, ExposureKind.TCP, key="c" * 64)) as raw,
            ):
                urls.append((http.state.id, raw.state.url))
        assert urls[0] == urls[1]
        async with running_cloud(tmp_path, str(ports)) as cloud:
            answer = await cloud.api.get("/", headers={"host": f"{urls[0][0]}.{DOMAIN}"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_a_request_in_a_gap_is_held_until_the_devbox_is_back(tmp_path: Path) -> None:
    async with (
        recording_app(answer_every_request) as app,
        running_cloud(tmp_path) as cloud,
    ):
        async with exposing_devbox(cloud, exposing(app.port)) as devbox:
            host = devbox.host
        asking = spawn(cloud.api.get("/", headers={"host": host}), "a visitor")
        await cloud.ok("GET", "/clusters")  # by now it is waiting
        async with exposing_devbox(cloud, exposing(app.port)):
            assert (await asking).status_code == 200


async def test_a_second_connection_of_the_devbox_serves_in_place_of_the_first(
    tmp_path: Path,
) -> None:
    async with (
        recording_app(answer_every_request) as old,
        recording_app(answer_every_request) as new,
        running_cloud(tmp_path) as cloud,
        exposing_devbox(cloud, exposing(old.port)) as first,
    ):
        async with exposing_devbox(cloud, exposing(new.port)) as second:
            assert second.state == first.state
            assert (await first.get(cloud)).status_code == 200
            assert (len(old.connections), len(new.connections)) == (0, 1)
            await second.exposer.end()
        assert (await first.get(cloud)).status_code == 200
        assert len(old.connections) == 1


async def test_what_is_ended_leads_nowhere_and_its_port_is_closed(tmp_path: Path) -> None:
    ports = free_ports(1)
    async with (
        recording_app(reverse) as app,
        running_cloud(tmp_path, str(ports)) as cloud,
        exposing_devbox(cloud, exposing(app.port)) as http,
    ):
        async with exposing_devbox(
            cloud, exposing(app.port, ExposureKind.TCP, key="c" * 64)
        ) as raw:
            await raw.exposer.end()
            with pytest.raises(ConnectionRefusedError):
                async with connect(raw.port):
                    """Nobody is there any more."""
        await http.exposer.end()
        assert (await http.get(cloud)).status_code == 404


async def test_another_key_cannot_have_the_name_nor_end_it(tmp_path: Path) -> None:
    async with (
        recording_app(answer_every_request) as app,
        running_cloud(tmp_path) as cloud,
        exposing_devbox(cloud, exposing(app.port)) as devbox,
        exposing_devbox(cloud, exposing(1, key="d" * 64)) as stranger,
    ):
        assert stranger.state.id != devbox.state.id
        assert stranger.exposer.state is not None
        stranger.exposer.state = devbox.state
        tunnel = stranger.uplink.tunnel
        assert tunnel is not None
        with pytest.raises(CallFailed, match="exposes no"):
            await tunnel.call(EndExposure(devbox.state.id))
        assert (await devbox.get(cloud)).status_code == 200


async def test_a_devbox_opens_no_stream_to_an_exposure(tmp_path: Path) -> None:
    async with (
        running_cloud(tmp_path) as cloud,
        exposing_devbox(cloud, exposing(1)) as devbox,
        connected(cloud, "devbox", cloud.token, StandInLaptop()) as tunnel,
    ):
        stream = tunnel.open_stream(ExposureTarget(devbox.state.id), asyncio.Protocol())
        with pytest.raises(StreamRefused):
            await stream.wait_accepted()


async def test_what_another_process_has_ended_is_known_no_more(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path}/lapdev.db")
    try:
        async with Tasks() as tasks:
            known = exposures.Exposures(store, tasks, None)
            wanted = Exposure(ExposureId("web"), ExposureKind.HTTP)
            made = await store.keep_exposure(KEY, wanted, no_tcp_ports)
            await known.load()
            host = f"{made.id}.{DOMAIN}".encode()
            assert known.lookup(host, DOMAIN) == ExposureTarget(made.id)
            await store.remove_exposure(made.id)
            await known.load()
            assert known.lookup(host, DOMAIN) is None
    finally:
        await store.aclose()


async def test_what_is_long_gone_frees_its_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = free_ports(1)
    async with running_cloud(tmp_path, str(ports)) as cloud:
        async with exposing_devbox(cloud, exposing(1, ExposureKind.TCP)) as gone:
            assert gone.port == ports.first
        monkeypatch.setattr(stored, "KEPT", timedelta(seconds=-1))
        monkeypatch.setattr(exposures, "FORGET_INTERVAL", 0.0)
    async with (
        running_cloud(tmp_path, str(ports)) as cloud,
        exposing_devbox(cloud, exposing(1, key="c" * 64)) as devbox,
    ):
        with pytest.raises(ConnectionRefusedError):
            async with connect(ports.first):
                """Nobody is there any more."""
        assert (await devbox.get(cloud)).status_code == 502


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (StartExposure("short", ExposureKind.HTTP, "web"), "64 hexadecimal digits"),
        (StartExposure(KEY, ExposureKind.HTTP, "Not.a.label"), "is not a DNS label"),
        (StartExposure(KEY, ExposureKind.TCP, "db"), "not served here"),
    ],
)
async def test_what_cannot_be_exposed_is_refused(
    tmp_path: Path, message: StartExposure, says: str
) -> None:
    async with (
        running_cloud(tmp_path) as cloud,
        connected(cloud, "devbox", cloud.token, StandInLaptop()) as tunnel,
    ):
        with pytest.raises(CallFailed, match=says):
            await tunnel.call(message)


async def test_a_wanted_port_is_given_if_it_is_in_the_range_and_free(tmp_path: Path) -> None:
    ports = free_ports(2)
    async with (
        recording_app(reverse) as app,
        running_cloud(tmp_path, str(ports)) as cloud,
    ):
        wanted = exposing(app.port, ExposureKind.TCP, port=ports.last)
        async with exposing_devbox(cloud, wanted) as devbox:
            assert devbox.port == ports.last
            tunnel = devbox.uplink.tunnel
            assert tunnel is not None
            taken = StartExposure("e" * 64, ExposureKind.TCP, "db", ports.last)
            with pytest.raises(CallFailed, match="is taken"):
                await tunnel.call(taken)
            outside = StartExposure("e" * 64, ExposureKind.TCP, "db", ports.last + 1)
            with pytest.raises(CallFailed, match="is not in 127"):
                await tunnel.call(outside)


async def test_a_port_somebody_else_listens_at_is_told(tmp_path: Path) -> None:
    ports = free_ports(1)
    async with (
        recording_app(reverse) as app,
        running_cloud(tmp_path, str(ports)) as cloud,
        exposing_devbox(cloud, exposing(app.port, ExposureKind.TCP)) as devbox,
    ):
        assert devbox.state.problem == ""
    async with (
        recording_app(reverse, ports.first) as app,
        running_cloud(tmp_path, str(ports)) as cloud,
        exposing_devbox(cloud, exposing(app.port, ExposureKind.TCP)) as devbox,
    ):
        assert "in use" in devbox.state.problem
