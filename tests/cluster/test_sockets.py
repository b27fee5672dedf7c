"""Who listens where, and which process it is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from lapdev.cluster.interfaces import open_diag
from lapdev.cluster.sock_diag import Listening, SockDiag
from lapdev.cluster.sockets import Listeners, holders, port_owners, session_of

NET = Path("/proc/self/net")
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0200407F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1
   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 2
   2: 0100007F:0051 0100007F:C000 01 00000000:00000000 00:00000000 00000000  1000        0 3
"""
HEAD6 = "  sl  local_address                         remote_address                        st …\n"
ROW6 = "   0: {}:0052 00000000000000000000000000000000:0000 0A 0:0 00:0 0 1000 0 {}\n"


def test_listening_sockets_are_told_from_connections(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(TCP)
    four = [Listening("127.64.0.2", 8080, 1), Listening("127.0.0.1", 80, 2)]
    assert Listeners(tmp_path).now() == four
    rows = ROW6.format("0" * 32, 4) + ROW6.format("B80D0120000000000000000001000000", 5)
    (tmp_path / "tcp6").write_text(HEAD6 + rows)
    six = [Listening("::", 82, 4), Listening("2001:db8::1", 82, 5)]
    assert Listeners(tmp_path).now() == [*four, *six]


def test_a_process_that_ended_listens_nowhere(tmp_path: Path) -> None:
    assert Listeners(tmp_path / "gone").now() == []


def test_both_ways_of_asking_tell_the_same_of_a_real_listener() -> None:
    both = [Listeners(NET, SockDiag(open_diag())), Listeners(NET)]
    with socket.create_server(("127.64.0.9", 0)) as server:
        address, port = server.getsockname()
        expected = Listening(address, port, os.fstat(server.fileno()).st_ino)
        assert [listeners.now().count(expected) for listeners in both] == [1, 1]
    assert [expected in listeners.now() for listeners in both] == [False, False]
    for listeners in both:
        listeners.close()


def test_a_kernel_that_refuses_to_tell_is_asked_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(TCP)
    # Of another protocol of netlink, whose answer is an error: as from a kernel without inet_diag.
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    other = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
    listeners = Listeners(tmp_path, SockDiag(other))
    assert [each.port for each in listeners.now()] == [8080, 80]
    assert other.fileno() == -1
    assert [each.port for each in listeners.now()] == [8080, 80]


def test_a_port_is_owned_by_the_session_of_whoever_holds_its_socket() -> None:
    script = (
        "import socket; s = socket.create_server(('127.64.0.11', 0)); print(s.getsockname()[1])"
    )
    command = [sys.executable, "-S", "-c", f"{script}; import sys; sys.stdout.flush(); input()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        (found,) = [each for each in Listeners(NET).now() if each.address == "127.64.0.11"]
        pids = [os.getpid(), child.pid, 4194305]
        held = holders([found.inode], pids)
        assert held == {found.inode: {child.pid}}
        assert port_owners([found], held) == {port: {child.pid}}
        assert holders([found.inode], [os.getpid()]) == {found.inode: frozenset()}
        child.communicate(b"\n")
    assert holders([found.inode], pids) == {found.inode: frozenset()}


def test_the_session_of_a_process_that_ended_is_unknown() -> None:
    assert session_of(os.getpid()) == os.getsid(0)
    assert session_of(4194305) is None
