"""TLS at both ends: the listener's certificate from files, and whom a dialling end believes.

TLS 1.2 and 1.3 (RFC 8446, RFC 9325). A certificate that was renewed is noticed at the next
handshake: nothing has to be restarted, and nothing is polled.
"""

from __future__ import annotations

import ssl
import time
from pathlib import Path

from lapdev.errors import ConfigError, ConnectFailed
from lapdev.log import get_logger

LOOK_INTERVAL = 1.0
"""Seconds between two looks at the files: handshakes come in thousands."""
HANDSHAKE_TIMEOUT = 10.0
SHUTDOWN_TIMEOUT = 2.0

_UNKNOWN_CA = frozenset({2, 18, 19, 20, 21})  # X509_V_ERR_*: issuer missing, or self-signed
_OTHER_NAME = frozenset({62, 63, 64})  # host name, e-mail, IP address mismatch
_EXPIRED = 10


class ServerCertificate:
    """A certificate and its key, as the files have them at the time."""

    def __init__(self, cert_file: str, key_file: str) -> None:
        """
        Raises:
            ConfigError: a file is missing or holds something else; names which.
        """
        self._cert_file = cert_file
        self._key_file = key_file
        self._state = self._look()
        self._looked_at = time.monotonic()
        self._current = self._load()
        self.context = self._current
        """For the listener; it serves the newest certificate, whichever it was made with."""

    def refresh(self) -> None:
        """The files are read again if they have changed. A bad pair is logged, and not used."""
        state = self._look()
        if state == self._state:
            return
        self._state = state
        try:
            self._current = self._load()
        except ConfigError as exc:
            # Two files are seldom replaced in one moment: the second one makes it a pair.
            get_logger().warning("certificate_not_loaded", error=str(exc), hint=exc.hint)
        else:
            get_logger().info("certificate_loaded", path=self._cert_file)

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(_identity(Path(name)) for name in (self._cert_file, self._key_file))

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        now = time.monotonic()
        if now - self._looked_at >= LOOK_INTERVAL:
            self._looked_at = now
            self.refresh()
        connection.context = self._current

    def _load(self) -> ssl.SSLContext:
        _require(self._cert_file, "tls_cert", b"-----BEGIN CERTIFICATE-----")
        _require(self._key_file, "tls_key", b"PRIVATE KEY-----")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._cert_file, self._key_file, password=_no_password)
        except ssl.SSLError as exc:
            if exc.reason == "KEY_VALUES_MISMATCH":
                raise ConfigError(
                    f"tls_key {self._key_file} is not the key of tls_cert {self._cert_file}",
                    hint="name the two files that were made together",
                ) from exc
            raise ConfigError(
                f"tls_cert {self._cert_file} and tls_key {self._key_file}: {exc.reason or exc}",
                hint="both are PEM files; the certificate comes first in its own, its chain after",
            ) from exc
        context.sni_callback = self._choose
        return context


def certificate_of(cert_file: str, key_file: str) -> ssl.SSLContext | None:
    """For a listener; None when neither file is named: it speaks no TLS.

    Raises:
        ConfigError: only one is named, or one is missing or holds something else.
    """
    if not cert_file and not key_file:
        return None
    for setting, path in (("tls_cert", cert_file), ("tls_key", key_file)):
        if not path:
            raise ConfigError(
                f"{setting} is not set", hint="a certificate and its key are set together"
            )
    return ServerCertificate(cert_file, key_file).context


def _identity(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _require(path: str, setting: str, mark: bytes) -> None:
    try:
        content = Path(path).read_bytes()
    except OSError as exc:
        raise ConfigError(
            f"{setting} {path}: {exc.strerror}", hint=f"check --{setting.replace('_', '-')}"
        ) from exc
    if mark not in content:
        kind = "private key" if setting == "tls_key" else "certificate"
        raise ConfigError(f"{setting} {path} holds no {kind}", hint="write it in PEM form")
    if b"ENCRYPTED" in content and setting == "tls_key":
        raise ConfigError(
            f"{setting} {path} is encrypted", hint="decrypt it; keep it readable for lapdev only"
        )


def _no_password() -> str:
    return ""


# Dialling


def client_context(ca_file: str = "") -> ssl.SSLContext:
    """Believes the machine's authorities, and those in `ca_file`.

    Raises:
        ConfigError: the file cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        _require(ca_file, "ca_file", b"CERTIFICATE-----")
        try:
            context.load_verify_locations(ca_file)
            # A server's own certificate may be named, too: it is then believed by itself.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        except ssl.SSLError as exc:
            raise ConfigError(
                f"ca_file {ca_file}: {exc.reason or exc}", hint="certificates in PEM form"
            ) from exc
    return context


def dial_failure(where: object, error: OSError | ValueError) -> ConnectFailed:
    """Why nothing can be dialled there, and what to do about it."""
    if not isinstance(error, OSError):
        return ConnectFailed(f"cannot connect to {where}: that is no host name")
    if not isinstance(error, ssl.SSLError):
        return ConnectFailed(f"cannot connect to {where}: {error.strerror or error}")
    if not isinstance(error, ssl.SSLCertVerificationError):
        return ConnectFailed(
            f"cannot connect to {where}: no TLS there ({error.reason or error})",
            hint="is it an http:// address, or is something in between?",
        )
    hint = "renew it, or check this machine's clock" if error.verify_code == _EXPIRED else ""
    if error.verify_code in _UNKNOWN_CA:
        hint = "if that is right, set --ca-file (LAPDEV_CA_FILE) to its authority's certificate"
    elif error.verify_code in _OTHER_NAME:
        hint = "use a name that the certificate is for"
    detail = f"cannot connect to {where}: its certificate is refused: {error.verify_message}"
    return ConnectFailed(detail.rstrip("."), hint=hint)
