"""One role as a child process: started, told ready from, started again when it dies, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from lapdev.errors import ClusterError
from lapdev.log import get_logger
from lapdev.net.tasks import Tasks
from lapdev.serve import PARENT_VARIABLE

START_TIMEOUT = 30.0
FIRST_DELAY, LONGEST_DELAY = 0.2, 5.0
STEADY_AFTER = 10.0
"""A child that lived this long is started again after `FIRST_DELAY`."""


class Child:
    """A supervised `lapdev serve --role <role>`."""

    def __init__(
        self, role: str, flags: Sequence[str], fds: Sequence[int] = (), python: str = sys.executable
    ) -> None:
        """`fds` are inherited by every incarnation, under the same numbers."""
        self.role = role
        self.pid = 0
        """0 while it does not run."""
        self.ready = asyncio.Event()
        """Set while the present incarnation serves."""
        # -P: what lies in the working directory is never imported in place of our modules.
        self._argv = [python, "-P", "-m", "lapdev", "serve", "--role", role, *flags]
        self._fds = tuple(fds)
        self._process: asyncio.subprocess.Process | None = None
        self._settled = asyncio.Event()
        self._settled.set()
        """Clear while a process is being made, which nobody else could end yet."""
        self._tasks = Tasks()
        self._failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ever_ready = False
        self._stopping = False

    async def start(self) -> None:
        """It serves, and will be started again whenever it dies.

        Raises:
            ClusterError: it ended, or said nothing for `START_TIMEOUT`, before it ever served.
        """
        self._tasks.spawn(self._keep_running(), f"supervise {self.role}")
        ready = self._tasks.spawn(self.ready.wait(), f"wait for {self.role}")
        either: set[asyncio.Future[Any]] = {ready, self._failed}
        done, _ = await asyncio.wait(
            either, timeout=START_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
        )
        if self._failed in done:
            raise ClusterError(
                f"the {self.role} {self._failed.result()} before it served",
                hint="its own message is above",
            )
        if not done:
            raise ClusterError(
                f"the {self.role} did not serve within {START_TIMEOUT:.0f} seconds",
                hint="its log is above",
            )

    async def stop(self, grace: float) -> None:
        """It runs no more: asked with SIGTERM, killed after `grace` seconds. Idempotent."""
        self._stopping = True
        await self._settled.wait()
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(grace):
                    await process.wait()
            except TimeoutError:
                get_logger().warning("child_killed", task=self.role, pid=process.pid)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        await self._tasks.aclose()
        self._failed.cancel()

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        delay = FIRST_DELAY
        while not self._stopping:
            started = loop.time()
            try:
                code: int | None = await self._run_once()
                how = f"ended with exit code {code}"
            except OSError as exc:  # no memory, no descriptors: it may pass
                code, how = None, f"could not be started ({exc.strerror})"
                get_logger().warning("child_not_started", task=self.role, error=exc.strerror)
            if self._stopping:
                return
            if not self._ever_ready:
                self._failed.set_result(how)
                return
            if loop.time() - started >= STEADY_AFTER:
                delay = FIRST_DELAY
            get_logger().warning("child_ended", task=self.role, exit_code=code)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _run_once(self) -> int:
        """One incarnation, from start to end: its exit code."""
        reading, writing = os.pipe()
        self._settled.clear()
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._argv,
                "--ready-fd",
                str(writing),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # what a role prints is log; stdout is the command's own
                pass_fds=(*self._fds, writing),
                # Ctrl-C reaches the whole foreground group; the order of stopping is ours.
                start_new_session=True,
                env=_environment(),
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            self._settled.set()
            os.close(writing)
        self.pid = process.pid
        loop = asyncio.get_running_loop()
        pipe, _ = await loop.connect_read_pipe(
            lambda: _ReadyLine(self._serves), os.fdopen(reading, "rb", 0)
        )
        try:
            code = await process.wait()
        finally:
            self.pid = 0
            self.ready.clear()
            pipe.close()
        return code

    def _serves(self) -> None:
        self._ever_ready = True
        self.ready.set()
        get_logger().info("child_ready", task=self.role, pid=self.pid)


def _environment() -> dict[str, str]:
    """Ours, without settings: a role gets all of its own as flags.

    LAPDEV_TOKEN, set for the CLI, must not become the manager's cluster token.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAPDEV_")}
    return {**kept, PARENT_VARIABLE: str(os.getpid())}


class _ReadyLine(asyncio.Protocol):
    """Waits for the line `ready` on a child's pipe."""

    def __init__(self, serves: Callable[[], None]) -> None:
        self._serves = serves
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        self._seen = (self._seen + data)[:64]
        if self._seen == b"ready\n":
            self._serves()
