"""The manager as a whole: in this process without pods, and as a program with real ones."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lapdev.cluster.local import LocalDriver
from lapdev.cluster.options import EdgeDoor
from lapdev.errors import ClusterError, ConfigError
from lapdev.manager.app import _driver, _instance, run
from lapdev.manager.credentials import PodTokens
from lapdev.model import EnvironmentId, EnvironmentStatus
from lapdev.net.tasks import spawn
from lapdev.settings import ManagerSettings
from lapdev.tunnel import Tunnel
from lapdev.wire.control import (
    ApplyEnvironment,
    DeleteEnvironment,
    Done,
    EnvironmentRef,
    LogsTarget,
    ReportCluster,
    ReportEnvironment,
    ServiceTarget,
    SyncEnvironments,
    SyncNeeds,
)
from lapdev.wire.http1 import header
from tests.support import needs
from tests.support.tunnel_ends import FAST, Acceptor, Recorder
from tests.support.wishes import as_kind, base, branch, config, deployment, newer, reading, service

PATIENCE = 30.0

APP = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = os.environ["VERSION"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""


def api(version: str) -> dict[str, Any]:
    """A Deployment whose app answers with its version."""
    manifest = deployment("api", ports={"http": 8080})
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    container["command"] = [sys.executable, "-S", "-c", APP]
    container["env"] = [{"name": "VERSION", "value": version}]
    return manifest


SHOP = base(api("v1"), service("api", (80, "http")))
V2 = branch("v2", api("v2"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for socket paths."""
    with tempfile.TemporaryDirectory(prefix="lm-") as name:
        (Path(name) / "token").write_text("cluster-token\n")
        yield Path(name)


