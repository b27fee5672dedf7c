"""Which cloud, and with which token: settings first, then the client file of this user.

A client file is `{"server": …, "token_file": …}`; one in the user's configuration wins over the one
that a `serve --role all` on this machine leaves in its data directory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lapdev.errors import ConfigError
from lapdev.settings import DevboxSettings, home_dir, read_secret


@dataclass(frozen=True, slots=True)
class Account:
    server: str
    token: str = field(repr=False)


def find_account(settings: DevboxSettings, environ: Mapping[str, str] = os.environ) -> Account:
    """The cloud to dial and the API token for it.

    Raises:
        ConfigError: no server is known, or no token; says what to set.
    """
    known = _client_file(environ)
    server = settings.server or known.get("server", "")
    if not server:
        raise ConfigError(
            "no server is known on this machine",
            hint="start one (`lapdev serve`), or set LAPDEV_SERVER and LAPDEV_TOKEN_FILE",
        )
    # The client file's token is for its own server; sent elsewhere, it would be given away.
    if not (settings.token or settings.token_file) and known.get("server") == server:
        settings = DevboxSettings(token_file=known.get("token_file", ""))
    return Account(server, read_secret(settings, "token"))


def client_file_paths(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Where a client file may be, the first one first."""
    return (
        xdg_dir(environ, "XDG_CONFIG_HOME", ".config") / "client.json",
        xdg_dir(environ, "XDG_DATA_HOME", ".local/share") / "client.json",
    )


def xdg_dir(environ: Mapping[str, str], variable: str, default: str) -> Path:
    """Our directory below the one the variable names, or below the home directory's default."""
    base = environ.get(variable, "")
    # The XDG base directory specification: a relative path is invalid and ignored.
    return (Path(base) if base.startswith("/") else home_dir() / default) / "lapdev"


def _client_file(environ: Mapping[str, str]) -> dict[str, str]:
    for path in client_file_paths(environ):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as exc:
            raise ConfigError(f"cannot read {path}: {exc}", hint="mend or remove it") from exc
        if not isinstance(found, dict):
            raise ConfigError(f"{path} is not a client file", hint="remove it")
        return {str(key): str(value) for key, value in found.items()}
    return {}
