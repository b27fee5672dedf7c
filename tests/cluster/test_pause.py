"""A pod is a small machine of its own."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from lapdev.cluster import pause, syscalls
from tests.cluster.clients import client, wait_ready_or_say_why
from tests.cluster.contract import spec
from tests.cluster.local_world import local_world
from tests.support.in_outer import in_outer


@in_outer
async def test_what_a_pod_sees_is_its_own(folder: Path) -> None:
    script = """
        import pathlib, socket
        assert (os.getuid(), os.geteuid()) == (1000, 1000)
        assert socket.gethostname() == os.environ["HOSTNAME"]
        assert pathlib.Path("/etc/hostname").read_text().strip() == os.environ["HOSTNAME"]
        assert socket.gethostbyname(os.environ["HOSTNAME"]) == os.environ["BIND"]
        assert [name for _, name in socket.if_nameindex()] == ["lo", "eth0"], socket.if_nameindex()
        assert "lapdev-secret" not in os.environ.get("MARK", "")
        pathlib.Path("/tmp/mine").write_text("x")
        pathlib.Path("/dev/shm/mine").write_text("x")
        socket.create_server(("", 80)).close()
        processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        assert sorted(processes) == [1, os.getpid()], processes
        started = time.monotonic()
        for name, call in {
            "outside": lambda: socket.create_connection(("192.0.2.1", 80), 5),
            "unknown name": lambda: socket.getaddrinfo("nowhere.example", 80),
        }.items():
            try:
                call()
            except OSError:
                assert time.monotonic() - started < 2, name
            else:
                raise SystemExit(name)
        status = pathlib.Path("/proc/self/status").read_text()
        assert "CapEff:\\t0000000000000000" in status
        assert "NoNewPrivs:\\t1" in status
    """
    os.environ["MARK"] = "lapdev-secret"
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(client("web", script)))
        await wait_ready_or_say_why(world)
    assert not Path("/tmp/mine").exists()


@in_outer
async def test_a_machine_without_hosts_files_has_pods_with_them(folder: Path) -> None:
    for name in ("ld.so.cache", "passwd"):
        (folder / name).write_bytes((Path("/etc") / name).read_bytes())
    # As in a minimal root: this process has a mount namespace of its own to do so in.
    syscalls.mount("tmpfs", "/etc", "tmpfs")
    for name in ("ld.so.cache", "passwd"):
        (Path("/etc") / name).write_bytes((folder / name).read_bytes())
    Path("/etc/resolv.conf").symlink_to("/run/nowhere/resolv.conf")
    script = """
        import pathlib, socket
        assert socket.gethostbyname(os.environ["HOSTNAME"]) == os.environ["BIND"]
        assert sorted(os.listdir("/etc")) == [
            "hostname", "hosts", "ld.so.cache", "passwd", "resolv.conf"]
        assert "nameserver 198.18.0.1" in pathlib.Path("/etc/resolv.conf").read_text()
    """
    async with local_world(folder) as (driver, world):
        await driver.apply(spec(client("web", script)))
        await wait_ready_or_say_why(world)


@in_outer
async def test_credentials_of_the_machines_user_are_not_in_pods(folder: Path) -> None:
    home = folder / "home"
    for name in (".ssh/id_ed25519", ".config/gh/hosts.yml", ".config/app/shown", ".netrc"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("secret")
    os.environ["HOME"] = str(home)
    script = f"""
        import pathlib
        home = pathlib.Path({str(home)!r})
        assert not list((home / ".ssh").iterdir()) + list((home / ".config/gh").iterdir())
        assert (home / ".netrc").read_text() == ""
        assert (home / ".config/app/shown").read_text() == "secret"
    """
    async with local_world(folder) as (driver, world):
        web = client("web", script)
        web["spec"]["template"]["spec"]["containers"][0]["workingDir"] = str(home)
        await driver.apply(spec(web))
        await wait_ready_or_say_why(world)


@in_outer
async def test_what_only_the_manager_may_read_is_not_in_pods(folder: Path) -> None:
    script = f"""
        assert os.listdir({str(folder)!r}) == ["run"]
        assert os.listdir({str(folder / "run")!r}) == []
    """
    async with local_world(folder) as (driver, world):
        (folder / "run" / "token").write_text("secret")
        web = client("web", script)
        web["spec"]["template"]["spec"]["containers"][0]["workingDir"] = str(folder)
        await driver.apply(spec(web))
        await wait_ready_or_say_why(world)


def test_a_reaper_that_cannot_fork_makes_no_holder_and_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    manager, reaper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with manager, reaper, ours:
        with theirs:
            socket.send_fds(manager, [b"pod"], [theirs.fileno()])
        manager.shutdown(socket.SHUT_WR)
        pause.make_holders(reaper)  # until the manager is gone
        assert ours.recv(1) == b""
