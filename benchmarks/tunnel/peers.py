"""The other tunnels, built outside the repository: `python -m benchmarks.tunnel.peers`.

They come at pinned versions from their registries (Go module proxy, crates.io) and are built with
this machine's Go and Rust; ssh, nginx and wrk are Debian's. What is built is kept in the user's
cache directory.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CHISEL = ("github.com/jpillora/chisel", "v1.11.3", ("chisel",))
FRP = ("github.com/fatedier/frp", "v0.65.0", ("frps", "frpc"))
RATHOLE = "0.5.0"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lapdev-benchmarks"
SYSTEM = {
    "wrk": ("wrk", "-v"),
    "nginx": ("nginx-light", "-v"),
    "ssh": ("openssh-client", "-V"),
    "sshd": ("openssh-server", "-V"),
    "taskset": ("util-linux", "--version"),
    "chrt": ("util-linux", "--version"),
    "openssl": ("openssl", "version"),
}
"""Program → Debian package, and the argument that makes it tell its version."""


def find(name: str) -> str:
    """The path of a program.

    Raises:
        SystemExit: it is not there; says where it comes from.
    """
    built = CACHE / "bin" / name
    if built.exists():
        return str(built)
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        package = SYSTEM.get(name, ("",))[0]
        remedy = f"apt-get install {package}" if package else "python -m benchmarks.tunnel.peers"
        raise SystemExit(f"benchmarks: no {name}: {remedy}")
    return path


def versions() -> dict[str, str]:
    """What is compared, as it names itself."""
    found = {
        "chisel": CHISEL[1],
        "frp": _said(find("frps"), "--version"),
        "rathole": _said(find("rathole"), "--version").replace("\n", " "),
    }
    for name, (_, argument) in SYSTEM.items():
        if name not in ("sshd", "taskset", "chrt"):
            found[name] = _said(find(name), argument)
    return found


def _said(program: str, argument: str) -> str:
    done = subprocess.run([program, argument], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines() or [""]
    if program.endswith("rathole"):
        lines = [line for line in lines if "Version" in line or "rustc" in line.lower()]
        lines = [" ".join(line.split()) for line in lines]
        return "; ".join(lines)
    return lines[0][:80]


def build() -> None:
    """Every peer is in the cache directory."""
    folder = CACHE / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    for module, version, names in (CHISEL, FRP):
        if not _built(names, version):
            _build_go(module, version, names)
            _note(names, version)
    if not _built(("rathole",), RATHOLE):
        # Without the lock file, whose `time` no current compiler accepts; TLS is not compared.
        features = ["--no-default-features", "--features", "client,server"]
        command = ["cargo", "install", "rathole", "--version", RATHOLE, *features, "--force"]
        subprocess.run([*command, "--root", str(CACHE)], check=True)
        _note(("rathole",), RATHOLE)


def _build_go(module: str, version: str, names: tuple[str, ...]) -> None:
    """In the module's own folder, because frp replaces a library by its fork, which `go install`
    does not do; with the sums of its own go.sum."""
    with tempfile.TemporaryDirectory() as empty:  # not in a module that could change the choice
        command = ["go", "mod", "download", "-json", f"{module}@{version}"]
        told = subprocess.run(command, cwd=empty, check=True, capture_output=True, text=True).stdout
    packages = ["."] if len(names) == 1 else [f"./cmd/{name}" for name in names]
    flags = ["-mod=readonly", "-trimpath", "-ldflags=-s -w"]
    command = ["go", "build", *flags, "-o", f"{CACHE / 'bin'}/", *packages]
    subprocess.run(command, cwd=json.loads(told)["Dir"], check=True)


def _built(names: tuple[str, ...], version: str) -> bool:
    noted = [CACHE / f"{name}.version" for name in names]
    return all(
        note.exists() and note.read_text() == version and (CACHE / "bin" / name).exists()
        for name, note in zip(names, noted, strict=True)
    )


def _note(names: tuple[str, ...], version: str) -> None:
    for name in names:
        (CACHE / f"{name}.version").write_text(version)


if __name__ == "__main__":
    build()
    for program, version in versions().items():
        print(f"{program:10} {version}")
