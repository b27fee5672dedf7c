"""When a session's messages leave: together at the end of a loop tick, and when its clock says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from lapdev.tunnel.link import Link
from lapdev.tunnel.stream import Stream
from lapdev.wire.mux import MuxConnection
from lapdev.wire.mux.events import Event


class Flush:
    """Sends what the wire machine of a session has to say, on each of its live `links`.

    `dispatch` takes what its clock brings; `guard` runs a callback that may fail.
    """

    __slots__ = (
        "_dispatch",
        "_full",
        "_guard",
        "_links",
        "_loop",
        "_mux",
        "_timer",
        "_timer_at",
        "_waiter",
        "due",
    )

    def __init__(
        self,
        mux: MuxConnection,
        links: Mapping[int, Link],
        dispatch: Callable[[Event], None],
        guard: Callable[..., None],
    ) -> None:
        self._mux = mux
        self._links = links
        self._dispatch = dispatch
        self._guard = guard
        self._loop = asyncio.get_running_loop()
        self.due = False
        """Something leaves with this loop tick already."""
        self._full: list[Stream] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._waiter: asyncio.Event | None = None

    def soon(self) -> None:
        """What is to go leaves at the end of this loop tick, in as few messages as can be."""
        if not self.due and self._links:
            self.due = True
            self._loop.call_soon(self.now)

    def now(self) -> None:
        self.due = False
        if not self._links:
            self._pause_full()
            return
        more = True
        while more:
            more = self._send()
            for mux_stream in self._mux.take_writable():
                if isinstance(mux_stream.owner, Stream):
                    self._guard(mux_stream.owner.room_arrived)
                    more = True
        self._pause_full()
        self.changed()
        self._arm_timer()

    def filled(self, stream: Stream) -> None:
        """More than it should have is unsent: it hears of that if it is so after the flush."""
        if self.due:
            self._full.append(stream)
        else:
            stream.pause_if_full()

    def rest(self) -> None:
        """Nothing leaves until a link is there: the clock stands still."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def changed(self) -> None:
        """Whoever waits in `until` looks again."""
        if self._waiter is not None:
            self._waiter.set()
            self._waiter = None

    async def until(self, condition: Callable[[], Any]) -> None:
        """It is met; looked at whenever something has left or `changed`."""
        while not condition():
            self._waiter = self._waiter or asyncio.Event()
            await self._waiter.wait()

    # Inside

    def _send(self) -> bool:
        """Whether more could leave."""
        more = False
        for number, link in tuple(self._links.items()):
            websocket = link.websocket
            messages = self._mux.messages_to_send(number, websocket.room, websocket.piece)
            if messages:
                websocket.send_messages(messages)
                more = self._mux.has_more(number) or more
        return more

    def _pause_full(self) -> None:
        if self._full:
            full, self._full = self._full, []
            for stream in full:
                self._guard(stream.pause_if_full)

    def _arm_timer(self) -> None:
        deadline = self._mux.next_deadline()
        if deadline is None:
            return
        # Deadlines mostly move away: a timer that fires too early arms itself again.
        if self._timer is not None and self._timer_at <= deadline:
            return
        self.rest()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        for event in self._mux.handle_timeout(self._loop.time()):
            self._dispatch(event)
        self.now()
