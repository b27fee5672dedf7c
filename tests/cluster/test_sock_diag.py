"""The kernel's own list of listeners."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest

from lapdev.cluster.interfaces import open_diag
from lapdev.cluster.sock_diag import Listening, SockDiag, parse, request


def message(kind: int, body: bytes, sequence: int = 7) -> bytes:
    padding = bytes(-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 2, sequence, 99) + body + padding


def listener(family: int, address: str, port: int, inode: int) -> bytes:
    """struct inet_diag_msg"""
    raw = socket.inet_pton(family, address).ljust(16, b"\0")
    ids = struct.pack("!HH16s16sI8x", port, 0, raw, bytes(16), 0)
    return bytes([family, 10, 0, 0]) + ids + struct.pack("=IIIII", 0, 0, 128, 1000, inode)


def test_a_request_asks_for_listeners_of_one_family() -> None:
    asked = request(socket.AF_INET6, 7)
    assert len(asked) == 72
    assert struct.unpack_from("=IHHII", asked) == (72, 20, 0x301, 7, 0)
    assert asked[16:24] == bytes([10, 6, 0, 0]) + struct.pack("=I", 1 << 10)
    assert asked[24:] == bytes(48)


def test_answers_are_read() -> None:
    attribute = b"\x05\x00\x08\x00\x01\x00\x00\x00"
    datagram = b"".join(
        (
            message(20, listener(socket.AF_INET, "127.64.0.2", 8080, 4_000_000_000)),
            message(20, listener(socket.AF_INET6, "::", 80, 12) + attribute),
            message(20, listener(socket.AF_INET, "0.0.0.0", 81, 13), sequence=6),
        )
    )
    found = [Listening("127.64.0.2", 8080, 4_000_000_000), Listening("::", 80, 12)]
    assert parse(datagram, 7) == (found, False)
    done = message(3, struct.pack("=i", 0))
    assert parse(datagram + done, 7) == (found, True)
    assert parse(message(3, b"", sequence=6), 7) == ([], False)


def test_a_refusal_is_an_error() -> None:
    with pytest.raises(OSError, match="which sockets listen") as caught:
        parse(message(2, struct.pack("=i", -errno.ENOENT) + bytes(16)), 7)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\0" * 15,
        b"\0" * 64,
        message(20, b"short"),
        struct.pack("=IHHII", 4000, 20, 2, 7, 0) + bytes(80),
        message(99, bytes(72)),
    ],
)
def test_what_is_no_answer_is_left_out(datagram: bytes) -> None:
    assert parse(datagram, 7) == ([], False)


def test_real_listeners_are_told_with_their_sockets() -> None:
    diag = SockDiag(open_diag())
    with (
        socket.create_server(("127.64.0.13", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
        socket.create_connection(four.getsockname()),
    ):
        found = diag.listeners()
        for server in (four, six):
            address, port = server.getsockname()[:2]
            assert found.count(Listening(address, port, os.fstat(server.fileno()).st_ino)) == 1
        assert len({each.inode for each in found}) == len(found)
        gone = four.getsockname()
    assert gone not in [(each.address, each.port) for each in diag.listeners()]
    diag.close()


def test_an_answer_of_many_parts_is_read_to_its_end() -> None:
    diag = SockDiag(open_diag())
    servers = [socket.create_server(("127.64.0.14", 0)) for _ in range(700)]
    ports = {server.getsockname()[1] for server in servers}
    for _ in range(2):
        found = {each.port for each in diag.listeners() if each.address == "127.64.0.14"}
        assert found == ports
    for server in servers:
        server.close()
    diag.close()
