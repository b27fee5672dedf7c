"""The websocket shell against raw bytes: handshake, fragments, limits, endings."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lapdev.errors import TunnelRefused
from lapdev.net.exchange import Exchange
from lapdev.net.http_server import HttpServer
from lapdev.net.listener import listen
from lapdev.net.websocket import ClientTarget, Lost, WebsocketConnection, WebsocketOptions
from tests.support.watch import Watch

OPTIONS = WebsocketOptions("lapdev.tunnel.v1", max_message_bytes=1_000, close_timeout=0.2)
KEY = base64.b64encode(b"0123456789abcdef")
ACCEPT = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
REQUEST = (
    b"GET /t HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: lapdev.tunnel.v1\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True) -> bytes:
    """One websocket frame; the mask of zeros leaves the payload readable."""
    head = bytes([opcode | (0x80 if fin else 0)])
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([len(payload) | mask_bit])
    else:
        head += bytes([126 | mask_bit]) + len(payload).to_bytes(2, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


class Listening:
    """Keeps what a websocket tells."""

    def __init__(self) -> None:
        self.websocket: WebsocketConnection | None = None
        self.messages: list[bytes] = []
        self.lost: list[Lost] = []
        self.paused = 0
        self.resumed = 0
        self.reads = 0
        self.watch = Watch()

    def websocket_opened(self, websocket: WebsocketConnection) -> None:
        self.websocket = websocket
        self.watch()

    def bytes_received(self) -> None:
        self.reads += 1

    def message_received(self, websocket: WebsocketConnection, message: bytes) -> None:
        self.messages.append(message)
        self.watch()

    def pause_writing(self) -> None:
        self.paused += 1

    def resume_writing(self) -> None:
        self.resumed += 1
        self.watch()

    def websocket_lost(self, websocket: WebsocketConnection, lost: Lost) -> None:
        self.lost.append(lost)
        self.watch()

    def opened(self) -> WebsocketConnection:
        assert self.websocket is not None
        return self.websocket


class RawClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def close_code(self) -> int:
        """The code of the close frame that ends what the server sends."""
        data = await self.reader.read()
        assert data[0] == 0x88, data
        return int.from_bytes(data[2:4], "big")


@asynccontextmanager
async def server(
    folder: Path, request: bytes = REQUEST, options: WebsocketOptions = OPTIONS
) -> AsyncIterator[tuple[RawClient, Listening, list[Lost]]]:
    """A raw client that has sent `request` to a listener that takes websockets."""
    listening, closed = Listening(), list[Lost]()

    def serve(exchange: Exchange) -> None:
        websocket = WebsocketConnection.server(exchange.request, listening, options)
        websocket.on_closed = closed.append
        transport, leftover = exchange.detach()
        websocket.take_over(transport, leftover)

    http = HttpServer(serve)
    listener = await listen(f"unix:{folder}/ws", http.connection)
    reader, writer = await asyncio.open_unix_connection(f"{folder}/ws")
    try:
        writer.write(request)
        yield RawClient(reader, writer), listening, closed
    finally:
        writer.close()
        await listening.watch.until(lambda: listening.lost)
        await listener.aclose()
        await http.aclose()


async def test_the_handshake_is_answered_without_extensions(tmp_path: Path) -> None:
    async with server(tmp_path) as (client, listening, _):
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: " + ACCEPT in head
        assert b"Sec-WebSocket-Protocol: lapdev.tunnel.v1" in head
        assert b"Extensions" not in head
        assert listening.websocket is not None


async def test_bytes_that_came_with_the_request_are_the_first_message(tmp_path: Path) -> None:
    async with server(tmp_path, REQUEST + frame(2, b"early")) as (_, listening, _):
        await listening.watch.until(lambda: listening.messages)
        assert listening.messages == [b"early"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"Version: 13", b"Version: 12"), 400),
        ((KEY, b"short"), 400),
        ((b"lapdev.tunnel.v1", b"chat"), 400),
        ((b"Sec-WebSocket-Protocol: lapdev.tunnel.v1\r\n", b""), 400),
        ((b"GET", b"POST"), 400),
        ((b"HTTP/1.1", b"HTTP/1.0"), 400),
        ((b"Upgrade: websocket", b"Upgrade: foo"), 426),
    ],
)
async def test_a_request_that_is_none_gets_a_status_and_no_101(
    tmp_path: Path, change: tuple[bytes, bytes], status: int
) -> None:
    request = REQUEST.replace(*change, 1)
    if change[0] == b"GET":
        request = request.replace(b"Host: x", b"Host: x\r\nContent-Length: 0")
    async with server(tmp_path, request) as (client, listening, _):
        assert (await client.reader.read()).startswith(b"HTTP/1.1 %d " % status)
        assert listening.websocket is None
        await listening.watch.until(lambda: listening.lost)
        assert isinstance(listening.lost[0].error, TunnelRefused)


async def test_fragments_are_joined_and_pings_between_them_answered(tmp_path: Path) -> None:
    async with server(tmp_path) as (client, listening, _):
        await client.head()
        client.writer.write(
            frame(2, b"a" * 400, fin=False)
            + frame(9, b"ping")
            + frame(0, b"b" * 400, fin=False)
            + frame(0, b"c" * 200)
            + frame(2, b"")
        )
        await listening.watch.until(lambda: len(listening.messages) == 2)
        assert listening.messages == [b"a" * 400 + b"b" * 400 + b"c" * 200, b""]
        assert await client.reader.readexactly(6) == frame(10, b"ping", masked=False)


@pytest.mark.parametrize(
    "message",
    [frame(2, b"x" * 1_001), frame(2, b"x" * 600, fin=False) + frame(0, b"y" * 401)],
    ids=["whole", "in fragments"],
)
async def test_row_64_a_message_above_the_limit_is_closed_with_1009(
    tmp_path: Path, message: bytes
) -> None:
    async with server(tmp_path) as (client, listening, closed):
        await client.head()
        client.writer.write(message)
        assert await client.close_code() == 1009
        client.writer.close()
        await listening.watch.until(lambda: listening.lost)
        assert listening.lost[0].code == 1009
        assert closed == listening.lost
        assert listening.messages == []


async def test_a_text_message_is_closed_with_1003_and_what_follows_is_not_read(
    tmp_path: Path,
) -> None:
    async with server(tmp_path) as (client, listening, _):
        await client.head()
        client.writer.write(frame(1, b"hello") + frame(2, b"after"))
        assert await client.close_code() == 1003
        assert listening.messages == []


ROW_46 = {
    "an unmasked frame": frame(2, b"x", masked=False),
    "a reserved bit": b"\xc2\x81\0\0\0\0x",
    "a reserved opcode": frame(3, b"x"),
    "a fragmented ping": frame(9, b"x", fin=False),
    "a ping longer than 125": frame(9, b"x" * 126),
    "a continuation of nothing": frame(0, b"x"),
    "a new message inside another": frame(2, b"x", fin=False) + frame(2, b"y"),
    "a close frame of one byte": frame(8, b"x"),
    "a close code that is none": frame(8, b"\x03\xec"),
}


@pytest.mark.parametrize("name", ROW_46)
async def test_row_46_frames_that_break_the_rules_are_closed_with_1002(
    tmp_path: Path, name: str
) -> None:
    async with server(tmp_path) as (client, listening, _):
        await client.head()
        client.writer.write(ROW_46[name])
        assert await client.close_code() == 1002
        assert listening.messages == []


async def test_row_46_a_length_of_2_to_the_63_costs_nothing(tmp_path: Path) -> None:
    async with server(tmp_path) as (client, _, _):
        await client.head()
        client.writer.write(b"\x82\xff" + (2**63 - 1).to_bytes(8, "big") + b"\0\0\0\0")
        assert await client.close_code() == 1009


async def test_messages_before_the_peers_close_frame_count(tmp_path: Path) -> None:
    async with server(tmp_path) as (client, listening, _):
        await client.head()
        client.writer.write(frame(2, b"last") + frame(8, (1001).to_bytes(2, "big") + b"bye"))
        assert await client.close_code() == 1001
        client.writer.close()
        await listening.watch.until(lambda: listening.lost)
        assert listening.messages == [b"last"]
        assert (listening.lost[0].code, listening.lost[0].reason) == (1001, "bye")
        assert "close code 1001" in str(listening.lost[0])


async def test_our_close_has_a_code_and_a_reason_of_legal_length(tmp_path: Path) -> None:
    async with server(tmp_path) as (client, listening, _):
        await client.head()
        listening.opened().close(4409, "é" * 200)
        listening.opened().close(1000)
        data = await client.reader.read()
        assert data[:2] == bytes([0x88, 2 + 122])
        assert int.from_bytes(data[2:4], "big") == 4409
        assert data[4:].decode() == "é" * 61
        listening.opened().send(b"dropped")


async def test_a_peer_that_does_not_answer_our_close_is_cut_off(tmp_path: Path) -> None:
    async with server(tmp_path) as (client, listening, _):
        await client.head()
        listening.opened().close(1000)
        await listening.watch.until(lambda: listening.lost)
        assert listening.lost[0].code == 1000
        await listening.opened().wait_closed()


async def test_a_connection_that_breaks_is_an_accident(tmp_path: Path) -> None:
    async with server(tmp_path) as (client, listening, _):
        await client.head()
        waiting = asyncio.gather(listening.opened().wait_closed())
        client.writer.transport.abort()
        await waiting
        await listening.watch.until(lambda: listening.lost)
        assert listening.lost[0].code == 1006
        assert str(listening.lost[0])
        listening.opened().send(b"goes nowhere")
        listening.opened().close(1000)
        listening.opened().abort()


async def test_a_slow_reader_pauses_us_and_one_that_never_reads_is_cut_off(tmp_path: Path) -> None:
    options = WebsocketOptions("lapdev.tunnel.v1", max_buffered_bytes=6_000_000)
    async with server(tmp_path, options=options) as (client, listening, _):
        await client.head()
        client.writer.transport.pause_reading()
        while not listening.paused:
            listening.opened().send(b"x" * 50_000)
        client.writer.transport.resume_reading()
        drained = asyncio.get_running_loop().create_task(client.reader.read(-1))
        await listening.watch.until(lambda: listening.resumed)
        drained.cancel()
        client.writer.transport.pause_reading()
        for _ in range(400):
            listening.opened().send(b"x" * 50_000)
        await listening.watch.until(lambda: listening.lost)
        assert listening.lost[0].code == 1006


class Scripted(asyncio.Transport):
    """A transport that holds what it is told to hold, and pauses as the loops' own do."""

    def __init__(self, protocol: WebsocketConnection) -> None:
        super().__init__()
        self.protocol, self.held, self.paused = protocol, 0, False

    def get_write_buffer_size(self) -> int:
        return self.held

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self.held > (high or 0) and not self.paused:
            self.paused = True
            self.protocol.pause_writing()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None: ...


