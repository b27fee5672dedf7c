"""The document a sidecar is started with: read once from an inherited descriptor, then checked."""

from __future__ import annotations

import json
import os

from lapdev.cluster.driver import SidecarLaunch
from lapdev.errors import ConfigError, RemoteProtocolError
from lapdev.model import SidecarPort
from lapdev.net.address import TcpAddress, parse_address
from lapdev.wire.plain import from_plain

LAUNCH_BYTES = 1 << 20
_HINT = "sidecars are started by the manager, which hands the document over with --launch-fd"


def read_launch(fd: int) -> SidecarLaunch:
    """The checked launch document from `fd`, which is closed whatever happens.

    The document holds the pod's token, so no error quotes its content.

    Raises:
        ConfigError: unreadable, not the expected JSON, or contradictory.
    """
    if fd < 0:
        raise ConfigError("launch_fd is not set", hint=_HINT)
    try:
        raw = _read_all(fd)
    except OSError as exc:
        raise ConfigError(f"launch document on fd {fd}: {exc.strerror}", hint=_HINT) from exc
    return parse_launch(raw)


def parse_launch(raw: bytes) -> SidecarLaunch:
    """The launch document in `raw`, checked. Raises ConfigError."""
    try:
        document = json.loads(raw)
    except ValueError:  # also what is not UTF-8; not chained, because it quotes the document
        raise ConfigError("the launch document is not JSON", hint=_HINT) from None
    try:
        launch = from_plain(SidecarLaunch, document)
    except RemoteProtocolError as exc:
        raise ConfigError(f"launch document: {exc.detail}", hint=_HINT) from exc
    _check(launch)
    return launch


def _read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as source:
        raw = source.read(LAUNCH_BYTES + 1)
    if len(raw) > LAUNCH_BYTES:
        raise ConfigError(f"the launch document is larger than {LAUNCH_BYTES} bytes", hint=_HINT)
    return raw


def _check(launch: SidecarLaunch) -> None:
    if not launch.token or not launch.token.isascii() or not launch.token.isprintable():
        raise ConfigError("launch document: token is empty or not printable ASCII", hint=_HINT)
    parse_address(launch.manager)
    if launch.admin:
        parse_address(launch.admin)
    seen: set[int] = set()
    for port in launch.ports:
        _check_port(port, launch)
        if port.proxy_port and port.proxy_port in seen:
            raise ConfigError(f"launch document: proxy port {port.proxy_port} twice", hint=_HINT)
        seen.add(port.proxy_port)


def _check_port(port: SidecarPort, launch: SidecarLaunch) -> None:
    for name in ("proxy_port", "service_port", "target_port"):
        number = getattr(port, name)
        # Port 0 of the proxy means any free one: what tests listen on.
        if not (0 if name == "proxy_port" else 1) <= number <= 65535:
            raise ConfigError(f"launch document: {name} {number} is not a port", hint=_HINT)
    parse_address(str(TcpAddress(launch.app_host, port.target_port)))
    parse_address(str(TcpAddress(launch.bind_host, port.proxy_port)))
    overlapping = launch.bind_host in ("0.0.0.0", "::", launch.app_host)
    if overlapping and port.proxy_port == port.target_port:
        raise ConfigError(
            f"launch document: the proxy of {port.service}:{port.service_port} would listen where "
            f"its app does, on {port.target_port}",
            hint=_HINT,
        )
