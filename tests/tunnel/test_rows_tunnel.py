"""Bad inputs at the tunnel's door, by the number of their row, through a real socket.

A peer written by hand says what it must not; what counts is the close code, the log, and that a
healthy tunnel beside it never notices.
"""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import structlog

from lapdev.net.tasks import spawn
from lapdev.tunnel import TunnelOptions
from lapdev.wire.control import Done, ReportCluster
from tests.support.needs import corpus
from tests.support.raw_tunnel import (
    UPGRADE,
    Closed,
    RawTunnel,
    hello_map,
    pack,
    raw_tunnel,
    websocket_frame,
)
from tests.support.tunnel_ends import FAST, TARGET, Ends, Recorder, connected

HELLO, WELCOME, OPEN, ACCEPT, DATA, FIN, RESET, CREDIT, PING, PONG, CALL, REPLY = range(12)
SERVICE = {"kind": "service", "namespace": "shop", "service": "api", "port": 8080}
WINDOW = FAST.mux.stream_window


@asynccontextmanager
async def hostile(
    folder: Path, options: TunnelOptions = FAST
) -> AsyncIterator[tuple[Ends, RawTunnel]]:
    """A healthy tunnel, and beside it a peer of another instance that has been welcomed."""
    async with connected(folder, options) as ends:
        async with raw_tunnel(f"unix:{folder}/s", {}) as peer:
            yield ends, peer
        answer = await ends.tunnel.call(ReportCluster(version="0.1", driver="local"))
        assert answer == Done(), "the healthy tunnel is none the wiser"
        assert not ends.watcher.down


async def ends_with(peer: RawTunnel, code: int, word: str = "") -> Closed:
    """The connection is closed with that code, and the log says why."""
    closed = await peer.closed()
    assert closed.code == code, closed
    assert word in closed.reason
    return closed


# Row 59: what is no frame


DEEP = b"\x91" * 10_000 + b"\xc0"
NOT_MSGPACK = {
    "truncated in the head": b"\x94\x04\x01",
    "truncated in the bytes": b"\x94\x04\x01\x00\xc5\x01\x00abc",
    "array32 of ffffffff": b"\x93\x08\x01\xdd\xff\xff\xff\xff",
    "map32 of ffffffff": b"\x93\x08\x01\xdf\xff\xff\xff\xff",
    "str32 of ffffffff": b"\x93\x08\x01\xdb\xff\xff\xff\xff",
    "bin32 of ffffffff": b"\x93\x08\x01\xc6\xff\xff\xff\xff",
    "ext32 of ffffffff": b"\x93\x08\x01\xc9\xff\xff\xff\xff\x01",
    "the whole message is an array32 of ffffffff": b"\xdd\xff\xff\xff\xff",
    "depth of 10,000": b"\x93\x08\x01" + DEEP,
    "extension": b"\x93\x08\x01\xd4\x05\x00",
    "timestamp": b"\x93\x08\x01\xd6\xff\x00\x00\x00\x00",
    "key twice": b"\x93\x08\x01\x82\xa1k\x01\xa1k\x02",
    "key that is no string": b"\x93\x08\x01\x81\x01\x02",
    "trailing byte that is no msgpack": pack([PING, 1]) + b"\xc1",
    "string that is not utf-8": b"\x96\x06\x01\x00\xa1\xff\xa0\xc0",
}


