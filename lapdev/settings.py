"""Every setting once: default, unit and help. Flags, documentation and checks are made from here.

Precedence: flag, then environment (`LAPDEV_<FIELD>`), then the role's table in a TOML file, then
the default. A secret never comes from a flag: it is in the environment or in a file whose path is
the setting. No click, no pydantic here: a sidecar imports this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints

from lapdev.errors import ConfigError
from lapdev.setting_values import CHECKS, CONVERTERS

T = TypeVar("T")

LOG_LEVELS = ("debug", "info", "warning", "error")


def _setting(
    default: Any,
    help_text: str,
    *,
    kind: str = "text",
    unit: str = "",
    choices: tuple[str, ...] = (),
) -> Any:
    """A field with what flags and documentation need to know about it.

    `kind`: text, address (we listen there), dial (we connect there), path, fd, seconds, secret or
    flag.
    """
    metadata = {"help": help_text, "kind": kind, "unit": unit, "choices": choices}
    return field(default=default, metadata=metadata, repr=kind != "secret")


def _log_level(default: str = "info") -> Any:
    return _setting(default, "least important event that is logged", choices=LOG_LEVELS)


def _ready_fd() -> Any:
    return _setting(-1, "descriptor that gets one line `ready` once the role serves", kind="fd")


def _admin(default: str) -> Any:
    return _setting(
        default, "where /livez, /readyz and /metrics are served; empty: nowhere", kind="address"
    )


def _tls_cert() -> Any:
    return _setting(
        "",
        "PEM file with the certificate of the public listener, and its chain; empty: no TLS",
        kind="path",
    )


def _tls_key() -> Any:
    return _setting("", "PEM file with the certificate's private key", kind="path")


def _ca_file() -> Any:
    return _setting(
        "",
        "PEM file with authorities to believe beside the machine's own, or the cloud's certificate",
        kind="path",
    )


def _answer_timeout() -> Any:
    return _setting(
        300,
        "how long an app may take to begin its answer, where its preview says nothing; 0: any time",
        kind="seconds",
        unit="seconds",
    )


def _tunnel_links(default: int) -> Any:
    return _setting(default, "connections that the tunnel to the cloud is made of, 1 to 4")


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSettings:
    """The cloud: preview edge, tunnels, API."""

    role: ClassVar[str] = "cloud"

    listen: str = _setting(
        "127.0.0.1:8080", "public listener: previews, tunnels, API", kind="address"
    )
    internal_listen: str = _setting(
        "", "second listener for managers and sidecars of the same machine", kind="address"
    )
    edge_listen: str = _setting(
        "",
        "listener that serves previews only: the way there for pods of this machine",
        kind="address",
    )
    tls_cert: str = _tls_cert()
    tls_key: str = _tls_key()
    tcp_previews: str = _setting(
        "", "HOST:FIRST-LAST, where raw TCP previews are served; empty: there are none"
    )
    answer_timeout: int = _answer_timeout()
    admin: str = _admin("127.0.0.1:15081")
    data_dir: str = _setting("", "where state is kept", kind="path")
    database: str = _setting(
        "",
        "SQLAlchemy URL; empty: SQLite in the data directory",
        kind="secret",
    )
    domain: str = _setting("lapdev.localhost", "preview URLs are one label below this name")
    public_url: str = _setting(
        "",
        "what users type to reach the API; empty: http(s)://DOMAIN:PORT, with the port of listen",
    )
    cluster_name: str = _setting("local", "name of the cluster the cluster token belongs to")
    cluster_token_file: str = _setting(
        "", "file with the token its manager presents; empty: no cluster is made", kind="path"
    )
    bootstrap_token_file: str = _setting(
        "", "file with the API token of the first user; empty: none", kind="path"
    )
    take_over: bool = _setting(
        False,
        "take the place of the cloud that serves from the same data directory, without a gap",
        kind="flag",
    )
    ready_fd: int = _ready_fd()
    log_level: str = _log_level()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerSettings:
    """The manager: one cluster's pods, sidecars and the tunnel to the cloud."""

    role: ClassVar[str] = "manager"

    cloud: str = _setting("http://127.0.0.1:8080", "where the cloud is", kind="dial")
    ca_file: str = _ca_file()
    tunnel_links: int = _tunnel_links(2)
    token: str = _setting("", "the cluster token; instead of token_file", kind="secret")
    token_file: str = _setting("", "file with the cluster token", kind="path")
    driver: str = _setting("local", "what runs pods", choices=("local",))
    isolation: bool = _setting(
        True, "local driver: pods live in their own user, network and mount namespaces", kind="flag"
    )
    runtime_dir: str = _setting("", "sockets and pods' files; its path must be short", kind="path")
    data_dir: str = _setting(
        "",
        "volumes that outlive pods, and state of other roles on this machine: pods see it empty",
        kind="path",
    )
    edge: str = _setting(
        "",
        "local driver: where the cloud serves previews for pods; empty: they cannot reach any",
        kind="dial",
    )
    edge_domain: str = _setting(
        "lapdev.localhost", "local driver: the domain of the previews behind edge"
    )
    edge_port: int = _setting(8080, "local driver: the port in the URLs of those previews")
    sidecar_listen: str = _setting(
        "", "where sidecars connect; empty: manager.sock in the runtime directory", kind="address"
    )
    sidecar_cloud: str = _setting(
        "", "where sidecars reach the cloud for intercepts; empty: the same as cloud", kind="dial"
    )
    python: str = _setting("", "interpreter of local pods; empty: the manager's own", kind="path")
    admin: str = _admin("127.0.0.1:15082")
    ready_fd: int = _ready_fd()
    log_level: str = _log_level()


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarSettings:
    """The sidecar: the proxy in every pod. What it fronts comes in the launch document."""

    role: ClassVar[str] = "sidecar"

    launch_fd: int = _setting(
        -1, "descriptor with the launch document, which holds the pod's token", kind="fd"
    )
    fork_fd: int = _setting(
        -1,
        "descriptor of a socket: local managers ask there for sidecars, copies of this process",
        kind="fd",
    )
    admin: str = _setting(
        "",
        "where /livez, /readyz and /metrics are served; empty: as the launch document says",
        kind="address",
    )
    ready_fd: int = _ready_fd()
    log_level: str = _log_level()


