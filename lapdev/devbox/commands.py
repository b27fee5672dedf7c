"""`lapdev devbox connect|run|status|services|disconnect`: what a developer types."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from lapdev import log
from lapdev.account import state_dir
from lapdev.devbox.state_file import DevboxStatus, StateFile
from lapdev.errors import ConfigError, NotReady
from lapdev.serve import loop_factory
from lapdev.settings import DevboxSettings, load

T = TypeVar("T")

DISCONNECT_TIMEOUT = 15.0

environment_option = click.option(
    "-e",
    "--env",
    "--environment",
    "environment",
    metavar="NAME",
    help="Environment to work in; needed if there are several.  [env: LAPDEV_ENVIRONMENT]",
)
server_option = click.option(
    "--server", metavar="URL", help="Where the cloud is.  [env: LAPDEV_SERVER]"
)
token_file_option = click.option(
    "--token-file", metavar="FILE", help="File with the API token.  [env: LAPDEV_TOKEN_FILE]"
)
ca_file_option = click.option(
    "--ca-file",
    metavar="FILE",
    help="Authorities to believe beside the machine's own.  [env: LAPDEV_CA_FILE]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@environment_option
@click.option("--background", is_flag=True, help="Return once connected.")
@click.option("--proxy", metavar="HOST:PORT", help="Where the proxy listens; default: a free port.")
@server_option
@token_file_option
@ca_file_option
@json_option
def connect(background: bool, as_json: bool, **given: str | None) -> None:
    """Hold the link to an environment until Ctrl-C, or `lapdev devbox disconnect`."""
    from lapdev.devbox.app import run as run_devbox

    settings = _settings(**given)
    if background:
        sys.exit(_connect_in_background(settings, given, as_json))
    _run(run_devbox(settings, _JsonLines() if as_json else _StatusLine()), settings)
    if not as_json:
        click.echo("\nDisconnected.")


@click.command(context_settings={"allow_interspersed_args": False})
@environment_option
@server_option
@token_file_option
@ca_file_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(environment: str | None, command: tuple[str, ...], **given: str | None) -> None:
    """Run COMMAND with its HTTP going to the environment's services by name.

    It uses the link of `devbox connect`; without one it has its own for as long as it runs.
    """
    from lapdev.devbox.program import run_alone, run_beside

    settings = _settings(environment=environment, **given)
    connected = _state_file(settings).read()
    if connected is not None and environment in (None, connected.environment):
        sys.exit(_run(run_beside(connected.proxy, command), settings))
    sys.exit(_run(run_alone(settings, command), settings))


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show the link and its intercepts. Exit code 3 when there is none."""
    found = _state_file(_settings()).read()
    if as_json:
        click.echo(json.dumps(asdict(found) if found else {"connected": False}))
    elif found is None:
        click.echo("Not connected. `lapdev devbox connect` connects.")
    else:
        click.echo(describe(found))
    sys.exit(0 if found else 3)


@click.command()
@json_option
def services(as_json: bool) -> None:
    """List the environment's services."""
    found = _connected()
    if as_json:
        click.echo(json.dumps(found.services))
        return
    taken = {item["service"] for item in found.intercepts}
    for service in found.services:
        ports = ", ".join(str(port["port"]) for port in service["ports"])
        mark = "  (this machine)" if service["name"] in taken else ""
        click.echo(f"{service['name']}  {ports}{mark}")


@click.command()
def disconnect() -> None:
    """End the link of this machine."""
    found = _state_file(_settings()).read()
    if found is None:
        click.echo("Not connected.")
        return
    try:
        # The descriptor names this very process; the number could be another's a moment later.
        descriptor = os.pidfd_open(found.pid)
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except ProcessLookupError:
        return
    ended, _, _ = select.select([descriptor], [], [], DISCONNECT_TIMEOUT)
    os.close(descriptor)
    if not ended:
        raise NotReady(f"process {found.pid} did not end", hint=f"end it with kill -9 {found.pid}")
    click.echo(f"Disconnected from {found.environment or found.server}.")


def describe(status: DevboxStatus) -> str:
    """The status in a few lines."""
    if status.connected:
        lines = [f"Connected to {status.environment} at {status.server}"]
    elif status.environment:
        lines = [f"The link to {status.environment} is down; trying again"]
    else:
        lines = [f"Connecting to {status.server}"]
    if status.error:
        lines.append(f"Not connected: {status.error}")
    lines.append(f"Proxy (HTTP and SOCKS5) on {status.proxy}")
    for item in status.intercepts:
        for ports in item["ports"]:
            takes = f"{item['service']}:{ports['service_port']}"
            lines.append(f"Takes {takes} on local port {ports['local_port']}")
    return "\n".join(lines)


class _JsonLines:
    """One line per change."""

    def __call__(self, status: DevboxStatus) -> None:
        click.echo(json.dumps(asdict(status)))


class _StatusLine:
    """Says what changed, when it changed: a terminal's scrollback stays worth reading."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, status: DevboxStatus) -> None:
        text = describe(status)
        if text != self._last:
            click.echo(("\n" if self._last else "") + text)
            self._last = text


def _connect_in_background(
    settings: DevboxSettings, given: Mapping[str, str | None], as_json: bool
) -> int:
    from lapdev.devbox.background import start_connect

    flags = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value]
    code = start_connect(flags, _state_dir(settings))
    found = _state_file(settings).read()
    if code == 0 and found is not None:
        click.echo(json.dumps(asdict(found)) if as_json else describe(found))
    return code


def _settings(**flags: str | None) -> DevboxSettings:
    return load(DevboxSettings, flags, os.environ)


def _state_file(settings: DevboxSettings) -> StateFile:
    return StateFile(_state_dir(settings))


def _state_dir(settings: DevboxSettings) -> Path:
    return state_dir(os.environ, settings.state_dir)


def _connected() -> DevboxStatus:
    found = _state_file(_settings()).read()
    if found is None:
        raise ConfigError("not connected", hint="run `lapdev devbox connect` first")
    return found


def _run(work: Coroutine[Any, Any, T], settings: DevboxSettings) -> T:
    log.configure(settings.role, settings.log_level)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work)
