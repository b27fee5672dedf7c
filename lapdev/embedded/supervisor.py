"""The supervisor: binds the public socket, starts cloud then manager, and stops them so, too.

The cloud first, at the end as well: it takes nothing new, and what it has still needs the manager.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

from lapdev.account import data_dir
from lapdev.embedded.child import Child
from lapdev.embedded.files import DataDir, RuntimeDir, make_runtime_dir
from lapdev.errors import ConfigError, LapdevError
from lapdev.log import get_logger
from lapdev.net.address import TcpAddress, parse_address
from lapdev.net.listener import bind_tcp
from lapdev.net.process import notify_ready, on_hang_up, stop_signals
from lapdev.net.tasks import Tasks
from lapdev.settings import EmbeddedSettings

STOP_TIMEOUT = 35.0
"""Each child drains for at most 30 seconds, and has something to do afterwards."""


class Supervisor:
    """Cloud and manager as children of this process.

    The public socket belongs to the supervisor: while the cloud is being started again, new
    connections wait in its backlog instead of being refused.
    """

    def __init__(self, settings: EmbeddedSettings, python: str = sys.executable) -> None:
        """`python` is the interpreter of the children."""
        self.settings = settings
        self.ready = asyncio.Event()
        """Set once both children have served."""
        self.address = ""
        """Where browsers reach it: `127.0.0.1:PORT`."""
        self.data = DataDir(Path(settings.data_dir or data_dir(os.environ)))
        self._python = python
        self._runtime: RuntimeDir | None = None
        self._socket: socket.socket | None = None
        self._children: list[Child] = []
        self._closing = asyncio.Lock()

    def pids(self) -> dict[str, int]:
        """Role to process id, of the children that run."""
        return {child.role: child.pid for child in self._children if child.pid}

    @property
    def runtime_dir(self) -> Path | None:
        """Where its sockets are, while it runs."""
        return self._runtime.path if self._runtime else None

    @property
    def port(self) -> int:
        """The public port, which is in every preview URL; 0 while there is none."""
        return self._socket.getsockname()[1] if self._socket else 0

    @property
    def server(self) -> str:
        """The API's address, as clients dial it."""
        if self.settings.tls_cert:  # which is for the domain's names
            return f"https://{self.settings.domain}:{self.port}"
        return f"http://{self.address}"

    async def start(self) -> None:
        """Both roles serve. After an error everything already started has been stopped again.

        Raises:
            LapdevError: what is in the way, and what to do.
        """
        try:
            self._prepare()
            for child in self._make_children():
                self._children.append(child)
                await child.start()
        except BaseException:
            await asyncio.shield(self.aclose())
            raise
        self.ready.set()
        get_logger().info("embedded_ready", address=self.address)

    async def replace_cloud(self) -> None:
        """Another process serves as the cloud, if it comes to that; no request was lost."""
        if self.ready.is_set():
            await self._children[0].replace()

    async def aclose(self) -> None:
        """No child runs, the socket is closed, the runtime directory is gone. Idempotent."""
        self.ready.clear()
        async with self._closing:  # a start that is cancelled closes, and so does its owner
            await self._close()

    async def _close(self) -> None:
        while self._children:
            await self._children[0].stop(STOP_TIMEOUT)
            self._children.pop(0)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._runtime is not None:
            self._runtime.close()
            self._runtime = None
        self.data.close()

    def _prepare(self) -> None:
        self.data.open()
        settings = self.settings
        self._runtime = make_runtime_dir(settings.runtime_dir, os.environ)
        self._socket = bind_public(settings.listen)
        host, port = self._socket.getsockname()[:2]
        self.address = str(TcpAddress(host, port))
        self.data.write_client_file(self.server, settings.tls_cert)

    def _make_children(self) -> list[Child]:
        assert self._socket is not None
        assert self.runtime_dir is not None
        fd, port = self._socket.fileno(), self._socket.getsockname()[1]
        return [
            Child("cloud", cloud_flags(self, fd, port), [fd], self._python),
            Child("manager", manager_flags(self), [], self._python),
        ]


