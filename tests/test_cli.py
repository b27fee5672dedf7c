from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lapdev import __version__, cli
from lapdev.cli import COMMANDS, DEVBOX_COMMANDS, LazyGroup, option_of
from lapdev.errors import NotFound
from lapdev.settings import ROLES, load, settings_of
from tests.support.needs import PROJECT


def lapdev(*argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lapdev", *argv],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        timeout=30,
    )


def run(*argv: str) -> str:
    result = CliRunner().invoke(cli.cli, list(argv))
    assert result.exit_code == 0, result.output
    return result.output


def test_the_version_is_the_packages() -> None:
    assert run("--version") == f"lapdev {__version__}\n"
    assert f'version = "{__version__}"' in (PROJECT / "pyproject.toml").read_text()


def test_help_lists_every_installed_command_with_its_line() -> None:
    text = run("--help")
    for name, (path, line) in COMMANDS.items():
        assert (f"{name} " in text and line in text) == cli._installed(path)


@pytest.mark.parametrize("table", [COMMANDS, DEVBOX_COMMANDS])
def test_every_listed_command_can_be_imported_and_helps(table: cli.Table) -> None:
    group = LazyGroup("x", table=table)
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        assert CliRunner().invoke(command, ["--help"]).exit_code == 0, name


def test_a_command_whose_module_is_missing_is_not_listed() -> None:
    table = {"gone": ("lapdev.no.such:thing", "Gone."), "cli": ("lapdev.cli:serve", "There.")}
    group = LazyGroup("x", table=table)
    assert group.list_commands(click.Context(group)) == ["cli"]
    assert group.get_command(click.Context(group), "gone") is None


@pytest.mark.slow
def test_help_imports_no_role() -> None:
    code = (
        "import sys; from lapdev.__main__ import main; sys.argv[1:] = ['--help']; main();"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert not {"asyncio", "structlog", "httpx", "sqlalchemy", "rich", "lapdev.client"} & loaded


def test_output_that_nobody_can_take_is_one_line() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device, not a path of ours
        done = subprocess.run(
            [sys.executable, "-m", "lapdev", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("lapdev: cannot write the output: ")
    assert "Traceback" not in done.stderr


# serve


@pytest.mark.parametrize("role", ["cloud", "manager", "sidecar", "all"])
def test_serve_shows_the_flags_of_the_role(role: str) -> None:
    text = run("serve", f"--role={role}", "--help")
    for item in settings_of(ROLES[role]):
        if item.flag:
            assert item.flag in text
        else:
            assert f"--{item.name} " not in text
    assert run("serve", "--help") == run("serve", "--role", "all", "--help")


@pytest.mark.parametrize("role", ["cloud", "manager", "sidecar", "devbox", "all"])
def test_options_made_from_settings_load_into_them(role: str) -> None:
    cls = ROLES[role]
    options = [option_of(item) for item in settings_of(cls) if item.flag]
    command = click.Command("x", params=options)
    context = command.make_context("x", [])
    assert load(cls, context.params, {}) == cls()


def test_a_boolean_setting_has_a_flag_for_each_value() -> None:
    cls = ROLES["all"]
    item = next(item for item in settings_of(cls) if item.name == "isolation")
    command = click.Command("x", params=[option_of(item)])
    assert command.make_context("x", ["--no-isolation"]).params == {"isolation": False}
    assert command.make_context("x", ["--isolation"]).params == {"isolation": True}


def test_another_roles_flag_is_refused() -> None:
    result = CliRunner().invoke(cli.cli, ["serve", "--role", "cloud", "--isolation"])
    assert result.exit_code == 2
    assert "No such option" in result.output


# Errors


def test_an_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = lapdev("serve", "--role", "cloud", "--listen", "nowhere")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("lapdev: setting listen: bad value 'nowhere' from --listen: ")
    assert done.stderr.count("\n") == 1


def test_debug_shows_the_traceback() -> None:
    done = lapdev("--debug", "serve", "--role", "cloud", "--listen", "nowhere")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr


def test_debug_after_the_command_belongs_to_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--debug"]) == 2
    assert "no such option '--debug'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("nothing", "no such command 'nothing': `lapdev --help` shows the commands"),
        ("env nothing", "no such command 'nothing': `lapdev env --help` shows the commands"),
        ("env status", "missing argument 'NAME': usage: lapdev env status [OPTIONS] NAME"),
        (
            "env list extra",
            "got unexpected extra argument (extra): usage: lapdev env list [OPTIONS]",
        ),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(
    words: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words.split()) == 2
    assert capsys.readouterr().err == f"lapdev: {line}\n"


def test_a_group_alone_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["env"]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_an_interrupted_command_ends_as_a_shell_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.cli, "get_command", lambda _context, _name: interrupted)
    assert cli.main(["interrupted"]) == 130


def test_a_commands_own_exit_code_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.pass_context
    def three(context: click.Context) -> None:
        context.exit(3)

    monkeypatch.setattr(cli.cli, "get_command", lambda _context, _name: three)
    assert cli.main(["three"]) == 3


def test_a_lapdev_error_of_a_command_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def failing() -> None:
        raise NotFound("environment 'shop' does not exist", hint="lapdev env list shows them")

    monkeypatch.setattr(cli.cli, "get_command", lambda _context, _name: failing)
    assert cli.main(["failing"]) == 1
    expected = "lapdev: environment 'shop' does not exist: lapdev env list shows them\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_asks_lapdev(shell: str) -> None:
    assert "_LAPDEV_COMPLETE" in run("completion", shell)


def test_completion_completes_commands() -> None:
    import os

    env = {**os.environ, "_LAPDEV_COMPLETE": "bash_complete", "COMP_WORDS": "lapdev ser"}
    done = lapdev(env={**env, "COMP_CWORD": "1"})
    assert done.stdout == "plain,serve\n"
