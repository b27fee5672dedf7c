from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lapdev import log
from lapdev.embedded import Supervisor
from lapdev.embedded.supervisor import bind_public, cloud_flags, manager_flags
from lapdev.errors import ClusterError, ConfigError
from lapdev.serve import parse_flags
from lapdev.settings import CloudSettings, EmbeddedSettings, ManagerSettings, load, read_secret
from tests.support.fake_role import interpreter

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    log.configure("test", "error")


def settings(tmp_path: Path) -> EmbeddedSettings:
    return EmbeddedSettings(listen="127.0.0.1:0", data_dir=str(tmp_path / "data"))


@asynccontextmanager
async def supervising(tmp_path: Path, behaviour: str = "serve") -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(settings(tmp_path), interpreter(tmp_path, behaviour))
    try:
        async with asyncio.timeout(30):
            yield supervisor
    finally:
        await supervisor.aclose()


async def test_cloud_starts_before_manager_and_stops_before_it(tmp_path: Path) -> None:
    async with supervising(tmp_path) as supervisor:
        await supervisor.start()
        assert supervisor.ready.is_set()
        assert list(supervisor.pids()) == ["cloud", "manager"]
        await supervisor.aclose()
        assert supervisor.pids() == {}
    lines = [" ".join(line.split()[:2]) for line in (tmp_path / "diary").read_text().splitlines()]
    assert lines == ["cloud started", "manager started", "cloud stopped", "manager stopped"]


async def test_a_hang_up_puts_another_cloud_in_the_place_of_the_first(tmp_path: Path) -> None:
    async with supervising(tmp_path) as supervisor:
        await supervisor.start()
        before = supervisor.pids()
        await supervisor.replace_cloud()
        after = supervisor.pids()
        assert after["manager"] == before["manager"]
        assert after["cloud"] not in (0, before["cloud"])
    starts = [line for line in (tmp_path / "diary").read_text().splitlines() if "started" in line]
    assert [line.split()[0] for line in starts] == ["cloud", "manager", "cloud"]
    assert starts[2].split(" --ready-fd")[0] == starts[0].split(" --ready-fd")[0] + " --take-over"


async def test_closing_twice_at_a_time_stops_every_child(tmp_path: Path) -> None:
    async with supervising(tmp_path) as supervisor:
        await supervisor.start()
        await asyncio.gather(supervisor.aclose(), supervisor.aclose())
    lines = (tmp_path / "diary").read_text().splitlines()
    assert lines[-2:] == ["cloud stopped", "manager stopped"]


async def test_nothing_but_the_data_directory_is_left(tmp_path: Path) -> None:
    async with supervising(tmp_path) as supervisor:
        await supervisor.start()
        runtime_dir = supervisor.runtime_dir
        assert runtime_dir is not None
        assert runtime_dir.is_dir()
    await supervisor.aclose()
    assert not runtime_dir.exists()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "bootstrap-token",
        "client.json",
        "cluster-token",
        "lock",
    ]


async def test_a_runtime_directory_of_the_users_is_never_removed(tmp_path: Path) -> None:
    users = tmp_path / "lapdev-stuff"
    users.mkdir(mode=0o700)
    wanted = dataclasses.replace(settings(tmp_path), runtime_dir=str(users))
    supervisor = Supervisor(wanted, interpreter(tmp_path))
    try:
        await supervisor.start()
    finally:
        await supervisor.aclose()
    assert users.exists()


async def test_the_public_socket_accepts_while_no_cloud_does(tmp_path: Path) -> None:
    async with supervising(tmp_path) as supervisor:
        await supervisor.start()
        host, _, port = supervisor.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5):
            pass
        client = json.loads((tmp_path / "data" / "client.json").read_text())
        assert client["server"] == supervisor.server == f"http://{supervisor.address}"


async def test_the_flags_are_what_the_roles_take(tmp_path: Path) -> None:
    async with supervising(tmp_path) as supervisor:
        await supervisor.start()
        run_dir = str(supervisor.runtime_dir)
        cloud = load(CloudSettings, parse_flags("cloud", cloud_flags(supervisor, 7, 8080)), {})
        port = supervisor.port
        manager = load(ManagerSettings, parse_flags("manager", manager_flags(supervisor)), {})
    assert cloud.listen == "fd:7"
    assert cloud.public_url == "http://lapdev.localhost:8080"
    assert cloud.tcp_previews == settings(tmp_path).tcp_previews == "127.0.0.1:20000-20099"
    assert manager.edge == cloud.edge_listen == f"unix:{run_dir}/edge.sock"
    assert manager.edge != manager.cloud, "pods reach previews, and neither API nor tunnels"
    assert manager.edge_domain == cloud.domain
    assert manager.edge_port == port
    assert manager.cloud == cloud.internal_listen == f"unix:{run_dir}/cloud.sock"
    assert manager.token_file == cloud.cluster_token_file
    assert manager.isolation is True
    assert manager.data_dir == str(tmp_path / "data"), "pods must not see it"
    assert manager.runtime_dir == run_dir, "nor the sockets in it"
    assert manager.sidecar_listen == ""
    flags = " ".join(cloud_flags(supervisor, 7, 8080) + manager_flags(supervisor))
    assert read_secret(manager, "token") not in flags


async def test_a_second_supervisor_on_the_same_data_is_refused(tmp_path: Path) -> None:
    async with supervising(tmp_path) as first:
        await first.start()
        second = Supervisor(settings(tmp_path), interpreter(tmp_path))
        with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
            await second.start()
        assert first.ready.is_set()


async def test_a_child_that_cannot_start_undoes_everything(tmp_path: Path) -> None:
    async with supervising(tmp_path, "exit") as supervisor:
        with pytest.raises(ClusterError, match="the cloud ended with exit code 3"):
            await supervisor.start()
        assert supervisor.pids() == {}
        assert supervisor.runtime_dir is None
        assert not list(tmp_path.glob("lapdev-*"))


async def test_a_start_that_is_cancelled_undoes_everything(tmp_path: Path) -> None:
    async with supervising(tmp_path, "silent") as supervisor:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await supervisor.start()
        assert supervisor.pids() == {}
        assert not list(tmp_path.glob("lapdev-*"))


def test_a_taken_port_is_named() -> None:
    with bind_public("127.0.0.1:0") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            bind_public(f"127.0.0.1:{port}")
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in caught.value.detail
    assert "--listen" in caught.value.hint


def test_the_public_listener_must_be_a_port() -> None:
    with pytest.raises(ConfigError, match="browsers need HOST:PORT"):
        bind_public("unix:/tmp/x.sock")
