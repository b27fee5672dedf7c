"""What to do where the machine does not allow namespaces."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from lapdev.cluster.namespaces import in_outer, remedy
from tests.support.in_outer import in_outer as runs_in_outer


@pytest.mark.parametrize(
    ("path", "value", "setting"),
    [
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
    ],
)
def test_a_forbidding_sysctl_is_named(tmp_path: Path, path: str, value: str, setting: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(f"{value}\n")
    assert setting in remedy(errno.EPERM, tmp_path)
    assert "--no-isolation" in remedy(errno.EPERM, tmp_path)


def test_a_sandbox_around_us_is_suspected_when_no_sysctl_forbids(tmp_path: Path) -> None:
    text = remedy(errno.EPERM, tmp_path)
    assert "seccomp" in text or "chroot" in text
    assert "--no-isolation" in text


def test_a_thread_too_early_is_our_own_mistake(tmp_path: Path) -> None:
    assert "before it starts any thread" in remedy(errno.EINVAL, tmp_path)


def test_pytest_itself_stays_outside() -> None:
    assert not in_outer()


@runs_in_outer
async def test_inside_we_are_root_and_alone(folder: Path) -> None:
    import os
    import socket

    assert in_outer()
    assert (os.getuid(), os.getgid()) == (0, 0)
    assert [name for _, name in socket.if_nameindex()][:1] == ["lo"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
