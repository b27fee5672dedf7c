"""Tables and options that all commands share."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from lapdev.client.clusters import group
from lapdev.client.invocation import print_table
from lapdev.errors import ConfigError
from tests.support.served_api import ServedApi


def test_columns_are_aligned_and_lines_have_no_trailing_space(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(["A", "LONG"], [["xxx", 1], ["", "y"]])
    assert capsys.readouterr().out == "A    LONG\nxxx  1\n     y\n"


def test_a_table_without_rows_is_its_heads(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["A", "B"], [])
    assert capsys.readouterr().out == "A  B\n"


async def test_flags_name_server_and_token_file(api: ServedApi) -> None:
    token_file = api.home / "token"
    token_file.write_text("wrong")
    good = await api.run(group, "list", "--server", api.server, LAPDEV_SERVER="http://127.0.0.1:1")
    assert good.exit_code == 0, good.exception
    bad = await api.run(group, "list", "--token-file", str(token_file))
    assert bad.exit_code == 1


def test_no_flag_takes_a_token_itself() -> None:
    result = CliRunner().invoke(group, ["list", "--token", "s3cret"])
    assert result.exit_code == 2


async def test_a_command_without_a_server_raises_for_the_command_line_to_tell(
    api: ServedApi,
) -> None:
    result = await api.run(group, "list", LAPDEV_SERVER="", XDG_DATA_HOME="/nonexistent")
    assert isinstance(result.exception, ConfigError)
