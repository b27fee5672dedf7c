"""Control calls of one session: who waits for an answer, and what is being answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from lapdev.errors import (
    CallFailed,
    LapdevError,
    LocalProtocolError,
    RemoteProtocolError,
    TunnelClosed,
)
from lapdev.log import get_logger
from lapdev.net.tasks import spawn
from lapdev.wire.control import Message, decode_message, encode_message
from lapdev.wire.mux import MuxConnection
from lapdev.wire.mux.events import CallReceived, ReplyReceived


class TunnelCalls:
    def __init__(
        self,
        mux: MuxConnection,
        answer: Callable[[Message], Awaitable[Message]],
        flush_soon: Callable[[], None],
    ) -> None:
        self._mux = mux
        self._answer = answer
        self._flush_soon = flush_soon
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._over: Exception | None = None

    async def call(self, message: Message) -> Message:
        """See `Tunnel.call`."""
        if self._over is not None:
            raise TunnelClosed(str(self._over))
        try:
            call_id = self._mux.call(*encode_message(message))
        except LocalProtocolError as exc:
            raise CallFailed(exc.detail) from exc
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[call_id] = future
        self._flush_soon()
        try:
            answer = await future
        finally:
            del self._waiting[call_id]
            self._mux.forget_call(call_id)
        try:
            return decode_message(answer.get("name"), answer.get("body"))
        except RemoteProtocolError as exc:
            raise CallFailed(f"the answer cannot be read: {exc.detail}") from exc

    def call_received(self, event: CallReceived) -> None:
        task = spawn(self._serve(event), f"tunnel call {event.name}")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    def reply_received(self, event: ReplyReceived) -> None:
        future = self._waiting.get(event.call_id)
        if future is None or future.done():
            return
        if event.ok:
            future.set_result(event.body)
            return
        detail, hint = event.body.get("detail"), event.body.get("hint")
        error = CallFailed(str(detail or ""), hint=str(hint or ""))
        error.cause = str(event.body.get("cause") or error.cause)
        future.set_exception(error)

    def end(self, error: Exception) -> None:
        """Nobody waits any more, and nothing is being answered."""
        self._over = error
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(TunnelClosed(str(error)))
        for task in self._others():
            task.cancel()

    async def wait_ended(self) -> None:
        """What was being answered has stopped; a handler that closes its own tunnel goes on."""
        if others := self._others():
            await asyncio.wait(others)

    def _others(self) -> set[asyncio.Task[None]]:
        return {task for task in self._serving if task is not asyncio.current_task()}

    async def _serve(self, event: CallReceived) -> None:
        call_id, name = event.call_id, event.name
        try:
            answer = await self._answer(decode_message(name, event.body))
            reply_name, reply_body = encode_message(answer)
            self._mux.reply(call_id, True, {"name": reply_name, "body": reply_body})
        except LapdevError as exc:
            error = {"cause": exc.cause, "detail": exc.detail, "hint": exc.hint}
            self._mux.reply(call_id, False, error)
        except Exception as exc:
            get_logger().error("call_failed", error=f"{name}: {exc!r}", exc_info=exc)
            error = {"cause": "internal_error", "detail": f"{name} failed at the other end"}
            self._mux.reply(call_id, False, error)
        self._flush_soon()
