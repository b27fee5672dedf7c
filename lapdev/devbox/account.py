"""Which cloud, and with which token: settings first, then the client file of this user.

The client file is `client.json` below the data directory: `{"server": …, "token_file": …}`. A
`serve --role all` on this machine writes it, so that nothing has to be configured there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lapdev.errors import ConfigError
from lapdev.settings import DevboxSettings, read_secret


@dataclass(frozen=True, slots=True)
class Account:
    server: str
    token: str = field(repr=False)


def find_account(settings: DevboxSettings, environ: Mapping[str, str] = os.environ) -> Account:
    """The cloud to dial and the API token for it.

    Raises:
        ConfigError: no server is known, or no token; says what to set.
    """
    has_token = settings.token or settings.token_file
    known = {} if settings.server and has_token else _client_file(client_file_path(environ))
    server = settings.server or known.get("server", "")
    if not server:
        raise ConfigError(
            "no server is known on this machine",
            hint="start one (`lapdev demo`, `lapdev serve`), or set LAPDEV_SERVER and "
            "LAPDEV_TOKEN_FILE",
        )
    if not has_token:
        settings = DevboxSettings(token_file=known.get("token_file", ""))
    return Account(server, read_secret(settings, "token"))


def client_file_path(environ: Mapping[str, str]) -> Path:
    """`client.json` below $XDG_DATA_HOME/lapdev, or below ~/.local/share/lapdev."""
    home = environ.get("XDG_DATA_HOME", "")
    base = Path(home) if home.startswith("/") else Path.home() / ".local" / "share"
    return base / "lapdev" / "client.json"


def _client_file(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot read {path}: {exc}", hint="remove it, or mend it") from exc
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is not a client file", hint="remove it")
    return {str(key): str(value) for key, value in found.items()}