@dataclass(frozen=True, slots=True, kw_only=True)
class DevboxSettings:
    """The devbox: a laptop's link to its environment."""

    role: ClassVar[str] = "devbox"

    server: str = _setting("", "where the cloud is; empty: as the client file says", kind="dial")
    ca_file: str = _ca_file()
    tunnel_links: int = _tunnel_links(1)
    token: str = _setting("", "the API token; instead of token_file", kind="secret")
    token_file: str = _setting(
        "", "file with the API token; empty: as the client file says", kind="path"
    )
    environment: str = _setting("", "name or id of the active environment")
    proxy: str = _setting(
        "127.0.0.1:0", "HTTP and SOCKS5 proxy for local programs, on one port", kind="address"
    )
    state_dir: str = _setting(
        "", "device id and status; empty: lapdev below XDG_STATE_HOME", kind="path"
    )
    admin: str = _admin("")
    ready_fd: int = _ready_fd()
    log_level: str = _log_level("warning")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSettings:
    """Everything on one machine: a supervisor with cloud and manager as its children."""

    role: ClassVar[str] = "all"

    listen: str = _setting(
        "127.0.0.1:8080", "public listener; port 0: any free one", kind="address"
    )
    data_dir: str = _setting("", "database and tokens; empty: ~/.local/share/lapdev", kind="path")
    runtime_dir: str = _setting(
        "", "sockets and pods' files; empty: a private directory, removed at the end", kind="path"
    )
    tls_cert: str = _tls_cert()
    tls_key: str = _tls_key()
    domain: str = _setting("lapdev.localhost", "preview URLs are one label below this name")
    tcp_previews: str = _setting(
        "127.0.0.1:20000-20099",
        "HOST:FIRST-LAST, where raw TCP previews are served; empty: nowhere",
    )
    answer_timeout: int = _answer_timeout()
    cluster_name: str = _setting("local", "name of the cluster")
    isolation: bool = _setting(
        True, "pods live in their own user, network and mount namespaces", kind="flag"
    )
    cloud_admin: str = _setting(
        "",
        "the cloud's admin listener; empty: cloud-admin.sock in the runtime directory",
        kind="address",
    )
    manager_admin: str = _setting(
        "",
        "the manager's admin listener; empty: manager-admin.sock in the runtime directory",
        kind="address",
    )
    ready_fd: int = _ready_fd()
    log_level: str = _log_level()


ROLES: dict[str, type[Any]] = {
    cls.role: cls
    for cls in (
        CloudSettings,
        ManagerSettings,
        SidecarSettings,
        DevboxSettings,
        EmbeddedSettings,
    )
}
"""Role name to settings class; the role is also the table's name in a TOML file."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as flags and documentation show it."""

    name: str
    type: type[Any]
    default: Any
    help: str
    kind: str
    unit: str
    choices: tuple[str, ...]

    @property
    def flag(self) -> str:
        """`--data-dir`; a secret has none."""
        return "" if self.kind == "secret" else "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "LAPDEV_" + self.name.upper()


