"""F23: an older end and this one understand each other, both ways.

`recorded/` holds what both ends of a session of an older version said. Here that version's dialler
is played against this version's acceptor, and its acceptor against this version's dialler.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lapdev.net.tasks import Tasks
from lapdev.tunnel import TunnelServer, TunnelServerOptions, Uplink, UplinkOptions
from tests.support.raw_tunnel import RawTunnel, hello_map, pack, raw_acceptor, raw_tunnel, unpack
from tests.support.skew_scene import OPTIONS, Part
from tests.support.tunnel_ends import Acceptor

RECORDED = Path(__file__).parent / "recorded" / "one_link.txt"

HELLO, WELCOME, OPEN, ACCEPT, DATA, FIN, RESET, CREDIT, PING, PONG = range(10)
CALL, REPLY, GOAWAY, RESUME = range(10, 14)
FIELDS = {
    **{HELLO: (dict,), WELCOME: (dict,), OPEN: (int, dict, int), ACCEPT: (int, int)},
    **{DATA: (int, int, bytes), FIN: (int, int), RESET: (int, int, str, str)},
    **{CREDIT: (int, int, int), PING: (int,), PONG: (int,), CALL: (int, str, dict)},
    **{REPLY: (int, bool, dict), GOAWAY: (int, int, str), RESUME: (int, int, int, list, bool)},
}
"""What the older version can read: it ignores surplus fields, and unknown types from 64 on."""


def recorded() -> list[list[tuple[str, bytes]]]:
    """Per connection, who said what."""
    connections: list[list[tuple[str, bytes]]] = []
    for line in RECORDED.read_text(encoding="ascii").splitlines():
        if line.startswith("# connection"):
            connections.append([])
        elif not line.startswith("#"):
            name, _, text = line.partition(" ")
            connections[-1].append((name, bytes.fromhex(text)))
    return connections


class Played:
    """The older end's side of a session, from its recording."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.peer: RawTunnel
        self._seen: set[tuple[int, ...]] = set()
        """What this version's end has said: (type, stream or id)."""
        self._reached: dict[int, int] = {}
        """How far it has sent each stream."""
        self._granted: dict[int, int] = {}
        """How far it lets each stream be sent."""
        self._first_limit = 0

    async def connection(self, lines: list[tuple[str, bytes]]) -> None:
        """Says what was recorded, each message once its end has been brought that far."""
        self._seen = {key for key in self._seen if key[0] != RESUME}
        for name, message in lines:
            for frame in unpack(message):
                if name != self.name:
                    await self._until(lambda frame=frame: self._said(frame))
                else:
                    await self._until(lambda frame=frame: self._may_say(frame))
            if name == self.name:
                self.peer.send_message(self.adapted(message))

    def adapted(self, message: bytes) -> bytes:
        return message

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._note(await self.peer.frame())

    def _note(self, frame: list[Any]) -> None:
        kind = frame[0]
        if kind >= 64:
            return
        kinds = tuple(type(value) for value in frame[1 : len(FIELDS[kind]) + 1])
        assert kinds == FIELDS[kind], f"the older version cannot read {frame!r:.200}"
        if kind == WELCOME:
            self._first_limit = frame[1]["stream_window"]
        elif kind == DATA:
            assert frame[2] <= self._reached.get(frame[1], 0), "bytes are missing"
            reached = max(frame[2] + len(frame[3]), self._reached.get(frame[1], 0))
            self._reached[frame[1]] = reached
        elif kind in (OPEN, ACCEPT, CREDIT):
            limit = frame[2 if kind == ACCEPT else 3]
            self._granted[frame[1]] = max(limit, self._granted.get(frame[1], 0))
        elif kind == RESUME:
            self._granted |= {item[0]: item[2] for item in frame[4]}
        self._seen.add((kind, frame[1]) if isinstance(frame[1], int) else (kind,))
        self._seen.add((kind,))

    def _said(self, frame: list[Any]) -> bool:
        """Whether this version's end has said as much as the older one had when it was recorded."""
        match frame[0]:
            case kind if kind in (CREDIT, PING, PONG, RESUME):
                return True  # when, and how much, is each end's own affair
            case kind if kind in (HELLO, WELCOME, GOAWAY):
                return (kind,) in self._seen
            case kind if kind == DATA:
                return self._reached.get(frame[1], 0) >= frame[2] + len(frame[3])
        return (frame[0], frame[1]) in self._seen

    def _may_say(self, frame: list[Any]) -> bool:
        if frame[0] == DATA:
            limit = max(self._granted.get(frame[1], 0), self._first_limit)
            return limit >= frame[2] + len(frame[3])
        if frame[0] == CREDIT and frame[1]:
            # An end counts one: this version's FIN has been seen, or nothing beyond its bytes.
            reached = self._reached.get(frame[1], 0) + ((FIN, frame[1]) in self._seen)
            return reached >= frame[2]
        return True


