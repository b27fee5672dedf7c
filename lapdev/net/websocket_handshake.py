"""The opening handshake of a websocket, and the mask: all that the `websockets` library does here.

Frames are `lapdev.wire.websocket`'s. Everything between the two ends may answer in the other's
place (a proxy, a hotel's sign-in page), so a refusal says what it was and what to do about it.
"""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass
from typing import Any

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from lapdev.errors import RemoteProtocolError, TunnelRefused
from lapdev.wire.http1 import BodyEnd, RequestHead, ResponseHead, ResponseParser, header
from lapdev.wire.websocket import ApplyMask

try:
    from websockets.speedups import apply_mask as _apply_mask
except ImportError:  # a build of the library without its compiled part
    from websockets.utils import apply_mask as _apply_mask

apply_mask: ApplyMask = _apply_mask

MAX_REFUSAL_BYTES = 65_536
"""Of the body of an answer that is no upgrade: more is not waited for."""

MAX_RETRY_AFTER = 60
"""Seconds."""

# At DEBUG the library logs whole header blocks, credentials included.
_logger = logging.getLogger("lapdev.websocket")
_logger.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class ClientTarget:
    """Where the websocket request goes: the transport is connected already."""

    host: str
    port: int
    secure: bool
    path: str
    headers: tuple[tuple[str, str], ...] = ()


class ClientHandshake:
    """The dialling end's: one request, one answer."""

    def __init__(self, target: ClientTarget, subprotocol: str) -> None:
        uri = WebSocketURI(target.secure, target.host, target.port, target.path, "", None, None)
        self._core = ClientProtocol(uri, subprotocols=[Subprotocol(subprotocol)], logger=_logger)
        self._parser = ResponseParser()
        self._parser.expect(b"GET")
        self._refusal: ResponseHead | None = None
        self._body = b""
        request = self._core.connect()
        for name, value in target.headers:
            request.headers[name] = value
        self.request = request.serialize()

    def receive_data(self, data: bytes) -> bytes | None:
        """What follows the answer, once it is there and is an upgrade; until then None.

        Raises:
            TunnelRefused: it is something else.
        """
        try:
            events = self._parser.receive_data(data)
        except RemoteProtocolError as exc:
            raise _no_answer(exc) from exc
        for at, event in enumerate(events):
            if isinstance(event, BodyEnd):
                raise self._refused()
            if isinstance(event, bytes):
                self._body += event
                if len(self._body) > MAX_REFUSAL_BYTES:
                    raise self._refused()
            elif event.status == 101:
                self._check(event)
                return b"".join(rest for rest in events[at + 1 :] if isinstance(rest, bytes))
            elif event.status >= 200:
                self._refusal = event
                if _is_page(event):
                    raise self._refused()
        return None

    def receive_eof(self) -> TunnelRefused:
        """Why there is no websocket now."""
        try:
            self._parser.receive_eof()
        except RemoteProtocolError as exc:
            return self._refused() if self._refusal is not None else _no_answer(exc)
        return self._refused()

    def _check(self, head: ResponseHead) -> None:
        headers = Headers()
        for name, value in head.headers:
            headers[name.decode("latin-1")] = value.decode("latin-1")
        try:
            self._core.process_response(Response(101, "", headers))
        except InvalidHandshake as exc:
            raise TunnelRefused(
                f"the other end answered 101, but not to us: {exc}",
                answer_status=101,
                hint="something between here and there changes websocket requests",
            ) from exc

    def _refused(self) -> TunnelRefused:
        head = self._refusal
        assert head is not None
        return _refusal(head, self._body)


def _no_answer(exc: RemoteProtocolError) -> TunnelRefused:
    return TunnelRefused(f"no websocket answer: {exc.detail}")


def _is_page(head: ResponseHead) -> bool:
    """For people: it says nothing worth waiting for."""
    return (header(head.headers, b"content-type") or b"").lower().startswith(b"text/html")


def _refusal(head: ResponseHead, body: bytes) -> TunnelRefused:
    """What the other end says about a request it did not upgrade."""
    status = head.status
    detail = told = ""
    # A proxy's page is not our JSON, and says nothing worth repeating.
    with contextlib.suppress(ValueError, TypeError, LookupError):
        document: Any = json.loads(body)
        detail = _printable(document["error"]["detail"])
        told = _printable(document["error"]["hint"])
    hint = ""
    if status in (401, 403):
        hint = "check the token"
    elif status == 407:
        hint = "a proxy wants a name and password: put them into HTTPS_PROXY or HTTP_PROXY"
    elif status == 400 and not detail:
        hint = "does it speak https:// there, where the address says http://?"
    elif 300 <= status < 400:
        where = (header(head.headers, b"location") or b"").decode("latin-1")[:200]
        hint = f"it sends elsewhere, to {where!r}: is that the server's address?"
    elif status == 200 or (_is_page(head) and not detail):
        hint = (
            "that is no lapdev server: a proxy or a network's sign-in page answers in its place, "
            "or the address is wrong; open it in a browser"
        )
    text = f"the other end answered {status}" + (f": {detail}" if detail else "")
    after = header(head.headers, b"retry-after") or b""
    # It may also be a date, or what a stranger thinks long enough.
    seconds = min(int(after), MAX_RETRY_AFTER) if after.isdigit() and len(after) < 6 else 0
    return TunnelRefused(text, answer_status=status, hint=hint or told, retry_after=seconds)


def _printable(text: object) -> str:
    """A stranger's words, with nothing in them that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:300])


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What a request to become a websocket is answered with."""

    status: int
    data: bytes


def server_answer(head: RequestHead, subprotocol: str) -> ServerAnswer:
    """101 and what belongs to it, or the error that the request deserves (RFC 6455 §4.2)."""
    handshake = ServerProtocol(subprotocols=[Subprotocol(subprotocol)], logger=_logger)
    if head.method != b"GET" or head.minor == 0:
        answer = handshake.reject(400, "A websocket begins with an HTTP/1.1 GET.\n")
    else:
        headers = Headers()
        for name, value in head.headers:
            headers[name.decode("latin-1")] = value.decode("latin-1")
        answer = handshake.accept(Request(head.target.decode("latin-1"), headers))
    return ServerAnswer(answer.status_code, answer.serialize())
