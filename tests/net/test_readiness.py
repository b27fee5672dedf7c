"""Whoever waits for a socket goes on when it is ready, and leaves no watch behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lapdev.net.readiness import wait_readable, wait_writable
from lapdev.net.tasks import spawn


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


async def test_readable_is_who_has_something_or_whose_other_end_is_gone(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    waiting = spawn(wait_readable(ours), "wait")
    await asyncio.sleep(0)
    assert not waiting.done()
    theirs.send(b"x")
    await waiting
    assert ours.recv(9) == b"x"
    theirs.close()
    await wait_readable(ours)
    assert not asyncio.get_running_loop().remove_reader(ours.fileno())


async def test_writable_is_who_has_room_again(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with suppress(BlockingIOError):
        while True:
            ours.send(bytes(65_536))
    waiting = spawn(wait_writable(ours), "wait")
    await asyncio.sleep(0)
    assert not waiting.done()
    with suppress(BlockingIOError):
        while theirs.recv(65_536):
            continue
    await waiting
    assert ours.send(b"x") == 1
    assert not asyncio.get_running_loop().remove_writer(ours.fileno())
