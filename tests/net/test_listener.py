"""Listening and dialling, on every kind of address."""

from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path
from typing import cast

import pytest

from lapdev.errors import ConfigError, ConnectFailed
from lapdev.net.address import InheritedAddress, TcpAddress
from lapdev.net.listener import bind_tcp, dial, listen
from lapdev.net.way_out import WayOut


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's own class
        transport.write(b"hello")
        transport.close()


class Collecting(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()


async def greeting_from(address: str) -> bytes:
    _, protocol = await dial(address, Collecting)
    async with asyncio.timeout(5):
        await protocol.over.wait()
    return protocol.data


async def test_port_0_becomes_the_port_it_really_is() -> None:
    listener = await listen("127.0.0.1:0", Greeting)
    assert isinstance(listener.address, TcpAddress)
    assert listener.address.port > 0
    assert await greeting_from(str(listener.address)) == b"hello"
    await listener.aclose()


async def test_a_unix_socket_is_private_replaces_a_stale_one_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    listener = await listen(f"unix:{path}", Greeting)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await greeting_from(f"unix:{path}") == b"hello"
    await listener.aclose()
    assert not path.exists()


async def test_an_inherited_socket_is_served() -> None:
    sock = bind_tcp(TcpAddress("127.0.0.1", 0))
    port = sock.getsockname()[1]
    listener = await listen(InheritedAddress(sock.detach()), Greeting)
    assert await greeting_from(f"127.0.0.1:{port}") == b"hello"
    await listener.aclose()


async def test_a_taken_port_is_a_config_error_that_says_what_to_do() -> None:
    listener = await listen("127.0.0.1:0", Greeting)
    with pytest.raises(ConfigError) as caught:
        await listen(str(listener.address), Greeting)
    assert "another port" in caught.value.hint
    await listener.aclose()


async def test_nobody_listening_is_connect_failed(tmp_path: Path) -> None:
    sock = bind_tcp(TcpAddress("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    with pytest.raises(ConnectFailed):
        await dial(f"127.0.0.1:{port}", Collecting)
    with pytest.raises(ConnectFailed):
        await dial(f"unix:{tmp_path}/nobody", Collecting)


@pytest.mark.parametrize("way", [None, WayOut(http_proxy="http://a..b:3128")])
async def test_a_name_that_is_none_is_connect_failed(way: WayOut | None) -> None:
    to = "http://cloud.example" if way else f"http://{'x' * 64}.example"
    with pytest.raises(ConnectFailed, match="no host name"):
        await dial(to, Collecting, way)
