"""Names for the shell: those there are, and silence where nobody answers."""

from __future__ import annotations

import asyncio

import click
import pytest
from click.shell_completion import ShellComplete

from lapdev import cli
from lapdev.cloud.actions import EnvironmentLive
from lapdev.model import EnvironmentId, EnvironmentStatus, WorkloadStatus
from tests.support.served_api import ServedApi


async def completed(
    api: ServedApi, monkeypatch: pytest.MonkeyPatch, *words: str, **environ: str
) -> list[str]:
    for name, value in api.environ(**environ).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)

    def complete() -> list[str]:
        shell = ShellComplete(cli.cli, {}, "lapdev", "_LAPDEV_COMPLETE")
        return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]

    return await asyncio.to_thread(complete)


async def test_environments_and_their_workloads_are_completed(
    api: ServedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await api.rig.make_shop()
    api.rig.link.live[EnvironmentId(str(made["id"]))] = EnvironmentLive(
        EnvironmentStatus.READY, "", (WorkloadStatus("web", 1, 1), WorkloadStatus("api", 1, 1))
    )
    assert await completed(api, monkeypatch, "env", "status", "") == ["shop"]
    assert await completed(api, monkeypatch, "env", "status", "x") == []
    assert await completed(api, monkeypatch, "env", "logs", "shop", "") == ["web", "api"]
    assert await completed(api, monkeypatch, "env", "override", "shop", "w") == ["web"]
    assert await completed(api, monkeypatch, "down", "s") == ["shop"]
    assert await completed(api, monkeypatch, "up", "--cluster", "") == ["local"]


@pytest.mark.parametrize("server", ["http://127.0.0.1:1", "nonsense", ""])
async def test_without_a_server_there_is_nothing_and_no_complaint(
    api: ServedApi,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    server: str,
) -> None:
    words = ("env", "status", "")
    assert await completed(api, monkeypatch, *words, LAPDEV_SERVER=server) == []
    assert capsys.readouterr() == ("", "")


def test_every_argument_that_names_an_environment_is_completed() -> None:
    from lapdev.client import environments, logs, previews

    commands = [*environments.group.commands.values(), *previews.group.commands.values(), logs.logs]
    bare = [
        f"{command.name} {param.name}"
        for command in commands
        for param in command.params
        if isinstance(param, click.Argument)
        and param.name in ("environment", "base", "branch", "workload", "service")
        and param._custom_shell_complete is None
    ]
    assert bare == []
