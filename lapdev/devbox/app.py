"""The devbox role put together: one uplink, its session, the proxy, and what others may read."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType
from typing import Self

from lapdev.account import Account, find_account, state_dir
from lapdev.devbox.proxy import Proxy
from lapdev.devbox.session import Session
from lapdev.devbox.state_file import DevboxStatus, StateFile, this_device
from lapdev.errors import ConfigError, ConnectFailed, LapdevError, LoginRequired, TunnelRefused
from lapdev.model import RoleName
from lapdev.net.process import notify_ready
from lapdev.net.tasks import Tasks
from lapdev.net.way_out import WayOut
from lapdev.settings import DevboxSettings
from lapdev.tunnel import Uplink, UplinkOptions, new_id

TUNNEL_PATH = "/_lapdev/tunnel/devbox"

Report = Callable[[DevboxStatus], None]


def uplink_options(account: Account, links: int = 1) -> UplinkOptions:
    """How this process dials the account's cloud, over so many connections."""
    return UplinkOptions(
        address=account.server,
        path=TUNNEL_PATH,
        token=account.token,
        role=RoleName.DEVBOX,
        instance=new_id(),
        way=WayOut.from_environ(os.environ, account.ca_file),
        links=links,
    )


def dial_error(error: Exception, server: str) -> LapdevError:
    """A failed try in our words. LoginRequired, ConfigError: the next will fare no better."""
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, TunnelRefused) and error.answer_status in (401, 403):
        return LoginRequired(
            f"{server} does not take this token",
            hint="set LAPDEV_TOKEN_FILE to a file with a valid one",
        )
    hint = error.hint if isinstance(error, LapdevError) else ""
    return ConnectFailed(f"{server}: {str(error) or type(error).__name__}", hint=hint)


class Devbox:
    """The link to an environment, from enter to exit."""

    def __init__(self, settings: DevboxSettings, on_change: Report = lambda _: None) -> None:
        self.settings = settings
        self.proxy_address = ""
        self._on_change = on_change
        self._account = find_account(
            settings.server, settings.token_file, os.environ, settings.token, settings.ca_file
        )
        self._device = this_device(state_dir(os.environ, settings.state_dir))
        self._tasks = Tasks()
        self.session = Session(self._device, settings.environment, self._tasks, self._changed)
        self._proxy = Proxy(self.session)
        self._uplink = Uplink(uplink_options(self._account, settings.tunnel_links), self.session)
        self._uplink.on_failed = self._dial_failed

    async def __aenter__(self) -> Self:
        self.proxy_address = await self._proxy.start(self.settings.proxy)
        self._tasks.spawn(self._uplink.run(), "devbox uplink")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """The link is ended at both ends, and what went through it is cut. Idempotent."""
        await self._proxy.aclose()
        await self._tasks.aclose()

    def status(self) -> DevboxStatus:
        """What other commands may know."""
        state, error = self.session.state, self.session.error
        return DevboxStatus(
            pid=os.getpid(),
            device=self._device.id,
            server=self._account.server,
            proxy=self.proxy_address,
            environment=state.environment_name if state else "",
            namespace=state.namespace if state else "",
            connected=self.session.connected and state is not None,
            error=_in_words(error) if error else "",
            services=[asdict(service) for service in state.services] if state else [],
            intercepts=[asdict(item) for item in state.intercepts] if state else [],
        )

    def _dial_failed(self, error: Exception) -> None:
        found = dial_error(error, self._account.server)
        if isinstance(found, LoginRequired | ConfigError):
            self.session.fail(found)
        else:
            self.session.unreachable(found)

    def _changed(self) -> None:
        self._on_change(self.status())


def _in_words(error: LapdevError) -> str:
    return f"{error.detail} ({error.hint})" if error.hint else error.detail


async def run(settings: DevboxSettings, report: Report = lambda _: None) -> None:
    """Connected until SIGTERM or SIGINT; `report` gets every change of the status.

    Raises:
        LapdevError: no account, already connected, or the cloud refused the session.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    file = StateFile(state_dir(os.environ, settings.state_dir))

    def changed(status: DevboxStatus) -> None:
        if stop.is_set():
            return  # the end is no news
        file.write(status)
        report(status)

    file.acquire()
    try:
        async with Devbox(settings, changed) as devbox, Tasks() as tasks:
            changed(devbox.status())
            stopping = tasks.spawn(stop.wait(), "wait for a signal")
            starting = tasks.spawn(_start(devbox), "start the session")
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                if (error := starting.result()) is not None:
                    stop.set()
                    raise error
                notify_ready(settings.ready_fd)
                await stopping
    finally:
        file.release()


async def _start(devbox: Devbox) -> LapdevError | None:
    """The error is for the caller to report on one line, not a failed task's traceback."""
    try:
        await devbox.session.wait_started()
    except LapdevError as exc:
        return exc
    return None
