"""Every background task has a name and an owner.

The only place that may call `asyncio.create_task`. A task is referenced until it is done, and
an exception that nobody is there to receive is logged as `task_failed`, never lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from lapdev.log import get_logger

T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()


def spawn(coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """The coroutine runs as a task until it is done or cancelled; a failure is logged.

    For work that belongs to a whole process. Anything with a shorter life belongs to a `Tasks`.
    """
    task = asyncio.create_task(coro, name=name)  # noqa: TID251
    _running.add(task)
    task.add_done_callback(_finished)
    return task


def _finished(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if task.cancelled():
        return
    error = task.exception()
    if error is not None:
        get_logger().error(
            "task_failed",
            task=task.get_name(),
            error=f"{type(error).__name__}: {error}",
            exc_info=error,
        )


class Tasks:
    """A group of tasks that ends with its owner.

    One task's failure is logged and leaves the others running. Leaving the `async with` block
    cancels every task and waits until each has ended.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """The coroutine runs as a task of this group. RuntimeError once the group is closed."""
        if self._closed:
            coro.close()
            raise RuntimeError(f"task {name!r} started in a closed group")
        task = spawn(coro, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Every task of the group has ended. Idempotent.

        Called by one of its own tasks, that one goes on and the others end.
        """
        self._closed = True
        current = asyncio.current_task()
        while waiting := {task for task in self._tasks if task is not current and not task.done()}:
            for task in waiting:
                task.cancel()
            # A task may shield its clean-up from one cancellation; ask again until it is over.
            await asyncio.wait(waiting, timeout=1.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