class PlayedAcceptor(Played):
    """Its WELCOME names the session that was asked for, not the recorded one."""

    session = ""

    def adapted(self, message: bytes) -> bytes:
        frames = unpack(message)
        if frames[0][0] == WELCOME:
            frames[0][1]["session"] = self.session
            self._first_limit = frames[0][1]["stream_window"]
            return pack(*frames)
        return message


@pytest.mark.parametrize("lost_on_the_way", [False, True])
async def test_f23_an_older_dialler_works_with_this_acceptor(
    tmp_path: Path, lost_on_the_way: bool
) -> None:
    first, second = recorded()
    async with acceptor_of(tmp_path) as (acceptor, part), Tasks() as tasks:
        played = Played("dialler")
        async with raw_tunnel(acceptor.address) as played.peer:
            playing = tasks.spawn(played.connection(first), "played")
            await part.watcher.wait_until(lambda seen: bool(seen.up))
            await part.before_the_cut(acceptor.tunnel)
            await playing
            if lost_on_the_way:
                part.while_it_is_away()
            played.peer.abort()
        await part.watcher.wait_until(lambda seen: bool(seen.down))
        if not lost_on_the_way:
            part.while_it_is_away()
        async with raw_tunnel(acceptor.address) as played.peer:
            # The recording ends with the acceptor's leave, which this one is not asked for.
            playing = tasks.spawn(played.connection(second[:-1]), "played again")
            await part.after_the_cut()
            await playing
        assert part.watcher.up == [False, True]
        assert not part.watcher.closed


@pytest.mark.parametrize("lost_on_the_way", [False, True])
async def test_f23_an_older_acceptor_works_with_this_dialler(
    tmp_path: Path, lost_on_the_way: bool
) -> None:
    connections = recorded()
    played, part = PlayedAcceptor("acceptor"), Part()
    cut = asyncio.Event()

    async def serve(peer: RawTunnel) -> None:
        if not connections:
            return
        lines, played.peer = connections.pop(0), peer
        played._note(await peer.frame())
        assert peer.frames[0][0] == HELLO
        played.session = peer.frames[0][1]["session"]
        assert peer.frames[0][1]["resume"] == (not connections)
        await played.connection(lines)
        if connections:
            await cut.wait()
            peer.abort()
        else:
            # Goes on being there until the test has seen what it wants.
            await peer.closed()

    address = f"unix:{tmp_path}/s"
    options = UplinkOptions(
        address, "/_lapdev/tunnel/manager", "s3cret", "manager", "new", tunnel=OPTIONS
    )
    uplink = Uplink(options, part.watcher)
    async with raw_acceptor(address, serve), Tasks() as tasks:
        tasks.spawn(uplink.run(), "uplink")
        tunnel = await uplink.wait_up()
        await part.before_the_cut(tunnel)
        if lost_on_the_way:
            part.while_it_is_away()
            cut.set()
        else:
            cut.set()
            await part.watcher.wait_until(lambda seen: bool(seen.down))
            part.while_it_is_away()
        await part.after_the_cut()
        await part.watcher.wait_until(lambda _: tunnel.draining)
    assert part.watcher.up[:2] == [False, True]


