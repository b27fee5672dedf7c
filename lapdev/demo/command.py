"""`lapdev demo`: starts the shop, says where it is, and stays until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from lapdev import log
from lapdev.demo.stage import Stage, StageOptions
from lapdev.errors import ConfigError, LapdevError
from lapdev.net.tasks import Tasks
from lapdev.serve import loop_factory

PREFERRED = ("127.0.0.1", 8080)


@dataclass(frozen=True, slots=True)
class _Wish:
    stage: StageOptions
    as_json: bool
    check: bool


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="JSON lines for programs: one once everything answers."
)
@click.option("--check", is_flag=True, help="Drive the demo, print a table, exit 0 or 1.")
@click.option("--listen", default="", metavar="HOST:PORT", help="Default: 127.0.0.1:8080 if free.")
@click.option("--no-isolation", is_flag=True, help="Run pods without namespaces of their own.")
@click.option("--keep", is_flag=True, help="Leave the data directory behind.")
def demo(as_json: bool, check: bool, listen: str, no_isolation: bool, keep: bool) -> None:
    """Start the demo shop and print its preview URLs."""
    _check_extras()
    log.configure("all", "warning")
    options = StageOptions(
        listen=listen or _free_address(),
        isolation=not no_isolation and _isolation_works(),
        keep=keep,
        progress=lambda line: click.echo(f"  · {line}", err=True),
    )
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        sys.exit(runner.run(_run(_Wish(options, as_json, check))))


async def _run(wish: _Wish) -> int:
    """The exit code: 0 after a signal, or what the check says."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    async with Tasks() as tasks:
        playing = tasks.spawn(_play(wish), "demo")
        stopping = tasks.spawn(stop.wait(), "wait for a signal")
        await asyncio.wait({playing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            # Wherever it is, it tears down on its way out, and nothing is left behind.
            if not wish.as_json:
                click.echo("\nStopping.")
            playing.cancel()
            await asyncio.wait({playing})
            return 0
        outcome = playing.result()
    if isinstance(outcome, LapdevError):
        raise outcome
    return outcome


async def _play(wish: _Wish) -> int | LapdevError:
    """The check's exit code; without a check it goes on until it is cancelled.

    An error is the caller's to report, not a failed task's traceback.
    """
    try:
        async with Stage(wish.stage) as stage:
            if wish.check:
                from lapdev.demo.check import run_checks

                return await run_checks(stage, click.echo, as_json=wish.as_json)
            _announce(stage, wish)
            forever: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            return await forever
    except LapdevError as exc:
        return exc


def _announce(stage: Stage, wish: _Wish) -> None:
    if wish.as_json:
        pids = stage.supervisor.pids()
        event = {
            "event": "ready",
            "edge": stage.edge,
            "previews": stage.previews,
            "pids": {role: pids[role] for role in ("cloud", "manager")},
        }
        click.echo(json.dumps(event))
        return
    width = max(map(len, stage.previews))
    runtime = "Node" if shutil.which("node") else "Python (there is no node here)"
    click.echo(f"\nThe shop is up. Its search service runs on {runtime}.\n")
    for name, url in stage.previews.items():
        click.echo(f"  {name:<{width}}  {url}")
    click.echo(
        "\nIn another terminal, to use the command line with it:\n\n"
        f"{_activation()}"
        f"  export LAPDEV_SERVER={stage.server} LAPDEV_TOKEN_FILE={stage.token_file}\n"
        "  lapdev env list\n"
        "  lapdev devbox connect --environment shop --background\n"
        "\nCtrl-C stops it."
    )
    if wish.stage.keep:
        click.echo(f"Its data stays in {stage.directory}.")


def _activation() -> str:
    """The line that puts `lapdev` on another shell's PATH, where it is in a virtual environment."""
    script = Path(sys.prefix, "bin", "activate")
    return f"  . {shlex.quote(str(script))}\n" if script.exists() else ""


def _isolation_works() -> bool:
    """Whether pods can have namespaces here; says so when not, and what that means.

    The demo runs nothing but its own shop, so it goes on without. `lapdev serve` does not.
    """
    # In a process of its own: entering namespaces cannot be undone.
    code = "from lapdev.cluster.namespaces import enter_outer; enter_outer()"
    command = [sys.executable, "-c", code]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return True
    reason = tried.stderr.strip().rpartition("\n")[2].partition(": ")[2]
    click.echo(
        f"  · {reason}\n  · the shop's pods run without isolation (lapdev serve would refuse)",
        err=True,
    )
    return False


def _free_address() -> str:
    """The address people remember, if it is free, else any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(PREFERRED)
        except OSError:
            return f"{PREFERRED[0]}:0"
    return "{}:{}".format(*PREFERRED)


def _check_extras() -> None:
    """The shop's programs need packages that lapdev itself does not."""
    from importlib.util import find_spec

    missing = [name for name in ("uvicorn", "redis", "starlette") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the demo's shop needs {', '.join(missing)}", hint="pip install 'lapdev[demo]'"
        )
