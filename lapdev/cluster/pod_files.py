"""The files a pod sees instead of the machine's own: names resolve through them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PRIVATE_FOLDERS = ("/tmp", "/dev/shm")  # noqa: S108
"""Every pod has its own, empty at first."""


CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class PodNames:
    """What a pod knows by name without asking anybody, and whom it asks."""

    hostname: str
    ip: str
    namespace: str
    gateway: str
    """Where names of the cluster are resolved."""
    subdomain: str = ""
    host_aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()


def hosts_text(names: PodNames) -> str:
    """A hosts file that knows the pod itself and its host aliases; services are for DNS."""
    own = names.hostname
    if names.subdomain:
        own = f"{own}.{names.subdomain}.{names.namespace}.svc.{CLUSTER_DOMAIN} {own}"
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", f"{names.ip} {own}"]
    lines += [f"{address} {' '.join(aliases)}" for address, aliases in names.host_aliases]
    return "\n".join(lines) + "\n"


def resolver_text(names: PodNames) -> str:
    """A resolv.conf that asks the gateway, and completes short names as a cluster does."""
    searched = f"svc.{CLUSTER_DOMAIN}"
    return (
        f"nameserver {names.gateway}\n"
        f"search {names.namespace}.{searched} {searched} {CLUSTER_DOMAIN}\n"
        "options ndots:5 timeout:2 attempts:2\n"
    )


def switch_text(machines: str) -> str:
    """The machine's nsswitch.conf, except that names of hosts come from the two files above.

    Others (systemd's resolver, mDNS) know the machine's names, and say of all else that it does
    not exist before our server is asked.
    """
    others = [line for line in machines.splitlines() if line.partition(":")[0].strip() != "hosts"]
    return "\n".join([*others, "hosts: files dns"]) + "\n"


def write_pod_files(
    folder: Path, names: PodNames, switch: Path = Path("/etc/nsswitch.conf")
) -> dict[str, str]:
    """Target → file, freshly written below `folder`; `placeholders` there is an `/etc` of them."""
    placeholders = folder / "placeholders"
    placeholders.mkdir(parents=True, exist_ok=True)
    texts = {
        "/etc/hosts": hosts_text(names),
        "/etc/resolv.conf": resolver_text(names),
        "/etc/hostname": f"{names.hostname}\n",
    }
    # Without one, the C library asks files and DNS by itself.
    if switch.is_file():
        texts["/etc/nsswitch.conf"] = switch_text(switch.read_text())
    files = {}
    for target, text in texts.items():
        file = folder / Path(target).name
        file.write_text(text)
        (placeholders / file.name).touch()
        files[target] = str(file)
    return files


def kept_paths(
    words: list[str], always: list[str], covered: list[str], refused: Iterable[str] = ()
) -> list[str]:
    """Folders a command runs from that lie below a covered one, outermost only.

    A manifest's words never show what is `refused`, whatever links they lead through.
    """
    folders = {Path(path) for path in always}
    roots = [os.path.realpath(path) for path in refused]
    for word in words:
        path = Path(word)
        if not path.is_absolute() or not path.exists():
            continue
        folder = path if path.is_dir() else path.parent
        if not any(folder.resolve().is_relative_to(root) for root in roots):
            folders.add(folder)
    hidden = {path for path in folders if any(_below(path, Path(root)) for root in covered)}
    outermost = [path for path in hidden if not any(_below(path, other) for other in hidden)]
    return sorted(map(str, outermost))


def _below(path: Path, folder: Path) -> bool:
    return path != folder and path.is_relative_to(folder)
