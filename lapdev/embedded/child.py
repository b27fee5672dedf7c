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
LEAVE_TIMEOUT = 40.0
"""Of one that another has followed: a role drains for 30 seconds."""
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
        self._current: _Incarnation | None = None
        self._all: set[_Incarnation] = set()
        """Those that run: the present one, the one before it, the one to follow it."""
        self._making = asyncio.Lock()
        """Held while a process is being made, which nobody else could end yet."""
        self._replacing = False
        self._changed = asyncio.Event()
        """Some incarnation has ended, or another is the present one."""
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

    async def replace(self) -> bool:
        """Whether another incarnation has taken over, by `--take-over`; the one before ends itself.

        When the other does not come to serve, the present one goes on as if nothing had been.
        """
        before = self._current
        if before is None or self._replacing or self._stopping or not self.ready.is_set():
            get_logger().warning("child_not_replaced", task=self.role, error="it does not serve")
            return False
        self._replacing = True
        after: _Incarnation | None = None
        try:
            after = await self._make("--take-over")
            async with asyncio.timeout(START_TIMEOUT):
                taken = after is not None and await after.wait_ready()
        except (OSError, TimeoutError) as exc:
            get_logger().warning("child_not_started", task=self.role, error=str(exc))
            taken = False
        finally:
            self._replacing = False
            self._changed.set()
        if after is None or not taken:
            get_logger().warning("child_not_replaced", task=self.role, error="it did not serve")
            if after is not None:
                await after.stop(0)
            return False
        self._present(after)
        get_logger().info("child_replaced", task=self.role, pid=before.process.pid)
        self._tasks.spawn(before.see_off(LEAVE_TIMEOUT), f"see off {self.role}")
        return True

    async def stop(self, grace: float) -> None:
        """It runs no more: asked with SIGTERM, killed after `grace` seconds. Idempotent."""
        self._stopping = True
        async with self._making:
            running = list(self._all)
        for incarnation in running:
            if not await incarnation.stop(grace):
                get_logger().warning("child_killed", task=self.role, pid=incarnation.process.pid)
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

    async def _run_once(self) -> int | None:
        """From a start until an incarnation has ended that none follows: its exit code."""
        first = await self._make()
        if first is None:
            return None
        self._present(first)
        while True:
            self._changed.clear()
            current = self._current
            assert current is not None
            if current.ended and not self._replacing:
                return current.process.returncode
            await self._changed.wait()

    async def _make(self, *flags: str) -> _Incarnation | None:
        """A process that has been started; None when no more are."""
        async with self._making:
            if self._stopping:
                return None
            made = await _Incarnation.start([*self._argv, *flags], self._fds)
            self._all.add(made)
        self._tasks.spawn(self._watch(made), f"watch {self.role}")
        return made

    def _present(self, incarnation: _Incarnation) -> None:
        self._current = incarnation
        self._changed.set()
        self._settle()

    async def _watch(self, incarnation: _Incarnation) -> None:
        try:
            if await incarnation.wait_ready():
                self._ever_ready = True
                self._settle()
            await incarnation.process.wait()
        finally:
            incarnation.close()
            self._all.discard(incarnation)
        self._changed.set()
        self._settle()

    def _settle(self) -> None:
        """`pid` and `ready` are the present one's."""
        current = self._current
        alive = current is not None and not current.ended
        pid = current.process.pid if current is not None and alive else 0
        ready = current is not None and alive and current.ready
        if ready and (pid != self.pid or not self.ready.is_set()):
            get_logger().info("child_ready", task=self.role, pid=pid)
        self.pid = pid
        if ready:
            self.ready.set()
        else:
            self.ready.clear()


class _Incarnation:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.ready = False
        self._happened = asyncio.Event()
        self._pipe: asyncio.ReadTransport | None = None

    @classmethod
    async def start(cls, argv: Sequence[str], fds: Sequence[int]) -> _Incarnation:
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                "--ready-fd",
                str(writing),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # what a role prints is log; stdout is the command's own
                pass_fds=(*fds, writing),
                # Ctrl-C reaches the whole foreground group; the order of stopping is ours.
                start_new_session=True,
                env=_environment(),
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        made = cls(process)
        made._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: _ReadyLine(made._serves, made._happened.set), os.fdopen(reading, "rb", 0)
        )
        return made

    @property
    def ended(self) -> bool:
        return self.process.returncode is not None

    async def wait_ready(self) -> bool:
        """Whether it serves: it may also end before it does."""
        await self._happened.wait()
        return self.ready

    def close(self) -> None:
        """Nobody listens to it any more."""
        if self._pipe is not None:
            self._pipe.close()

    async def stop(self, grace: float) -> bool:
        """It runs no more; False when it had to be killed. Idempotent."""
        if self.ended:
            return True
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        return await self.see_off(grace)

    async def see_off(self, grace: float) -> bool:
        """It has ended by itself, or was killed after `grace` seconds."""
        try:
            async with asyncio.timeout(grace):
                await self.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
            return False
        return True

    def _serves(self) -> None:
        self.ready = True
        self._happened.set()


def _environment() -> dict[str, str]:
    """Ours, without settings: a role gets all of its own as flags.

    LAPDEV_TOKEN, set for the CLI, must not become the manager's cluster token.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAPDEV_")}
    return {**kept, PARENT_VARIABLE: str(os.getpid())}


class _ReadyLine(asyncio.Protocol):
    """Waits for the line `ready` on a child's pipe, or the pipe's end."""

    def __init__(self, serves: Callable[[], None], over: Callable[[], None]) -> None:
        self._serves = serves
        self._over = over
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        self._seen = (self._seen + data)[:64]
        if self._seen == b"ready\n":
            self._serves()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over()
