"""Messages made from good ones by mutation, for the frame decoder and what acts on its frames.

A corpus grows by what it finds: a mutant with an outcome not seen before (which events, which
complaint) becomes a parent too.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import msgpack

from lapdev.errors import RemoteProtocolError
from lapdev.wire.mux import LivenessOptions, MuxConnection, MuxOptions
from lapdev.wire.mux.frames import FrameType, decode, encode
from lapdev.wire.mux.handshake import (
    Hello,
    Welcome,
    decode_hello,
    decode_welcome,
    encode_hello,
    encode_welcome,
)

RECORDED = Path(__file__).parents[1] / "tunnel" / "recorded" / "one_link.txt"
OPTIONS = MuxOptions(
    stream_window=2_048,
    session_window=8_192,
    max_streams=64,
    max_pending=16,
    liveness=LivenessOptions(),
)
CODES = {1002, 1007, 1009}
MOST_PARENTS = 4_000
ODD_VALUES: list[Any] = [
    *(0, 1, 2, 3, 4, 5, -1, 63, 64, 255, 256, 2_048, 8_192, 65_535, 65_536, 2**31, 2**32, 2**53),
    *(2**53 - 1, 2**64 - 1, -(2**63), True, False, None, 0.0, 1.0, float("nan"), float("inf")),
    *("", "x", "x" * 65, "\u00e9" * 600, b"", b"x", b"x" * 300, [], {}, [[]], {"kind": "service"}),
    *([[1, 0, 0, 0]], [[2, 5, 9, 1], [4, 0, 0, 0]], msgpack.ExtType(5, b"x"), [1, [2, [3, [4]]]]),
]


def seeds() -> list[bytes]:
    """Good messages: those of a recorded session, and one of each frame."""
    lines = RECORDED.read_text(encoding="ascii").splitlines()
    found = [bytes.fromhex(line.split()[1]) for line in lines if not line.startswith("#")]
    target = {"kind": "service", "namespace": "n", "service": "s", "port": 1}
    found += [
        encode_hello(Hello("manager", "i", "s")),
        encode_welcome(Welcome("i", "s", False, 1, 2, 3, 4)),
        encode(FrameType.OPEN, 1, target, 100) + encode(FrameType.DATA, 1, 0, b"x" * 100),
        encode(FrameType.OPEN, 2, target, 100) + encode(FrameType.FIN, 2, 0),
        encode(FrameType.RESUME, 0, 0, 0, [], False),
        encode(FrameType.RESUME, 0, 0, 3, [[1, 0, 9, 1]], True),
        encode(FrameType.GOAWAY, 1, 30, "restarting"),
        msgpack.packb([64, 1, b"datagram"]),
    ]
    return found


class FrameFuzz:
    """Mutants go to the decoder, and to ends in several states."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.parents = seeds()
        self.outcomes: set[object] = set()
        self.inputs = 0
        self._ends: list[MuxConnection] = []

    def step(self) -> None:
        """One mutant: it may give events or RemoteProtocolError, and nothing else."""
        message = self.mutant()
        self.inputs += 1
        try:
            outcome = self.outcome(message)
        except Exception as exc:
            exc.add_note(f"message: {message.hex()}")
            raise
        if outcome not in self.outcomes:
            self.outcomes.add(outcome)
            if len(self.parents) < MOST_PARENTS and len(message) < 8_192:
                self.parents.append(message)

    def outcome(self, message: bytes) -> object:
        """What is special about the message; the same for messages that only differ in numbers."""
        kinds: list[object] = []
        try:
            frames = decode(message)
        except RemoteProtocolError as exc:
            assert exc.answer_status in CODES, exc
            return _words(exc)
        kinds.extend(frame[0] for frame in frames[:8])
        for reader in (decode_hello, decode_welcome):
            try:
                reader(message)
            except RemoteProtocolError as exc:
                assert exc.answer_status in CODES, exc
        if not self._ends or self.random.random() < 0.1:
            self._ends = [_end(dialler, state) for dialler in (False, True) for state in range(3)]
        for index, end in enumerate(self._ends):
            kinds.append(self._received(index, end, message))
        return tuple(kinds)

    def _received(self, index: int, end: MuxConnection, message: bytes) -> object:
        link = self.random.choice(end.links)
        try:
            end.heard(link, 0.0)
            events = end.receive_data(link, message)
            for event in events:
                self._act(end, event)
            sent = b"".join(end.data_to_send(link))
        except RemoteProtocolError as exc:
            assert exc.answer_status in CODES, exc
            self._ends[index] = _end(end.dialler, self.random.randrange(3))
            return _words(exc)
        decode(sent)  # whatever an end is told, what it says is good
        assert len(end.streams) <= OPTIONS.max_streams + 4_097
        return tuple(type(event).__name__ for event in events[:8])

    def _act(self, end: MuxConnection, event: Any) -> None:
        """As an owner would."""
        stream = getattr(event, "stream", None)
        if type(event).__name__ == "StreamOpened":
            answers = (end.accept, end.discard, lambda opened: end.reset(opened, "refused"))
            self.random.choice(answers)(stream)
        elif type(event).__name__ == "DataReceived":
            end.consumed(stream, len(event.data))
        elif type(event).__name__ == "CallReceived":
            end.reply(event.call_id, True, {})

    def mutant(self) -> bytes:
        choose = self.random
        message = choose.choice(self.parents)
        for _ in range(choose.choice((1, 1, 1, 2, 3))):
            message = choose.choice(
                (self._values, self._values, self._values, self._frames, self._octets, self._splice)
            )(message)
        return message

    def _frames(self, message: bytes) -> bytes:
        """Frames are doubled, dropped or moved."""
        frames = _parse(message)
        if not frames:
            return message
        choose = self.random
        index = choose.randrange(len(frames))
        match choose.randrange(4):
            case 0:
                frames.insert(choose.randrange(len(frames) + 1), frames[index])
            case 1:
                del frames[index]
            case 2:
                choose.shuffle(frames)
            case _:
                frames += _parse(choose.choice(self.parents))
        return _pack(frames, message)

    def _values(self, message: bytes) -> bytes:
        """One value of one frame becomes another: an odd one, or a near one."""
        frames = _parse(message)
        places = [frame for frame in frames if isinstance(frame, (list, dict)) and frame]
        if not places:
            return message
        choose = self.random
        place: Any = choose.choice(places)
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = choose.choice(list(keys))
            inner = place[key]
            if isinstance(inner, (list, dict)) and inner and choose.random() < 0.7:
                place = inner
                continue
            near = type(inner) is int and choose.random() < 0.5
            place[key] = (
                inner + choose.choice((-2, -1, 1, 2)) if near else choose.choice(ODD_VALUES)
            )
            return _pack(frames, message)

    def _octets(self, message: bytes) -> bytes:
        choose, data = self.random, bytearray(message)
        for _ in range(choose.choice((1, 1, 2, 8))):
            at = choose.randrange(len(data) + 1)
            match choose.randrange(4):
                case 0 if data:
                    data[at % len(data)] ^= 1 << choose.randrange(8)
                case 1:
                    data[at:at] = choose.randbytes(choose.choice((1, 2, 4, 9)))
                case 2:
                    del data[at : at + choose.choice((1, 2, 4, 100))]
                case _:
                    data[at : at + 1] = bytes([choose.choice((0xC1, 0xDD, 0xDF, 0xC6, 0xC9, 0xFF))])
        return bytes(data)

    def _splice(self, message: bytes) -> bytes:
        other = self.random.choice(self.parents)
        at, to = self.random.randrange(len(message) + 1), self.random.randrange(len(other) + 1)
        return message[:at] + other[to:]


def _end(dialler: bool, state: int) -> MuxConnection:
    """Fresh, with streams open, or about to be resumed."""
    end = MuxConnection(dialler=dialler, options=OPTIONS)
    end.attach(0, 0.0, resumed=False)
    if state:
        for _ in range(4):
            stream = end.open({"kind": "service"})
            end.write(stream, b"y" * 3_000)
        end.finish(stream)
        end.call("ReportCluster", {})
        end.data_to_send(0)
    if state == 2:
        end.detach(0)
        end.attach(0, 0.0, resumed=True)
        end.attach(1, 0.0, resumed=True)
    return end


def _words(exc: RemoteProtocolError) -> str:
    return re.sub(r"[^A-Za-z ]+", "#", str(exc))[:60]


def _parse(message: bytes) -> list[Any]:
    try:
        unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=2**21)
        unpacker.feed(message)
        return list(unpacker)
    except (ValueError, TypeError, msgpack.UnpackException):
        return []


def _pack(frames: list[Any], otherwise: bytes) -> bytes:
    try:
        return b"".join(msgpack.packb(frame) for frame in frames)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return otherwise
