"""Secrets of the cloud: files that hold one, hashes of them, and tokens derived from them.

A token is never stored: the database has its SHA-256, and an intercept's token is made again from
the key whenever a manager needs it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from lapdev.errors import ConfigError
from lapdev.model import InterceptId

_SECRET_BYTES = 32


def sha256_hex(token: str) -> str:
    """What is stored and looked up in place of the token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class InterceptTokens:
    """Derives the token of each intercept from one key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def token(self, intercept: InterceptId) -> str:
        """The intercept's token: the same one each time, and useless for any other intercept."""
        digest = hmac.digest(self._key, b"intercept:" + intercept.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def load_or_create_secret(path: Path) -> str:
    """The secret in the file; a fresh one of 256 bits is written there when there is no file.

    Raises:
        ConfigError: others than the owner may read the file, or it cannot be read or written.
    """
    try:
        if not path.exists():
            _create(path)
        return _read(path)
    except OSError as exc:
        raise ConfigError(
            f"secret file {path}: {exc.strerror}",
            hint="check that its directory exists and belongs to the user lapdev runs as",
        ) from exc


def _create(path: Path) -> None:
    """Another process may do the same: whichever links its file first decides for both."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(_SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()


def _read(path: Path) -> str:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise ConfigError(
                f"secret file {path} can be read or written by others (mode {mode:04o})",
                hint=f"if only you knew its content: chmod 600 {path}; else delete it",
            )
        content = file.read(4096)
    try:
        secret = content.decode("ascii").strip()
    except UnicodeDecodeError as exc:
        raise ConfigError(f"secret file {path} is not text", hint="delete it") from exc
    if not secret:
        raise ConfigError(f"secret file {path} is empty", hint="delete it, a new one is made")
    return secret
