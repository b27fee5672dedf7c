"""What this user's machine knows: which cloud to talk to, with which token, and who it is itself.

For the commands and the devbox alike; no role imports another for it.

The token comes from the environment or a file, never from argv. A client file is
`{"server": …, "token_file": …}`; one in the user's configuration wins over the one that a
`serve --role all` on this machine leaves in its data directory, and that one counts only while its
supervisor lives: on its address anybody could listen later, and would be given the token.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import string
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lapdev.errors import ConfigError
from lapdev.settings import home_dir

CLIENT_FILE = "client.json"
LOCK_FILE = "lock"
_DEVICE_ID_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Account:
    """A server and what proves who we are to it."""

    server: str
    """`http(s)://host[:port]` or `unix:PATH`."""
    token: str = field(repr=False)
    ca_file: str = ""
    """Authorities to believe beside the machine's own."""


def find_account(
    server: str | None,
    token_file: str | None,
    environ: Mapping[str, str],
    token: str = "",
    ca_file: str = "",
) -> Account:
    """Each part from what is given, else the environment, else the client file.

    Raises:
        ConfigError: a part is nowhere; says what to set.
    """
    known = _client_file(environ)
    chosen = server or environ.get("LAPDEV_SERVER") or known.get("server", "")
    if not chosen:
        left = (data_dir(environ) / CLIENT_FILE).exists()
        raise ConfigError(
            "lapdev does not run here any more" if left else "no server is known on this machine",
            hint="start one (`lapdev up`, `lapdev serve`), "
            "or set LAPDEV_SERVER and LAPDEV_TOKEN_FILE",
        )
    if not chosen.startswith(("http://", "https://", "unix:/")):
        raise ConfigError(
            f"server {chosen!r:.100} is not an address", hint="write http://host:port"
        )
    ca_file = ca_file or environ.get("LAPDEV_CA_FILE", "")
    if not ca_file and known.get("server") == chosen:
        ca_file = known.get("ca_file", "")
    if token_file and not token:
        return Account(chosen, _read_token(Path(token_file)), ca_file)
    if token := token or environ.get("LAPDEV_TOKEN", ""):
        return Account(chosen, _checked(token.strip(), "LAPDEV_TOKEN"), ca_file)
    path = environ.get("LAPDEV_TOKEN_FILE")
    # The client file's token is for its own server; sent elsewhere, it would be given away.
    if not path and known.get("server") == chosen:
        path = known.get("token_file")
    if not path:
        raise ConfigError(
            f"no token is known for {chosen}", hint="set LAPDEV_TOKEN_FILE or LAPDEV_TOKEN"
        )
    return Account(chosen, _read_token(Path(path)), ca_file)


def known_server(server: str | None, environ: Mapping[str, str]) -> str:
    """The address that `find_account` would choose; empty where it would find none.

    Raises:
        ConfigError: a client file cannot be read.
    """
    return server or environ.get("LAPDEV_SERVER") or _client_file(environ).get("server", "")


def own_server(environ: Mapping[str, str]) -> str:
    """Where the server of this user's own data directory is; empty while none runs."""
    directory = data_dir(environ)
    found = _read_client_file(directory / CLIENT_FILE) if supervisor_pid(directory) else None
    return (found or {}).get("server", "")


def data_dir(environ: Mapping[str, str]) -> Path:
    """Where `serve --role all` keeps its state when no flag says otherwise."""
    if configured := environ.get("LAPDEV_DATA_DIR", ""):
        return Path(configured)
    return _xdg(environ, "XDG_DATA_HOME", ".local/share")


def supervisor_pid(directory: Path) -> int:
    """The process that serves from this data directory; 0 when there is none.

    The lock file's word alone proves nothing, for process ids are used again: the process it names
    must have that very file open. The lock itself is not tried, which could keep a supervisor that
    starts just now from having it.
    """
    try:
        lock = (directory / LOCK_FILE).stat()
        pid = int(json.loads((directory / LOCK_FILE).read_bytes())["pid"])
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.path.samestat(descriptor.stat(), lock):
                return pid
    return 0


def device_id(directory: Path) -> str:
    """This machine's id, made on first use and kept in the state directory.

    Raises:
        ConfigError: the file cannot be read or made.
    """
    return write_once(directory / "device", _new_device_id)


def _new_device_id() -> str:
    alphabet = string.ascii_lowercase + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(_DEVICE_ID_LENGTH))


def write_once(path: Path, make: Callable[[], str]) -> str:
    """The word in a file that only this user can read; made by the first who asks, for everybody.

    Raises:
        ConfigError: the file cannot be read or made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = path.read_text(encoding="ascii").strip() if path.exists() else ""
        if not known:
            with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".new-") as draft:
                draft.write(make() + "\n")
                draft.flush()
                with contextlib.suppress(FileExistsError):  # another process was first
                    os.link(draft.name, path)
            known = path.read_text(encoding="ascii").strip()
        if not known:
            raise ConfigError(f"{path} is empty", hint="remove it")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(
            f"cannot use {path}: {exc}", hint="remove it, or set XDG_STATE_HOME"
        ) from exc
    return known


def connected_environment(environ: Mapping[str, str]) -> str:
    """The environment that `devbox connect` works in on this machine, or ""."""
    try:
        found = json.loads((state_dir(environ) / "devbox.json").read_text(encoding="utf-8"))
        return str(found["environment"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # not connected, or written by another version


def state_dir(environ: Mapping[str, str], configured: str = "") -> Path:
    """Where this machine's devbox keeps what it is."""
    if configured := configured or environ.get("LAPDEV_STATE_DIR", ""):
        return Path(configured)
    return _xdg(environ, "XDG_STATE_HOME", ".local/state")


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> Path:
    base = environ.get(variable, "")
    # The XDG base directory specification: a relative path is invalid and ignored.
    return (Path(base) if base.startswith("/") else home_dir() / default) / "lapdev"


def _client_file(environ: Mapping[str, str]) -> dict[str, str]:
    chosen = _xdg(environ, "XDG_CONFIG_HOME", ".config") / CLIENT_FILE
    if (found := _read_client_file(chosen)) is not None:
        return found
    directory = data_dir(environ)
    if not supervisor_pid(directory):
        return {}
    return _read_client_file(directory / CLIENT_FILE) or {}


def _read_client_file(path: Path) -> dict[str, str] | None:
    """None: there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot read {path}: {exc}", hint="mend or remove it") from exc
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is not a client file", hint="remove it")
    return {str(key): str(value) for key, value in found.items()}


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a text file"
        raise ConfigError(
            f"token file {path}: {reason}", hint="name another with LAPDEV_TOKEN_FILE"
        ) from exc
    return _checked(token, f"token file {path}")


def _checked(token: str, where: str) -> str:
    """A token fit for a header. The message never quotes it."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"{where} holds no token", hint="put the API token there, alone")
    return token