@dataclass
class Cloud:
    """A small cloud: one manager's tunnel, and what it reports."""

    acceptor: Acceptor

    @property
    def tunnel(self) -> Tunnel:
        """The one that is connected: a killed manager's lives on for its grace time."""
        (tunnel,) = (t for t in self.acceptor.server.tunnels if t.connected)
        return tunnel

    async def until_connected(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.acceptor.watcher.wait_until(
                lambda seen: any(isinstance(call, ReportCluster) for call in seen.calls)
            )

    async def tell(self, *held: ApplyEnvironment) -> None:
        refs = tuple(EnvironmentRef(h.environment.id, h.environment.generation) for h in held)
        needs = await self.tunnel.call(SyncEnvironments(refs))
        assert isinstance(needs, SyncNeeds)
        for item in held:
            if item.environment.id in needs.environments:
                await self.tunnel.call(item)

    def latest(self, environment: EnvironmentId) -> ReportEnvironment | None:
        calls = self.acceptor.watcher.calls
        found = [c for c in calls if isinstance(c, ReportEnvironment) and c.id == environment]
        return found[-1] if found else None

    async def until_ready(self, wanted: ApplyEnvironment) -> None:
        """Ready, and every sidecar holds the routes of this generation."""
        environment = wanted.environment

        def ready() -> bool:
            report = self.latest(environment.id)
            return (
                report is not None
                and report.status is EnvironmentStatus.READY
                and report.generation >= environment.generation
                and all(w.routes_generation >= environment.generation for w in report.workloads)
            )

        async with asyncio.timeout(PATIENCE):
            await self.acceptor.watcher.wait_until(lambda _: ready())

    async def get(self, branch: str = "") -> bytes:
        """The body that `GET /` of the service brings, as a request of the branch."""
        recorder = Recorder()
        target = ServiceTarget(SHOP.environment.namespace, "api", 80)
        stream = self.tunnel.open_stream(target, recorder)
        mark = f"tracestate: lapdev-env-id={branch}\r\n" if branch else ""
        stream.write(f"GET / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n{mark}\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            await recorder.wait_until(lambda seen: seen.eof or bool(seen.lost))
        stream.close()
        head, _, body = bytes(recorder.data).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return body


@pytest.fixture
async def cloud(folder: Path) -> AsyncIterator[Cloud]:
    acceptor = Acceptor(f"unix:{folder}/cloud.sock", FAST)
    await acceptor.start()
    yield Cloud(acceptor)
    await acceptor.aclose()


async def admin(folder: Path, path: str) -> tuple[int, bytes]:
    """Status and body of the admin listener's answer."""
    reader, writer = await asyncio.open_unix_connection(f"{folder}/admin.sock")
    writer.write(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


def settings(folder: Path, **more: Any) -> ManagerSettings:
    values: dict[str, Any] = {
        "cloud": f"unix:{folder}/cloud.sock",
        "token_file": str(folder / "token"),
        "runtime_dir": str(folder / "run"),
        "admin": f"unix:{folder}/admin.sock",
        "isolation": False,
    }
    return ManagerSettings(**(values | more))


@contextlib.asynccontextmanager
async def running(chosen: ManagerSettings) -> AsyncIterator[None]:
    """A manager in this process, from its ready line to its clean end by SIGTERM."""
    reading, writing = os.pipe()
    task = spawn(run(dataclasses.replace(chosen, ready_fd=writing)), "manager")
    line = asyncio.get_running_loop().run_in_executor(None, os.read, reading, 64)
    async with asyncio.timeout(PATIENCE):
        either: set[asyncio.Future[Any]] = {task, line}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    assert not task.done(), task.result()
    assert await line == b"ready\n"
    os.close(reading)
    try:
        yield
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await task


async def test_it_says_it_serves_connects_with_its_token_and_stops(
    folder: Path, cloud: Cloud
) -> None:
    async with running(settings(folder)):
        await cloud.until_connected()
        request = cloud.acceptor.requests[0].request
        assert request.target == b"/_lapdev/tunnel/manager"
        assert header(request.headers, b"authorization") == b"Bearer cluster-token"
        assert (await admin(folder, "/readyz"))[0] == 200
        status, metrics = await admin(folder, "/metrics")
        assert status == 200
        assert b"\nlapdev_uplink_up 1\n" in metrics
        assert b'\nlapdev_tunnels_up{peer="cloud"} 1\n' in metrics
        assert b'\nlapdev_tunnel_resumes_total{peer="sidecar"} 0\n' in metrics
        assert (folder / "run" / "manager.sock").is_socket()
    assert not (folder / "run" / "manager.sock").exists()


async def test_without_the_cloud_it_serves_and_is_not_ready(folder: Path) -> None:
    async with running(settings(folder)):
        status, body = await admin(folder, "/readyz")
        assert status == 503
        assert b"the cloud is not connected" in body
        assert (await admin(folder, "/livez"))[0] == 200


CASES = [
    ({"token_file": ""}, ConfigError, "token is not set"),
    ({"runtime_dir": ""}, ConfigError, "runtime_dir is not set"),
    ({"runtime_dir": "/proc/nowhere"}, ConfigError, "runtime_dir /proc/nowhere"),
    ({"isolation": True}, ClusterError, "namespaces of its own"),
]


@pytest.mark.parametrize(("wrong", "error", "text"), CASES)
async def test_what_is_missing_is_named(
    folder: Path, wrong: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        await run(settings(folder, **wrong))


@contextlib.asynccontextmanager
async def program(folder: Path, exit_code: int = 0) -> AsyncIterator[asyncio.subprocess.Process]:
    """`lapdev serve --role manager`, isolated, from its ready line to its end."""
    reading, writing = os.pipe()
    flags = {
        "cloud": f"unix:{folder}/cloud.sock",
        "token-file": str(folder / "token"),
        "runtime-dir": str(folder / "run"),
        "admin": f"unix:{folder}/admin.sock",
        "ready-fd": str(writing),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "lapdev", "serve", "--role", "manager"),
        *(f"--{name}={value}" for name, value in flags.items()),
        pass_fds=(writing,),
    )
    os.close(writing)
    try:
        line = await asyncio.get_running_loop().run_in_executor(None, os.read, reading, 64)
        assert line == b"ready\n"
        yield process
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == exit_code
    finally:
        os.close(reading)
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.slow
async def test_real_pods_serve_the_base_and_its_branches(folder: Path, cloud: Cloud) -> None:
    needs.userns()
    v2 = V2.environment.id
    async with program(folder):
        await cloud.until_connected()
        await cloud.tell(SHOP, V2)
        await cloud.until_ready(SHOP)
        await cloud.until_ready(V2)
        assert await cloud.get() == b"v1"
        assert await cloud.get(v2) == b"v2"
        assert await cloud.get("unknown") == b"v1"

        changed = newer(V2, 2, manifests=(api("v3"),))
        await cloud.tunnel.call(changed)
        await cloud.tunnel.call(newer(SHOP, 2))
        await cloud.until_ready(changed)
        assert await cloud.get(v2) == b"v3"

        assert await cloud.tunnel.call(DeleteEnvironment(v2)) == Done()
        await cloud.tunnel.call(newer(SHOP, 3))
        await cloud.until_ready(newer(SHOP, 3))
        assert await cloud.get(v2) == b"v1"


@pytest.mark.slow
async def test_what_is_in_flight_ends_before_the_manager_does(folder: Path, cloud: Cloud) -> None:
    needs.userns()
    recorder = Recorder()
    async with program(folder) as manager:
        await cloud.until_connected()
        await cloud.tell(SHOP)
        await cloud.until_ready(SHOP)
        tunnel, target = cloud.tunnel, ServiceTarget(SHOP.environment.namespace, "api", 80)
        stream = tunnel.open_stream(target, recorder)
        stream.write(b"GET / HTTP/1.1\r\nHost: api\r\n")
        await stream.wait_accepted()
        manager.terminate()
        async with asyncio.timeout(PATIENCE):
            while not tunnel.draining:
                await tunnel.call(SyncEnvironments((EnvironmentRef(SHOP.environment.id, 1),)))
            stream.write(b"Connection: close\r\n\r\n")
            await recorder.wait_until(lambda seen: seen.eof or bool(seen.lost))
        stream.close()
        assert bytes(recorder.data).startswith(b"HTTP/1.1 200 ")
        assert bytes(recorder.data).endswith(b"v1")
        async with asyncio.timeout(PATIENCE):
            assert await manager.wait() == 0


@pytest.mark.slow
async def test_ready_is_after_the_migration_and_its_lines_are_read(
    folder: Path, cloud: Cloud
) -> None:
    needs.userns()
    script = "import os; print('migrated to', os.environ['LEVEL'])"
    migrate = deployment("migrate", labels={"app": "api"})
    (container,) = migrate["spec"]["template"]["spec"]["containers"]
    container["command"] = [sys.executable, "-S", "-c", script]
    migrate = as_kind(reading(migrate, ("ConfigMap", "settings")), "Job")
    shop = base(*SHOP.environment.manifests, migrate, config("settings", LEVEL="7"))
    environment = shop.environment.id
    async with program(folder):
        await cloud.until_connected()
        await cloud.tell(shop)
        await cloud.until_ready(shop)
        report = cloud.latest(environment)
        assert report is not None
        job = next(found for found in report.workloads if found.name == "migrate")
        assert (job.kind, job.wanted, job.ready, job.succeeded) == ("Job", 1, 1, 1)
        recorder = Recorder(keep_open=False)
        target = LogsTarget(environment, "migrate", "", lines=10, follow=False)
        cloud.tunnel.open_stream(target, recorder)
        async with asyncio.timeout(PATIENCE):
            await recorder.wait_until(lambda seen: seen.eof or bool(seen.lost))
        (line,) = bytes(recorder.data).splitlines()
        assert (json.loads(line)["container"], json.loads(line)["text"]) == (
            "main",
            "migrated to 7",
        )
        assert await cloud.get() == b"v1", "the Service leads to the app, not to its migration"
        recorder = Recorder()
        cloud.tunnel.open_stream(dataclasses.replace(target, workload="api", follow=True), recorder)
        async with asyncio.timeout(PATIENCE):
            await recorder.wait_until(lambda seen: seen.accepted)
            assert await cloud.tunnel.call(DeleteEnvironment(environment)) == Done()
            await recorder.wait_until(lambda seen: bool(seen.lost))


@pytest.mark.slow
async def test_after_a_kill_the_next_manager_starts_everything_anew(
    folder: Path, cloud: Cloud
) -> None:
    needs.userns()
    async with program(folder, exit_code=-signal.SIGKILL) as process:
        await cloud.until_connected()
        await cloud.tell(SHOP)
        await cloud.until_ready(SHOP)
        process.kill()
        await process.wait()
    cloud.acceptor.watcher.calls.clear()
    async with program(folder):
        await cloud.until_connected()
        await cloud.tell(SHOP)
        await cloud.until_ready(SHOP)
        assert await cloud.get() == b"v1"


async def test_the_driver_is_told_where_claims_and_previews_are(tmp_path: Path) -> None:
    chosen = settings(
        tmp_path, data_dir=str(tmp_path / "data"), edge="unix:/run/edge", edge_domain="x.test"
    )
    driver = _driver(chosen, tmp_path, "unix:/m", PodTokens())
    assert isinstance(driver, LocalDriver)
    assert driver.options.volumes_dir == tmp_path / "data" / "volumes"
    assert driver.options.edge == EdgeDoor("x.test", chosen.edge_port, "unix:/run/edge")
    plain = _driver(settings(tmp_path), tmp_path, "unix:/m", PodTokens())
    assert isinstance(plain, LocalDriver)
    assert (plain.options.volumes_dir, plain.options.edge) == (None, None)


def test_a_manager_names_the_one_whose_place_it_takes(tmp_path: Path) -> None:
    (tmp_path / "instance.new").mkdir()  # what is in the way of keeping it is no reason to stop
    _instance(tmp_path)
    assert not (tmp_path / "instance").exists()
    (tmp_path / "instance.new").rmdir()
    first, nobody = _instance(tmp_path)
    second, replaced = _instance(tmp_path)
    assert nobody == ""
    assert replaced == first != second
