"""Who holds a socket is looked up once, and again when somebody new is there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from lapdev.cluster.machine_ports import SERVICE, MachinePorts, Owner


@pytest.fixture
def ports() -> Iterator[MachinePorts]:
    made = MachinePorts()
    yield made
    made.close()


def inode_of(server: socket.socket) -> int:
    return os.fstat(server.fileno()).st_ino


def test_a_session_that_becomes_a_pods_is_looked_at_again(ports: MachinePorts) -> None:
    with socket.create_server(("127.64.0.16", 0)) as server:
        inode = inode_of(server)
        assert inode in [each.inode for each in ports.listening()]
        assert ports.holders(inode) == frozenset()
        assert ports.whose(inode) == SERVICE
        ports.enter(os.getsid(0), Owner("web-x", "container web"))
        assert ports.holders(inode) == {os.getsid(0)}
        assert ports.whose(inode) == "container web of pod web-x"
        ports.leave([os.getsid(0)])
        assert ports.whose(inode) == SERVICE


def test_processes_are_looked_at_once_for_each_new_socket() -> None:
    looks = []

    def look() -> list[int]:
        looks.append(1)
        return []

    ports = MachinePorts(look)
    with socket.create_server(("127.64.0.17", 0)) as first:
        for _ in range(3):
            ports.listening()
            ports.holders(inode_of(first))
        assert len(looks) == 1
        with socket.create_server(("127.64.0.17", 0)) as second:
            for _ in range(3):
                for each in ports.listening():
                    ports.holders(each.inode)
            assert len(looks) == 2
            assert ports.holders(inode_of(second)) == frozenset()
    ports.close()
