"""Feeds HTTP/1.1 parsers the same bytes cut in different ways, and insists on the same outcome.

The law: the same bytes give the same events and the same refusal however they are cut. One thing
is cut-dependent by design: a refusal takes the events of its own call with it, so what a coarse cut
reports is the beginning of what single bytes report.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1 import (
    INNER_LIMITS,
    PUBLIC_LIMITS,
    BodyEnd,
    Headers,
    Limits,
    RequestEvent,
    RequestHead,
    RequestParser,
    ResponseEvent,
    ResponseHead,
    ResponseParser,
)


@dataclass
class Message:
    """One message as the events told it."""

    head: RequestHead | ResponseHead
    body: bytes = b""
    complete: bool = False
    trailers: Headers = field(default_factory=list)


@dataclass
class Outcome:
    """All events, and what the parser refused in the end: the status owed, or None."""

    messages: list[Message] = field(default_factory=list)
    refused: int | None = None
    detail: str = ""

    def add(self, events: Iterable[RequestEvent | ResponseEvent]) -> None:
        for event in events:
            if isinstance(event, bytes):
                assert event, "an empty body event says nothing"
                self.messages[-1].body += event
            elif isinstance(event, BodyEnd):
                assert not self.messages[-1].complete
                self.messages[-1].complete = True
                self.messages[-1].trailers = event.trailers
            else:
                self.messages.append(Message(event))

    @property
    def complete(self) -> int:
        """How many messages were complete."""
        return sum(message.complete for message in self.messages)

    @property
    def request(self) -> RequestHead:
        """The head of the one request."""
        [message] = self.messages
        assert isinstance(message.head, RequestHead)
        return message.head

    @property
    def response(self) -> ResponseHead:
        """The head of the last response."""
        head = self.messages[-1].head
        assert isinstance(head, ResponseHead)
        return head

    def begins_like(self, other: Outcome) -> bool:
        """Whether everything here happened in `other`, too, in the same order."""
        for index, mine in enumerate(self.messages):
            if index >= len(other.messages):
                return False
            theirs = other.messages[index]
            if mine == theirs:
                continue
            last = index == len(self.messages) - 1
            if not last or mine.complete or mine.head != theirs.head:
                return False
            return theirs.body.startswith(mine.body)
        return True


def cuts(data: bytes) -> list[list[bytes]]:
    """The data whole, in single bytes, behind every CR and LF, before every CR and LF."""
    single = [data[i : i + 1] for i in range(len(data))]
    behind = [piece for piece in re.split(rb"(?<=[\r\n])", data) if piece]
    before = [piece for piece in re.split(rb"(?=[\r\n])", data) if piece]
    return [[data] if data else [], single, behind, before]


def requests(data: bytes, limits: Limits = PUBLIC_LIMITS, *, eof: bool = True) -> Outcome:
    """The requests in `data`, one behind the other, under every cut."""
    return _one_outcome([request_outcome(pieces, limits, eof=eof) for pieces in cuts(data)])


def request_outcome(
    pieces: Sequence[bytes], limits: Limits = PUBLIC_LIMITS, *, eof: bool = True
) -> Outcome:
    """The requests in `pieces`, under this cut alone."""
    parser = RequestParser(limits)
    outcome = Outcome()

    def take(events: list[RequestEvent]) -> None:
        outcome.add(events)
        while events and isinstance(events[-1], BodyEnd):
            events = parser.start_next()
            outcome.add(events)

    try:
        for piece in pieces:
            take(parser.receive_data(piece))
        if eof:
            outcome.add(parser.receive_eof())
    except RemoteProtocolError as exc:
        outcome.refused = exc.answer_status
        outcome.detail = exc.detail
    return outcome


def response(
    data: bytes,
    method: bytes = b"GET",
    limits: Limits = INNER_LIMITS,
    *,
    eof: bool = True,
    upgrade: bool = True,
) -> Outcome:
    """The answer to one `method` request in `data`, under every cut."""
    outcomes = []
    for pieces in cuts(data):
        parser = ResponseParser(limits)
        parser.expect(method, upgrade=upgrade)
        outcome = Outcome()
        try:
            for piece in pieces:
                outcome.add(parser.receive_data(piece))
            if eof:
                outcome.add(parser.receive_eof())
        except RemoteProtocolError as exc:
            outcome.refused = exc.answer_status
            outcome.detail = exc.detail
        outcomes.append(outcome)
    return _one_outcome(outcomes)


def _one_outcome(outcomes: list[Outcome]) -> Outcome:
    """The outcome of single bytes, which is the fullest; the others must agree with it."""
    whole, single, *rest = outcomes
    for other in (whole, *rest):
        assert other.refused == single.refused, (other, single)
        assert other.begins_like(single), (other, single)
        if single.refused is None:
            assert other == single
    return single