def bind_public(listen: str) -> socket.socket:
    """The public listening socket.

    Raises:
        ConfigError: not HOST:PORT, or the port is taken.
    """
    address = parse_address(listen)
    if not isinstance(address, TcpAddress):
        raise ConfigError(f"listen {listen}: browsers need HOST:PORT", hint="127.0.0.1:8080")
    try:
        return bind_tcp(address)
    except OSError as exc:
        raise ConfigError(
            f"cannot listen on {listen}: {exc.strerror}",
            hint="stop what listens there, or choose another --listen (port 0: any free one)",
        ) from exc


def cloud_flags(supervisor: Supervisor, fd: int, port: int) -> list[str]:
    """What the cloud is started with. No secret: tokens are in files."""
    settings, data, runtime_dir = supervisor.settings, supervisor.data, supervisor.runtime_dir
    return [
        f"--listen=fd:{fd}",
        f"--internal-listen=unix:{runtime_dir}/cloud.sock",
        f"--edge-listen=unix:{runtime_dir}/edge.sock",
        f"--tcp-previews={settings.tcp_previews}",
        f"--answer-timeout={settings.answer_timeout}",
        f"--admin={settings.cloud_admin or f'unix:{runtime_dir}/cloud-admin.sock'}",
        f"--data-dir={data.path}",
        f"--domain={settings.domain}",
        f"--public-url=http{'s' if settings.tls_cert else ''}://{settings.domain}:{port}",
        f"--tls-cert={settings.tls_cert}",
        f"--tls-key={settings.tls_key}",
        f"--cluster-name={settings.cluster_name}",
        f"--cluster-token-file={data.cluster_token_file}",
        f"--bootstrap-token-file={data.bootstrap_token_file}",
        f"--log-level={settings.log_level}",
    ]


def manager_flags(supervisor: Supervisor) -> list[str]:
    """What the manager is started with: it reaches everything by Unix sockets."""
    settings, data, runtime_dir = supervisor.settings, supervisor.data, supervisor.runtime_dir
    return [
        f"--cloud=unix:{runtime_dir}/cloud.sock",
        f"--token-file={data.cluster_token_file}",
        "--driver=local",
        "--isolation" if settings.isolation else "--no-isolation",
        # Both are hidden from pods, the sockets of the other roles with them.
        f"--runtime-dir={runtime_dir}",
        f"--data-dir={data.path}",
        # Behind this one are previews only: the way to other environments for pods.
        f"--edge=unix:{runtime_dir}/edge.sock",
        f"--edge-domain={settings.domain}",
        f"--edge-port={supervisor.port}",
        f"--admin={settings.manager_admin or f'unix:{runtime_dir}/manager-admin.sock'}",
        f"--log-level={settings.log_level}",
    ]


async def run(settings: EmbeddedSettings) -> None:
    """Serves until SIGTERM or SIGINT, then stops everything. SIGHUP replaces the cloud's process.

    Raises:
        LapdevError: it could not start.
    """
    supervisor = Supervisor(settings)
    asked = asyncio.Event()
    # SIGHUP is ours from the first moment to the last: by itself it would end everything at once.
    with stop_signals() as stop, on_hang_up(asked.set, stop.set):
        try:
            async with Tasks() as tasks:
                starting = tasks.spawn(_start(supervisor), "start")
                stopping = tasks.spawn(stop.wait(), "wait for a signal")
                await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    if (error := starting.result()) is not None:
                        raise error
                    notify_ready(settings.ready_fd)
                    tasks.spawn(_replace(supervisor, asked), "replace the cloud")
                    await stopping
        finally:
            await supervisor.aclose()


async def _replace(supervisor: Supervisor, asked: asyncio.Event) -> None:
    """Whenever it is asked for. Asked for before everything has started, it is done then."""
    while True:
        await asked.wait()
        asked.clear()
        await supervisor.replace_cloud()


async def _start(supervisor: Supervisor) -> LapdevError | None:
    """The error is the caller's to report, on one line: not a failed task with a traceback."""
    try:
        await supervisor.start()
    except LapdevError as exc:
        return exc
    return None