async def test_when_the_line_turns_out_slow_as_it_goes_on_the_pause_is_the_last_word() -> None:
    listening = Listening()
    websocket = WebsocketConnection.client(ClientTarget("h", 1, False, "/"), listening, OPTIONS)
    transport = Scripted(websocket)
    websocket.connection_made(transport)
    clock = asyncio.get_running_loop()
    websocket._pace.burst = 262_144
    websocket._pace.paused(clock.time() - 2, 0)  # two seconds for next to nothing
    transport.held = 60_000  # below the old low water, above the new high water
    told: list[str] = []
    listening.pause_writing = lambda: told.append("pause")  # type: ignore[method-assign]
    listening.resume_writing = lambda: told.append("resume")  # type: ignore[method-assign]
    websocket.resume_writing()
    assert websocket._pace.burst < 60_000
    assert told == ["resume", "pause"]


# The client's end


@asynccontextmanager
async def client_of(folder: Path, answer: bytes) -> AsyncIterator[tuple[Listening, list[bytes]]]:
    """A websocket client of a server that answers with raw bytes; KEY stands for the right one."""
    listening, requests = Listening(), list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        requests.append(request)
        key = next(
            line.split(b": ")[1]
            for line in request.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key + guid).digest())
        writer.write(answer.replace(ACCEPT, accept))
        if not answer.startswith(b"HTTP/1.1 101"):
            writer.close()
        await reader.read()
        writer.close()

    raw = await asyncio.start_unix_server(serve, f"{folder}/raw")
    target = ClientTarget("example", 80, False, "/t", (("Authorization", "Bearer s3cret"),))
    await asyncio.get_running_loop().create_unix_connection(
        lambda: WebsocketConnection.client(target, listening, OPTIONS), f"{folder}/raw"
    )
    try:
        yield listening, requests
    finally:
        if listening.websocket is not None:
            listening.websocket.abort()
        await listening.watch.until(lambda: listening.lost)
        raw.close()
        await raw.wait_closed()


SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\nSec-WebSocket-Protocol: lapdev.tunnel.v1\r\n\r\n"
)


async def test_the_client_asks_for_our_protocol_and_hears_what_follows(tmp_path: Path) -> None:
    async with client_of(tmp_path, SWITCH + frame(2, b"hi", masked=False)) as (client, requests):
        await client.watch.until(lambda: client.messages)
        assert client.messages == [b"hi"]
        assert client.reads >= 1
        (request,) = requests
        assert request.startswith(b"GET /t HTTP/1.1\r\n")
        for line in (b"Host: example", b"Authorization: Bearer s3cret"):
            assert line in request.split(b"\r\n")
        assert b"Extensions" not in request


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            401,
            "answered 401",
        ),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Le", 0, "no websocket answer"),
        (b"", 0, "no websocket answer"),
        (
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 37\r\n\r\n"
            b'{"error": {"detail": "wrong cluster"}}'.ljust(37),
            403,
            "answered 403",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", 200, "answered 200"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 0, "no websocket answer"),
        (SWITCH.replace(ACCEPT, b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="), 101, "answered 101"),
        (SWITCH.replace(b"lapdev.tunnel.v1", b"chat"), 101, "answered 101"),
    ],
)
async def test_an_answer_that_is_no_upgrade_is_a_refusal_with_its_status(
    tmp_path: Path, answer: bytes, status: int, detail: str
) -> None:
    async with client_of(tmp_path, answer) as (client, _):
        await client.watch.until(lambda: client.lost)
        error = client.lost[0].error
        assert isinstance(error, TunnelRefused)
        assert error.answer_status == status
        assert detail in str(error)
        assert "s3cret" not in str(error)
        assert client.websocket is None


async def test_a_refusal_in_our_own_words_is_passed_on(tmp_path: Path) -> None:
    body = b'{"error": {"cause": "forbidden", "detail": "another cluster\'s token"}}'
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with client_of(tmp_path, answer) as (client, _):
        await client.watch.until(lambda: client.lost)
        assert "another cluster's token" in str(client.lost[0].error)
