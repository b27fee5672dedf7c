"""The files a pod sees instead of the machine's own: names resolve through them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PRIVATE_FOLDERS = ("/tmp", "/dev/shm")  # noqa: S108
"""Every pod has its own, empty at first."""
TARGETS = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname")


def hosts_text(pod: str, ip: str, namespace: str, services: Mapping[str, str]) -> str:
    """A hosts file that knows the pod itself and every service under its usual names."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", f"{ip} {pod}"]
    for service, address in sorted(services.items()):
        qualified = f"{service}.{namespace}"
        lines.append(
            f"{address} {service} {qualified} {qualified}.svc {qualified}.svc.cluster.local"
        )
    return "\n".join(lines) + "\n"


def write_pod_files(folder: Path, pod: str, gateway: str, hosts: str) -> dict[str, str]:
    """Target → file, freshly written below `folder`; `placeholders` there is an `/etc` of them."""
    placeholders = folder / "placeholders"
    placeholders.mkdir(parents=True, exist_ok=True)
    # Nothing listens for DNS at the gateway: a name that is not in the hosts file fails at once.
    texts = (hosts, f"nameserver {gateway}\noptions timeout:1 attempts:1\n", f"{pod}\n")
    files = {}
    for target, text in zip(TARGETS, texts, strict=True):
        file = folder / Path(target).name
        file.write_text(text)
        (placeholders / file.name).touch()
        files[target] = str(file)
    return files


def rewrite(file: Path, text: str) -> None:
    """The file has new content and is the same file: pods that have it mounted see the change."""
    fd = os.open(file, os.O_WRONLY)
    try:
        data = text.encode()
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def kept_paths(words: list[str], always: list[str], covered: list[str]) -> list[str]:
    """Folders a command runs from that lie below a covered one, outermost only."""
    folders = {Path(path) for path in always}
    for word in words:
        path = Path(word)
        if path.is_absolute() and path.exists():
            folders.add(path if path.is_dir() else path.parent)
    hidden = {path for path in folders if any(_below(path, Path(root)) for root in covered)}
    outermost = [path for path in hidden if not any(_below(path, other) for other in hidden)]
    return sorted(map(str, outermost))


def _below(path: Path, folder: Path) -> bool:
    return path != folder and path.is_relative_to(folder)
