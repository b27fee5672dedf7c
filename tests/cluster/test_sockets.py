"""Who listens where, from the kernel's tables."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from lapdev.cluster.sockets import listening_ports, port_owners, session_of

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0200407F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1
   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 2
   2: 0100007F:0051 0100007F:C000 01 00000000:00000000 00:00000000 00000000  1000        0 3
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue
   0: 00000000000000000000000000000000:0052 00000000000000000000000000000000:0000 0A 00000000:00
"""


def test_listening_sockets_are_told_from_connections(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(TCP)
    assert listening_ports(tmp_path) == {8080, 80}
    (tmp_path / "tcp6").write_text(TCP6)
    assert listening_ports(tmp_path) == {8080, 80, 82}


def test_without_isolation_only_the_pods_own_address_counts(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(TCP)
    assert listening_ports(tmp_path, "127.64.0.2") == {8080}


def test_a_real_listener_is_seen_at_its_address() -> None:
    with socket.create_server(("127.64.0.9", 0)) as server:
        port = server.getsockname()[1]
        assert listening_ports(Path("/proc/self/net"), "127.64.0.9") == {port}
    assert listening_ports(Path("/proc/self/net"), "127.64.0.9") == frozenset()


def test_a_process_that_ended_listens_nowhere(tmp_path: Path) -> None:
    assert listening_ports(tmp_path / "gone") == frozenset()


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
        net, pids = Path("/proc/self/net"), [os.getpid(), child.pid, 4194305]
        assert port_owners(net, pids, "127.64.0.11") == {port: {child.pid}}
        assert port_owners(net, [os.getpid()], "127.64.0.11") == {port: frozenset()}
        child.communicate(b"\n")
    assert port_owners(net, pids, "127.64.0.11") == {}


def test_the_session_of_a_process_that_ended_is_unknown() -> None:
    assert session_of(os.getpid()) == os.getsid(0)
    assert session_of(4194305) is None