def settings_of(cls: type[Any]) -> list[Setting]:
    """The settings of a role, in the order they are documented."""
    types = get_type_hints(cls)
    return [_describe(item, types[item.name]) for item in fields(cls)]


def _describe(item: Field[Any], value_type: type[Any]) -> Setting:
    assert item.default is not MISSING, f"{item.name} has no default"
    return Setting(name=item.name, type=value_type, default=item.default, **_shown(item.metadata))


def _shown(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metadata[name] for name in ("help", "kind", "unit", "choices")}


def load(
    cls: type[T],
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    toml_path: str | None = None,
) -> T:
    """The role's settings: flag, else environment, else TOML, else default.

    Args:
        flags: setting name to value; None means not given. Strings are converted.
        toml_path: default: LAPDEV_CONFIG of `environ`, else no file.

    Raises:
        ConfigError: an unknown name or a bad value, with its source and what is allowed.
    """
    path = toml_path or environ.get("LAPDEV_CONFIG")
    table = _read_toml(path, cls) if path else {}
    values: dict[str, Any] = {}
    for item in settings_of(cls):
        if flags.get(item.name) is not None:
            if item.kind == "secret":
                raise ConfigError(
                    f"{item.name} is a secret and cannot be a flag", hint=_instead(item)
                )
            values[item.name] = _convert(item, flags[item.name], item.flag)
        elif item.variable in environ:
            values[item.name] = _convert(item, environ[item.variable], item.variable)
        elif item.name in table:
            values[item.name] = _convert(item, table[item.name], f"{item.name} in {path}")
    unknown = sorted(set(flags) - {item.name for item in settings_of(cls)})
    if unknown:
        raise ConfigError(f"unknown setting {unknown[0]!r}", hint=_allowed(cls))
    return cls(**values)


def read_secret(settings: Any, name: str) -> str:
    """The secret `name`: its own value if it has one, else the content of `<name>_file`.

    Raises:
        ConfigError: neither is set, or the file cannot be read or is empty. Never quotes content.
    """
    value: str = getattr(settings, name, "")
    if value:
        return value
    path: str = getattr(settings, name + "_file")
    hint = f"write it to a file only you can read and set --{name.replace('_', '-')}-file"
    if not path:
        raise ConfigError(f"{name} is not set", hint=hint)
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not a text file"
        raise ConfigError(f"{name}_file {path}: {reason}", hint=hint) from exc
    if not text:
        raise ConfigError(f"{name}_file {path} is empty", hint=hint)
    return text


def _instead(item: Setting) -> str:
    return f"argv is visible to every user of the machine: set {item.variable} or use a file"


def _allowed(cls: type[Any]) -> str:
    return "allowed: " + ", ".join(item.name for item in settings_of(cls))


def _read_toml(path: str, cls: type[Any]) -> dict[str, Any]:
    import tomllib

    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"settings file {path}: {exc.strerror}", hint="check --config") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"settings file {path} is not TOML: {exc}", hint="mend it") from exc
    for name, value in document.items():
        if name not in ROLES or not isinstance(value, dict):
            raise ConfigError(
                f"settings file {path}: unknown table {name!r}",
                hint="allowed tables: " + ", ".join(f"[{role}]" for role in ROLES),
            )
        known = {item.name for item in settings_of(ROLES[name])}
        for key in value:
            if key not in known:
                raise ConfigError(
                    f"settings file {path}: unknown setting {key!r} in [{name}]",
                    hint=_allowed(ROLES[name]),
                )
    table: dict[str, Any] = document.get(cls.role, {})
    return table


# Conversion and checks


def _convert(item: Setting, value: Any, source: str) -> Any:
    problem = ""
    try:
        converted = CONVERTERS[item.type](value)
    except (TypeError, ValueError) as exc:
        converted, problem = None, str(exc)
    if not problem and item.choices and converted not in item.choices:
        problem = "allowed: " + ", ".join(item.choices)
    if not problem and item.kind in CHECKS and converted != item.default:
        problem = CHECKS[item.kind](converted)
    if problem:
        shown = "" if item.kind == "secret" else f" {str(value)[:100]!r}"
        raise ConfigError(f"setting {item.name}: bad value{shown} from {source}", hint=problem)
    if item.kind == "path" and converted:
        try:
            converted = str(Path(converted).expanduser().absolute())
        except RuntimeError as exc:
            raise ConfigError(
                f"setting {item.name}: {converted} from {source} names no home directory",
                hint="write the path out",
            ) from exc
    return converted


def home_dir() -> Path:
    """This user's home directory.

    Raises:
        ConfigError: neither HOME nor the machine's list of users knows it.
    """
    try:
        return Path.home()
    except RuntimeError as exc:
        raise ConfigError("no home directory is known", hint="set HOME") from exc
