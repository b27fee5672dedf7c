"""Certificates for tests, made by the openssl program: an authority, and what it signs."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.needs import tool

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]


@dataclass(frozen=True)
class Certificate:
    cert: Path
    key: Path


def make_authority(folder: Path, name: str = "authority") -> Certificate:
    """A certificate that signs others."""
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    _openssl(
        *["req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN=lapdev test {name}"],
        *["-keyout", str(made.key), "-out", str(made.cert)],
    )
    return made


def make_certificate(
    authority: Certificate, folder: Path, name: str, names: str = "DNS:localhost,IP:127.0.0.1"
) -> Certificate:
    """A server's certificate for `names`, signed by `authority`."""
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    _openssl(
        *["req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}"],
        *["-CA", str(authority.cert), "-CAkey", str(authority.key)],
        *["-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE"],
        *["-keyout", str(made.key), "-out", str(made.cert)],
    )
    return made


def _openssl(*arguments: str) -> None:
    command = [str(tool("openssl")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
