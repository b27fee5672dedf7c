"""F21: a process with few descriptors makes its clients wait, and neither drops them nor spins."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from collections.abc import Iterator
from typing import cast

import pytest
import structlog

from lapdev.net import accepting as accepting_module
from lapdev.net.accepting import Accepting, ProtocolFactory, enough_descriptors

LIMIT = 256


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """256 files may be open in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Greeting(asyncio.Protocol):
    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Greeting.made += 1
        cast("asyncio.Transport", transport).write(b"hello")

    def eof_received(self) -> bool:
        return False


async def accepting() -> tuple[Accepting, socket.socket]:
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sock.setblocking(False)

    async def start(factory: object, own: socket.socket) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(factory, sock=own)  # type: ignore[arg-type]

    found = Accepting(sock, Greeting, start)
    await found.start()
    return found, sock


def nearly_all() -> list[socket.socket]:
    """So many that only the reserve is left."""
    held = []
    while enough_descriptors():
        held.append(socket.socket())
    return held


async def until(condition: object) -> None:
    """Polled: the kernel and the loop's own accepting tell nobody."""
    for _ in range(1_000):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


async def test_f21_who_connects_beyond_256_descriptors_waits_and_is_served_later(
    few_descriptors: None,
) -> None:
    loop = asyncio.get_running_loop()
    Greeting.made = 0
    with structlog.testing.capture_logs() as logs:
        door, sock = await accepting()
        address = sock.getsockname()
        clients: list[socket.socket] = []
        try:
            # Each client takes a descriptor of this process too: both sides count.
            while not door.paused:
                client = socket.create_connection(address)
                client.setblocking(False)
                clients.append(client)
                await asyncio.sleep(0)
            served = Greeting.made
            assert 60 < served < LIMIT // 2
            await until(lambda: door._server is None)  # it ends with the turn of the loop
            late = socket.create_connection(address)
            late.setblocking(False)
            clients.append(late)
            waiting = loop.create_task(loop.sock_recv(late, 5), name="the late client")
            done, _ = await asyncio.wait({waiting}, timeout=0.35)
            assert not done, "it is neither served nor dropped"
            assert door.paused
            for client in clients[:40]:
                client.close()
            assert await asyncio.wait_for(waiting, 5) == b"hello"
            assert not door.paused
        finally:
            door.close()
            for client in clients:
                client.close()
        await until(enough_descriptors)
    lines = [line for line in logs if line["event"] == "accept_paused"]
    assert len(lines) == 1
    assert str(LIMIT) in lines[0]["error"]


async def test_f21_a_pause_runs_nothing_but_a_look_every_tenth_of_a_second(
    few_descriptors: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    door, sock = await accepting()
    held = nearly_all()
    client = socket.create_connection(sock.getsockname())
    looks = 0
    try:
        await until(lambda: door.paused)

        def counted() -> bool:
            nonlocal looks
            looks += 1
            return some_came_free()

        some_came_free = accepting_module._some_came_free
        monkeypatch.setattr(accepting_module, "_some_came_free", counted)
        await asyncio.sleep(0.45)
        assert 1 <= looks <= 5
        assert door.paused
    finally:
        for one in (*held, client):
            one.close()
        await until(lambda: not door.paused)
        door.close()


async def test_a_paused_listener_that_is_closed_stays_closed(few_descriptors: None) -> None:
    door, sock = await accepting()
    held = nearly_all()
    client = socket.create_connection(sock.getsockname())
    try:
        await until(lambda: door.paused)
        door.close()
        assert not door.paused
        assert not door.accepting
    finally:
        for one in (*held, client):
            one.close()
    with pytest.raises(OSError):
        socket.create_connection(client.getsockname()).close()


async def test_accepting_that_cannot_begin_again_yet_is_tried_again(few_descriptors: None) -> None:
    door, sock = await accepting()
    start, failures = door._start, 0

    async def fails_once(factory: ProtocolFactory, own: socket.socket) -> asyncio.Server:
        nonlocal failures
        if not failures:
            failures += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return await start(factory, own)

    door._start = fails_once
    held = nearly_all()
    client = socket.create_connection(sock.getsockname())
    try:
        await until(lambda: door.paused)
        for one in held:
            one.close()
        await until(lambda: failures and not door.paused and door._server is not None)
        late = socket.create_connection(sock.getsockname())
        late.setblocking(False)
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(late, 5), 5) == b"hello"
        late.close()
    finally:
        for one in (*held, client):
            one.close()
        door.close()