@pytest.mark.parametrize("name", NOT_MSGPACK)
async def test_row_59_what_is_not_our_msgpack_is_closed_with_1007_and_logged(
    tmp_path: Path, name: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with hostile(tmp_path) as (_, peer):
            peer.send_message(NOT_MSGPACK[name])
            closed = await ends_with(peer, 1007)
    (line,) = [line for line in logs if line["event"] == "tunnel_violated"]
    assert closed.reason in line["error"]


NO_FRAME: dict[str, Any] = {
    "a number": 5,
    "a map": {"type": 8},
    "nothing": [],
    "trailing nil": None,
    "type is text": ["PING", 1],
    "type is a float": [8.0, 1],
    "type is negative": [-8, 1],
    "type is a flag": [True, 1],
    "a field too few": [DATA, 1, 0],
    "float as stream id": [DATA, 1.0, 0, b"x"],
    "negative stream id": [DATA, -1, 0, b"x"],
    "stream id of zero": [DATA, 0, 0, b"x"],
    "flag as stream id": [DATA, True, 0, b"x"],
    "stream id of 2^53": [DATA, 2**53, 0, b"x"],
    "text as bytes": [DATA, 1, 0, "x"],
    "no bytes": [DATA, 1, 0, b""],
    "target is no map": [OPEN, 1, [SERVICE], WINDOW],
    "target is deep": [OPEN, 1, {"kind": json.loads("[" * 40 + "]" * 40)}, WINDOW],
    "cause is bytes": [RESET, 1, 0, b"cause", ""],
    "cause is long": [RESET, 1, 0, "c" * 65, ""],
    "a second hello": [HELLO, hello_map()],
    "a welcome": [WELCOME, {}],
}


@pytest.mark.parametrize("name", NO_FRAME)
async def test_row_59_a_field_of_the_wrong_type_is_closed_with_1002_and_logged(
    tmp_path: Path, name: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with hostile(tmp_path) as (_, peer):
            peer.send([PING, 1], NO_FRAME[name])
            closed = await ends_with(peer, 1002)
    (line,) = [line for line in logs if line["event"] == "tunnel_violated"]
    assert closed.reason in line["error"]


@pytest.mark.parametrize(
    "hello",
    [
        {"role": 5},
        {"instance": "a b"},
        {"session": ""},
        {"session": "s" * 65},
        {"resume": 0},
        {"link": -1},
        {"link": 4},
        {"link": 1.0},
        {"replaces": None},
        {"version": True},
    ],
    ids=str,
)
async def test_row_59_a_hello_with_a_wrong_value_is_closed_with_1002(
    tmp_path: Path, hello: dict[str, Any]
) -> None:
    async with connected(tmp_path) as ends, raw_tunnel(f"unix:{tmp_path}/s") as peer:
        peer.send([HELLO, hello_map(**hello)])
        await ends_with(peer, 1002)
        assert len(ends.acceptor.server.tunnels) == 1


async def test_row_59_a_claimed_length_allocates_nothing(tmp_path: Path) -> None:
    async with connected(tmp_path):
        for name in [name for name in NOT_MSGPACK if "ffffffff" in name]:
            async with raw_tunnel(f"unix:{tmp_path}/s", {}) as peer:
                gc.collect()
                tracemalloc.start()
                try:
                    peer.send_message(NOT_MSGPACK[name])
                    await ends_with(peer, 1007)
                    peak = tracemalloc.get_traced_memory()[1]
                finally:
                    tracemalloc.stop()
            assert peak < 2**21, name


def wire_forms() -> Iterator[tuple[object, bytes]]:
    """(value, bytes) of each form in the corpus; extensions and timestamps stand for themselves."""
    path = corpus("msgpack") / "msgpack-test-suite.json"
    for group, cases in json.loads(path.read_text(encoding="utf-8")).items():
        for case in cases:
            foreign = "ext" in case or "timestamp" in case
            for form in case["msgpack"]:
                yield (group if foreign else case), bytes.fromhex(form.replace("-", ""))


async def test_row_59_every_wire_form_of_every_value_is_read_and_no_extension_is(
    tmp_path: Path,
) -> None:
    refused = 0
    async with connected(tmp_path):
        async with raw_tunnel(f"unix:{tmp_path}/s", {}) as peer:
            sent = 0
            for value, form in wire_forms():
                if isinstance(value, dict):
                    sent += 1
                    peer.send_message(b"\x93\x08" + msgpack.packb(sent) + form)
                    assert (await peer.next_of(PONG))[1] == sent
        for value, form in wire_forms():
            if isinstance(value, str):
                refused += 1
                async with raw_tunnel(f"unix:{tmp_path}/s", {}) as peer:
                    peer.send_message(b"\x93\x08\x01" + form)
                    await ends_with(peer, 1007)
    assert sent > 150
    assert refused > 20


async def test_row_59_one_in_every_integer_form_is_a_stream_id_and_in_no_other(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path):
        for value, form in wire_forms():
            if not isinstance(value, dict) or value.get("number") != 1:
                continue
            async with raw_tunnel(f"unix:{tmp_path}/s", {}) as peer:
                body = pack(SERVICE) + msgpack.packb(WINDOW)
                peer.send_message(b"\x94\x02" + form + body)
                if form[0] in (0xCA, 0xCB):  # floats
                    await ends_with(peer, 1002)
                else:
                    assert (await peer.next_of(ACCEPT))[1] == 1


# Row 60: streams that are not there, or not theirs


async def test_row_60_data_for_an_unknown_stream_resets_it_and_reaches_no_other(
    tmp_path: Path,
) -> None:
    async with hostile(tmp_path) as (ends, peer):
        streams = ends.acceptor.watcher.streams
        peer.send([OPEN, 1, SERVICE, WINDOW], [DATA, 1, 0, b"mine"])
        await peer.next_of(ACCEPT, 1)
        peer.send([OPEN, 3, SERVICE, WINDOW], [RESET, 3, 0, "gone", ""])
        await peer.next_of(RESET, 3)
        peer.send([DATA, 3, 0, b"late"], [FIN, 3, 4])
        assert (await peer.next_of(RESET, 3))[3] == "unknown_stream"
        peer.send([DATA, 1, 4, b" too"], [PING, 1])
        await peer.next_of(PONG)
        recorder = streams[0]._protocol
        assert isinstance(recorder, Recorder)
        assert bytes(recorder.data) == b"mine too"


async def test_row_60_frames_for_a_stream_that_has_ended_end_no_session(tmp_path: Path) -> None:
    async with hostile(tmp_path) as (ends, peer):
        ends.acceptor.watcher.serve = lambda stream: stream.accept(Recorder(echo=True))
        peer.send([OPEN, 1, SERVICE, WINDOW], [DATA, 1, 0, b"all"], [FIN, 1, 3])
        await peer.next_of(FIN, 1)
        peer.send([CREDIT, 1, 4, WINDOW + 4])
        for late in ([DATA, 1, 3, b"more"], [FIN, 1, 7]):
            peer.send(late)
            assert (await peer.next_of(RESET, 1))[3] == "unknown_stream"
        # These cross with a stream's end on honest wires too.
        peer.send([CREDIT, 1, 4, WINDOW * 9], [RESET, 1, 3, "x", ""], [ACCEPT, 1, 5], [PING, 1])
        await peer.next_of(PONG)


BAD_IDS: dict[str, list[Any]] = {
    "an id used before": [OPEN, 3, SERVICE, WINDOW],
    "an even id": [OPEN, 4, SERVICE, WINDOW],
    "data on an id of the acceptor's": [DATA, 4, 0, b"x"],
    "accept of what was never opened": [ACCEPT, 2, WINDOW],
    "end of what was never opened": [FIN, 2, 0],
    "reset of what was never opened": [RESET, 2, 0, "x", ""],
    "accept of the peer's own": [ACCEPT, 3, WINDOW],
}


@pytest.mark.parametrize("name", BAD_IDS)
async def test_row_60_an_id_used_twice_or_of_the_wrong_side_is_closed_with_1002(
    tmp_path: Path, name: str
) -> None:
    async with hostile(tmp_path) as (_, peer):
        peer.send([OPEN, 1, SERVICE, WINDOW], [OPEN, 3, SERVICE, WINDOW])
        await peer.next_of(ACCEPT, 3)
        peer.send(BAD_IDS[name])
        await ends_with(peer, 1002)


# Row 61: credit


async def test_row_61_data_beyond_credit_by_one_byte_is_closed_with_1002(tmp_path: Path) -> None:
    async with hostile(tmp_path) as (ends, peer):
        ends.acceptor.watcher.serve = lambda stream: None  # asked, and never answered
        peer.send([OPEN, 1, SERVICE, WINDOW])
        for offset in range(0, WINDOW, 65_536):
            peer.send([DATA, 1, offset, bytes(65_536)])
        peer.send([PING, 1])
        await peer.next_of(PONG)  # all of the window is within it
        peer.send([DATA, 1, WINDOW, b"!"])
        await ends_with(peer, 1002, "flow control")


async def test_row_61_data_beyond_the_sessions_credit_by_one_byte_is_closed_with_1002(
    tmp_path: Path,
) -> None:
    windows = {"session_window": 65_536, "max_session_window": 65_536, "stream_window": 65_536}
    small = replace(FAST, mux=replace(FAST.mux, **windows))
    async with hostile(tmp_path, small) as (ends, peer):
        ends.acceptor.watcher.serve = lambda stream: None
        peer.send([OPEN, 1, SERVICE, WINDOW], [DATA, 1, 0, bytes(40_000)])
        peer.send([OPEN, 3, SERVICE, WINDOW], [DATA, 3, 0, bytes(25_536)], [PING, 1])
        await peer.next_of(PONG)
        peer.send([DATA, 3, 25_536, b"!"])
        await ends_with(peer, 1002, "flow control")


@pytest.mark.parametrize("stream", [0, 1])
async def test_row_61_credit_past_2_to_the_31_is_a_limit_and_past_2_to_the_53_is_refused(
    tmp_path: Path, stream: int
) -> None:
    async with hostile(tmp_path) as (ends, peer):
        ends.acceptor.watcher.serve = lambda stream: stream.accept(Recorder(echo=True))
        peer.send([OPEN, 1, SERVICE, 0], [CREDIT, stream, 0, 2**31], [CREDIT, stream, 0, 2**53 - 1])
        peer.send([CREDIT, 1, 0, 3], [DATA, 1, 0, b"abc"])
        assert (await peer.next_of(DATA, 1))[3] == b"abc"
        peer.send([CREDIT, stream, 0, 2**53])
        await ends_with(peer, 1002, "CREDIT")


async def test_row_61_credit_of_zero_stops_a_stream_and_nothing_else(tmp_path: Path) -> None:
    async with hostile(tmp_path) as (ends, peer):
        ends.acceptor.watcher.serve = lambda stream: stream.accept(Recorder(echo=True))
        peer.send([OPEN, 1, SERVICE, 0], [DATA, 1, 0, b"waits"])
        peer.send([OPEN, 3, SERVICE, WINDOW], [DATA, 3, 0, b"flows"])
        assert (await peer.next_of(DATA))[1:] == [3, 0, b"flows"]
        peer.send([CREDIT, 1, 0, 0], [PING, 1])
        await peer.next_of(PONG)
        assert not peer.of(DATA, 1)
        peer.send([CREDIT, 1, 0, 2])
        assert (await peer.next_of(DATA, 1))[1:] == [1, 0, b"wa"]


@pytest.mark.parametrize("stream", [0, 1])
async def test_row_61_more_acknowledged_than_was_sent_is_closed_with_1002(
    tmp_path: Path, stream: int
) -> None:
    async with hostile(tmp_path) as (_, peer):
        peer.send([OPEN, 1, SERVICE, WINDOW], [CREDIT, stream, 1, WINDOW])
        await ends_with(peer, 1002)


# Row 62: streams that nobody takes


async def test_row_62_of_10_000_opens_without_reading_256_wait_and_the_rest_are_refused(
    tmp_path: Path,
) -> None:
    async with hostile(tmp_path) as (ends, peer):
        watcher = ends.acceptor.watcher
        watcher.serve = lambda stream: None
        for first in range(0, 10_000, 500):
            ids = range(2 * first + 1, 2 * (first + 500), 2)
            peer.send(*([OPEN, number, SERVICE, 0] for number in ids))
        await watcher.wait_until(lambda seen: len(seen.streams) == 256)
        stream = ends.acceptor.server.tunnels[0].open_stream(TARGET, Recorder())
        await stream.wait_accepted()  # the healthy tunnel, all this while
        peer.send([PING, 1])
        await peer.next_of(PONG)
        assert len(watcher.streams) == 256
        refused = peer.of(RESET)
        assert len(refused) == 10_000 - 256
        assert {frame[3] for frame in refused} == {"too_many_pending"}
        stream.abort()


# Row 63: a reader that stops


async def test_row_63_a_stream_that_never_reads_holds_one_window_while_50_others_go_on(
    tmp_path: Path,
) -> None:
    body = bytes(range(256)) * 1_024
    async with connected(tmp_path) as ends:
        opener, stalled = ends.acceptor.tunnel, Recorder()

        def serve(stream: Any) -> None:
            if len(ends.watcher.streams) == 1:
                stream.accept(stalled)
                stream.pause_reading()
            else:
                stream.accept(Recorder(echo=True))

        ends.watcher.serve = serve
        writer = Recorder()
        stuck = opener.open_stream(TARGET, writer)
        while not writer.paused:
            stuck.write(bytes(65_536))
            await asyncio.sleep(0)
        readers = [Recorder() for _ in range(50)]
        for reader in readers:
            other = opener.open_stream(TARGET, reader)
            other.write(body)
            other.write_eof()
        for reader in readers:
            await reader.wait_until(lambda seen: seen.eof)
            assert bytes(reader.data) == body
        assert writer.paused
        (held,) = [s for s in ends.watcher.streams if s._protocol is stalled]
        assert sum(map(len, held._held)) == WINDOW
        stuck.abort()


# Row 64: messages that are too large


async def test_row_64_a_message_of_17_mib_is_closed_with_1009_before_it_has_come(
    tmp_path: Path,
) -> None:
    async with hostile(tmp_path) as (_, peer):
        peer.send_bytes(b"\x82\xff" + (17 * 2**20).to_bytes(8, "big") + b"mask" + bytes(100))
        await ends_with(peer, 1009)


async def test_row_64_a_message_of_one_mebibyte_passes_and_one_byte_more_does_not(
    tmp_path: Path,
) -> None:
    ping = pack([PING, 1])
    filler = pack([99, bytes(65_000)])
    rest = 2**20 - len(ping) - 16 * len(filler)
    message = filler * 16 + b"\x92\x63\xc5" + (rest - 5).to_bytes(2, "big") + bytes(rest - 5) + ping
    assert len(message) == 2**20
    async with hostile(tmp_path) as (_, peer):
        peer.send_message(message)
        await peer.next_of(PONG)
        peer.send_message(message + b"\x00")
        await ends_with(peer, 1009)


async def test_row_64_fragments_count_together(tmp_path: Path) -> None:
    async with hostile(tmp_path) as (_, peer):
        peer.send_bytes(websocket_frame(bytes(600_000), first=0x02))
        peer.send_bytes(websocket_frame(bytes(600_000), first=0x80))
        await ends_with(peer, 1009)


# Row 66: a handshake that dribbles in


async def test_row_66_a_hello_that_dribbles_in_is_closed_with_4408(tmp_path: Path) -> None:
    options = replace(FAST, handshake_timeout=0.3)
    async with connected(tmp_path, options) as ends, raw_tunnel(f"unix:{tmp_path}/s") as peer:
        hello = websocket_frame(pack([HELLO, hello_map()]))
        left = iter(hello)
        closing = spawn(peer.closed(), "how it ends")
        while not closing.done():
            # A byte every twentieth of a second: the whole would take over five.
            peer.send_bytes(bytes([next(left)]))
            await asyncio.wait({closing}, timeout=0.05)
        assert (await closing).code == 4408
        assert len(ends.acceptor.server.tunnels) == 1


# Row 47: compression


async def test_row_47_an_offer_to_compress_is_not_taken(tmp_path: Path) -> None:
    async with connected(tmp_path):
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/s")
        offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
        writer.write("\r\n".join(["GET /t HTTP/1.1", *UPGRADE, offer, "", ""]).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"extensions" not in answer.lower()


async def test_row_47_a_compressed_message_is_closed_with_1002_and_not_inflated(
    tmp_path: Path,
) -> None:
    async with hostile(tmp_path) as (_, peer):
        peer.send_bytes(websocket_frame(bytes(1_000), first=0x80 | 0x40 | 2))
        await ends_with(peer, 1002)
