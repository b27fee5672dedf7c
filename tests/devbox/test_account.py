from __future__ import annotations

import json
from pathlib import Path

import pytest

from lapdev.devbox.account import Account, client_file_paths, find_account
from lapdev.errors import ConfigError
from lapdev.settings import DevboxSettings


def environ(tmp_path: Path, **client: str) -> dict[str, str]:
    """The environment of a user with that client file."""
    folder = tmp_path / "lapdev"
    folder.mkdir()
    if client:
        (folder / "client.json").write_text(json.dumps(client))
    return {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "none")}


def test_settings_come_first(tmp_path: Path) -> None:
    settings = DevboxSettings(server="http://a", token="t")
    known = environ(tmp_path, server="http://b", token_file="/nowhere")
    assert find_account(settings, known) == Account("http://a", "t")


def test_the_client_file_fills_in_what_is_not_set(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    known = environ(tmp_path, server="http://b", token_file=str(tmp_path / "token"))
    assert find_account(DevboxSettings(), known) == Account("http://b", "secret")


def test_without_a_server_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_account(DevboxSettings(), environ(tmp_path))
    assert "LAPDEV_SERVER" in caught.value.hint


def test_without_a_token_the_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="token is not set"):
        find_account(DevboxSettings(), environ(tmp_path, server="http://b"))


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_a_broken_client_file_is_named(tmp_path: Path, text: str) -> None:
    known = environ(tmp_path)
    client_file_paths(known)[1].write_text(text)
    with pytest.raises(ConfigError, match=r"client\.json"):
        find_account(DevboxSettings(), known)


def test_the_configured_client_file_wins_over_the_data_directorys(tmp_path: Path) -> None:
    known = environ(tmp_path, server="http://b", token_file="/nowhere")
    (tmp_path / "token").write_text("mine\n")
    configured = client_file_paths(known)[0]
    configured.parent.mkdir(parents=True)
    configured.write_text(json.dumps({"server": "http://c", "token_file": str(tmp_path / "token")}))
    assert find_account(DevboxSettings(), known) == Account("http://c", "mine")


def test_the_client_files_token_is_not_sent_to_another_server(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    known = environ(tmp_path, server="http://b", token_file=str(tmp_path / "token"))
    with pytest.raises(ConfigError, match="token is not set"):
        find_account(DevboxSettings(server="http://elsewhere"), known)


def test_a_relative_xdg_directory_is_ignored() -> None:
    expected = Path.home() / ".local" / "share" / "lapdev" / "client.json"
    assert client_file_paths({"XDG_DATA_HOME": "relative"})[1] == expected


def test_the_token_is_not_in_the_accounts_text() -> None:
    assert "secret" not in repr(Account("http://b", "secret"))
