"""Listening sockets that pass from one owner to the next without a moment in between."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import cast

from lapdev.net.listener import dial
from lapdev.net.sockets import LeftSocket, ListeningSockets


class Greets(asyncio.Protocol):
    """Says who it is, and leaves."""

    def __init__(self, word: bytes) -> None:
        self.word = word

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        transport.write(self.word)
        transport.close()


class Hears(asyncio.Protocol):
    def __init__(self) -> None:
        self.heard = b""
        self.over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()


async def who_answers(address: str) -> bytes:
    _, client = await dial(address, Hears)
    async with asyncio.timeout(5):
        await client.over.wait()
    return client.heard


def passed_on(offers: list[LeftSocket]) -> list[LeftSocket]:
    """What another process would get: the same sockets under other descriptors."""
    return [replace(left, sock=left.sock.dup()) for left in offers]


async def test_a_socket_that_was_left_is_used_again(tmp_path: Path) -> None:
    old = ListeningSockets()
    unix = f"unix:{tmp_path}/s.sock"
    tcp = await old.listen("127.0.0.1:0", lambda: Greets(b"old"))
    await old.listen(unix, lambda: Greets(b"old"))
    address = str(tcp.address)
    assert [(left.asked, left.address) for left in old.offers()] == [
        ("127.0.0.1:0", address),
        (unix, unix),
    ]
    new = ListeningSockets(passed_on(old.offers()))
    old.release()
    taken = await new.listen("127.0.0.1:0", lambda: Greets(b"new"))
    door = await new.listen(unix, lambda: Greets(b"new"))
    assert str(taken.address) == address, "port 0 means the port that it meant before"
    assert await who_answers(address) == b"new"
    assert await who_answers(unix) == b"new"
    await taken.aclose()
    await door.aclose()
    assert not (tmp_path / "s.sock").exists()


async def test_who_waits_in_the_backlog_is_served_by_the_next_owner() -> None:
    old = ListeningSockets()
    listener = await old.listen("127.0.0.1:0", lambda: Greets(b"old"))
    left = passed_on(old.offers())
    old.release()
    waiting = asyncio.get_running_loop().create_task(who_answers(str(listener.address)))
    new = ListeningSockets(left)
    taken = await new.listen(listener.address, lambda: Greets(b"new"))
    assert await waiting == b"new"
    await taken.aclose()


async def test_an_address_that_was_not_left_is_bound() -> None:
    new = ListeningSockets()
    listener = await new.listen("127.0.0.1:0", lambda: Greets(b"new"))
    assert await who_answers(str(listener.address)) == b"new"
    await listener.aclose()
    assert new.offers() == [], "what is closed is offered to nobody"


async def test_an_inherited_descriptor_is_offered_by_its_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        sockets = ListeningSockets()
        listener = await sockets.listen(f"fd:{sock.dup().detach()}", lambda: Greets(b"new"))
        assert [left.address for left in sockets.offers()] == [f"127.0.0.1:{port}"]
        await listener.aclose()


async def test_what_nobody_wants_is_closed() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    sockets = ListeningSockets([LeftSocket("127.0.0.1:1", "127.0.0.1:1", sock)])
    sockets.close_left()
    assert sock.fileno() == -1