@asynccontextmanager
async def acceptor_of(folder: Path) -> AsyncIterator[tuple[Acceptor, Part]]:
    """This version's acceptor, listening, and its part in the scene."""
    acceptor, part = Acceptor(f"unix:{folder}/s", OPTIONS), Part()
    acceptor.watcher = part.watcher
    acceptor.server = TunnelServer(part.watcher, TunnelServerOptions("new", OPTIONS))
    await acceptor.start()
    try:
        yield acceptor, part
    finally:
        await acceptor.aclose()


# What a later version may say


async def test_f23_frames_of_unknown_ignorable_types_and_surplus_fields_are_ignored(
    tmp_path: Path,
) -> None:
    async with (
        acceptor_of(tmp_path) as (acceptor, _),
        raw_tunnel(acceptor.address, {"later": [1, {"x": 2}]}) as peer,
    ):
        peer.send([99, {"of": "a later version"}], [64 + 1000], [PING, 7, "surplus", None])
        assert (await peer.next_of(PONG))[1] == 7
        call = {"version": "0.1", "driver": "local", "detail": "", "later": 1}
        peer.send([CALL, 1, "ReportCluster", call, "surplus"])
        assert (await peer.next_of(REPLY))[1:3] == [1, True]


async def test_f23_a_frame_of_an_unknown_type_that_must_be_understood_is_refused_cleanly(
    tmp_path: Path,
) -> None:
    async with acceptor_of(tmp_path) as (acceptor, part):
        async with raw_tunnel(acceptor.address, {}) as peer:
            peer.send([63, "critical"])
            closed = await peer.closed()
            assert (closed.code, closed.reason) == (1002, "unknown frame type 63")
        await part.watcher.wait_until(lambda seen: bool(seen.closed))
        assert acceptor.server.tunnels == []


async def test_f23_a_hello_of_a_later_version_is_refused_with_the_version_spoken_here(
    tmp_path: Path,
) -> None:
    async with acceptor_of(tmp_path) as (acceptor, _), raw_tunnel(acceptor.address) as peer:
        peer.send([HELLO, hello_map(version=2)])
        closed = await peer.closed()
        assert closed.code == 1002
        assert "version 2" in closed.reason
        assert "1" in closed.reason


async def test_f23_a_welcome_of_a_later_version_is_told_to_whoever_waits(tmp_path: Path) -> None:
    failed: asyncio.Queue[Exception] = asyncio.Queue()

    async def serve(peer: RawTunnel) -> None:
        hello = await peer.frame()
        welcome = {"version": 2, "instance": "later", "session": hello[1]["session"]}
        peer.send([WELCOME, welcome | {"resumed": False}])
        await peer.closed()

    await _dial(tmp_path, serve, failed)
    assert "version 2" in str(failed.get_nowait())


async def _dial(
    folder: Path,
    serve: Callable[[RawTunnel], Awaitable[None]],
    failed: asyncio.Queue[Exception],
) -> None:
    """One try of this version's dialler has failed."""
    address = f"unix:{folder}/s"
    tunnel = replace(OPTIONS, retry_first=60.0, retry_most=60.0)
    options = UplinkOptions(address, "/t", "s3cret", "manager", "new", tunnel=tunnel)
    uplink = Uplink(options, Part().watcher)
    once = asyncio.Event()

    def note(error: Exception) -> None:
        failed.put_nowait(error)
        once.set()

    uplink.on_failed = note
    async with raw_acceptor(address, serve), Tasks() as tasks:
        tasks.spawn(uplink.run(), "uplink")
        await once.wait()
