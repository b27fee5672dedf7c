"""The command line: the table of commands, each imported only when chosen; errors as one line.

A command whose module is not installed is not listed.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import click

from lapdev import __version__
from lapdev.errors import ConfigError, LapdevError
from lapdev.settings import ROLES, Setting, load, settings_of

Table = dict[str, tuple[str, str]]

COMMANDS: Table = {
    "serve": ("lapdev.cli:serve", "Run one role, or everything on this machine."),
    "demo": ("lapdev.demo.command:demo", "Start the demo shop and print its preview URLs."),
    "up": ("lapdev.client.up:up", "Bring an application up from its files."),
    "down": ("lapdev.client.down:down", "Delete what `up` made."),
    "env": ("lapdev.client.environments:group", "Environments and branches."),
    "preview": ("lapdev.client.previews:group", "Preview URLs."),
    "cluster": ("lapdev.client.clusters:group", "Clusters."),
    "expose": ("lapdev.devbox.expose:expose", "Give a program on this machine a preview URL."),
    "devbox": ("lapdev.cli:devbox", "Connect this machine to an environment."),
    "completion": ("lapdev.cli:completion", "Print the completion script of a shell."),
}
"""Name → where the command is, and its line in `--help` (importing it would cost too much)."""

DEVBOX_COMMANDS: Table = {
    "connect": ("lapdev.devbox.commands:connect", "Hold the link to an environment."),
    "disconnect": ("lapdev.devbox.commands:disconnect", "End the link of this machine."),
    "run": ("lapdev.devbox.commands:run", "Run a program that reaches services by name."),
    "status": ("lapdev.devbox.commands:status", "Show the link and its intercepts."),
    "services": ("lapdev.devbox.commands:services", "List the environment's services."),
    "intercept": ("lapdev.client.devbox:intercept_group", "Take a service's traffic."),
}


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is chosen, not when it is listed."""

    def __init__(self, *args: Any, table: Table, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = {name: entry for name, entry in table.items() if _installed(entry[0])}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, line) for name, (_, line) in self.table.items()]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _installed(path: str) -> bool:
    """The command's module is there. `find_spec` would import the package around it."""
    _, *parts = path.partition(":")[0].split(".")
    place = Path(__file__).parent.joinpath(*parts)
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="lapdev", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Preview URLs, branch environments and laptop intercepts for microservices."""


@click.group(cls=LazyGroup, table=DEVBOX_COMMANDS)
def devbox() -> None:
    """Connect this machine to an environment."""


# serve: its flags are the chosen role's settings


class _ServeCommand(click.Command):
    """Shows and takes the flags of the role that `--role` names."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        settings = settings_of(ROLES[_chosen_role(args)])
        self.params = [*_serve_options(), *(option_of(item) for item in settings if item.flag)]
        return super().parse_args(ctx, args)


def _serve_options() -> list[click.Parameter]:
    from lapdev.serve import ENTRIES

    return [
        click.Option(
            ["--role"],
            type=click.Choice(list(ENTRIES)),
            default="all",
            show_default=True,
            help="What to run. The other options depend on it.",
        ),
        click.Option(["--config"], metavar="FILE", help="TOML file with a table per role."),
    ]


def _chosen_role(args: Sequence[str]) -> str:
    """The role on the command line; an unknown one is reported by click, later."""
    role = "all"
    for index, word in enumerate(args):
        if word == "--role" and index + 1 < len(args):
            role = args[index + 1]
        elif word.startswith("--role="):
            role = word.removeprefix("--role=")
    return role if role in ROLES else "all"


def option_of(item: Setting) -> click.Parameter:
    """The click option of a setting. Its value stays None when the flag is not given."""
    default = "" if item.default in ("", -1) else f"  [default: {item.default}]"
    flag = f"{item.flag}/--no-{item.flag[2:]}" if item.type is bool else item.flag
    return click.Option(
        [flag],
        type=click.Choice(item.choices) if item.choices else None if item.type is bool else str,
        default=None,
        metavar=None if item.choices else item.kind.upper(),
        help=item.help + default,
    )


@click.command(cls=_ServeCommand)
def serve(**given: Any) -> None:
    """Run one role, or everything on this machine.

    Each setting may also come from the environment (LAPDEV_<NAME>) or from a TOML file.
    """
    from lapdev.serve import serve as serve_role

    role, config = given.pop("role"), given.pop("config")
    serve_role(role, load(ROLES[role], given, os.environ, config))


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    bash: `source <(lapdev completion bash)` in ~/.bashrc; zsh: the same in ~/.zshrc;
    fish: `lapdev completion fish > ~/.config/fish/completions/lapdev.fish`.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "lapdev", "_LAPDEV_COMPLETE").source())


def main(argv: Sequence[str]) -> int:
    """Runs a command line: the exit code. Errors are one line on stderr."""
    try:
        code = cli.main(list(argv), prog_name="lapdev", standalone_mode=False)
    except LapdevError as exc:
        if "--debug" in takewhile(lambda word: word.startswith("-"), argv):
            raise
        return _report(exc, 1)
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show()
        return exc.exit_code
    except click.ClickException as exc:
        return _report(_wrong_usage(exc), exc.exit_code)
    except click.Abort:
        return 128 + signal.SIGINT
    except OSError as exc:
        # Output nobody can take (a full disk); a closed pipe is click's own, silent business.
        if exc.filename is not None or exc.errno != errno.ENOSPC:
            raise
        hint = "make room where the output goes"
        # What is still buffered would fail once more, with a traceback, when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _report(ConfigError(f"cannot write the output: {exc.strerror}", hint=hint), 1)
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(bool(exc.code))
    return code if isinstance(code, int) else 0


def _report(error: LapdevError, code: int) -> int:
    from lapdev.serve import error_line

    click.echo(error_line(error), err=True)
    return code


def _wrong_usage(exc: click.ClickException) -> ConfigError:
    """click's error in our words: what is wrong, and the usage of the command it is about."""
    text = exc.format_message().rstrip(".")
    context = exc.ctx if isinstance(exc, click.UsageError) else None
    if context is None:
        hint = "`lapdev --help` shows the commands"
    elif isinstance(context.command, click.Group):
        hint = f"`{context.command_path} --help` shows the commands"
    else:
        hint = "u" + context.get_usage()[1:]
    return ConfigError(text[:1].lower() + text[1:], hint=hint)
