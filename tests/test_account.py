"""Where the server, the token and the device id come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lapdev.account import (
    Account,
    connected_environment,
    device_id,
    find_account,
    state_dir,
)
from lapdev.errors import ConfigError

URL = "http://127.0.0.1:1"


def client_file(folder: Path, server: str, token: str) -> Path:
    home = folder / "lapdev"
    home.mkdir(parents=True)
    (home / "token").write_text(token + "\n")
    (home / "client.json").write_text(
        json.dumps({"server": server, "token_file": str(home / "token")})
    )
    return home / "token"


def homes(tmp_path: Path) -> dict[str, str]:
    return {
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }


def test_the_client_file_alone_is_enough(tmp_path: Path) -> None:
    client_file(tmp_path / "data", URL, "from-data")
    assert find_account(None, None, homes(tmp_path)) == Account(URL, "from-data")


def test_the_users_configuration_wins_over_the_machines_own_server(tmp_path: Path) -> None:
    client_file(tmp_path / "data", URL, "from-data")
    client_file(tmp_path / "config", "https://lapdev.example", "from-config")
    found = find_account(None, None, homes(tmp_path))
    assert found == Account("https://lapdev.example", "from-config")


def test_the_environment_wins_over_the_client_file(tmp_path: Path) -> None:
    client_file(tmp_path / "data", URL, "from-data")
    environ = {**homes(tmp_path), "LAPDEV_SERVER": "http://other:1", "LAPDEV_TOKEN": "mine\n"}
    assert find_account(None, None, environ) == Account("http://other:1", "mine")


def test_flags_win_over_everything(tmp_path: Path) -> None:
    token_file = client_file(tmp_path / "data", URL, "from-file")
    environ = {**homes(tmp_path), "LAPDEV_SERVER": "http://x:1", "LAPDEV_TOKEN": "y"}
    assert find_account(URL, str(token_file), environ) == Account(URL, "from-file")


def test_a_token_file_of_the_environment_is_read(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("mine\n")
    environ = {**homes(tmp_path), "LAPDEV_SERVER": URL, "LAPDEV_TOKEN_FILE": str(path)}
    assert find_account(None, None, environ).token == "mine"


def test_the_client_files_token_is_not_given_to_another_server(tmp_path: Path) -> None:
    client_file(tmp_path / "data", URL, "from-data")
    with pytest.raises(ConfigError, match="no token is known for http://evil:1"):
        find_account("http://evil:1", None, homes(tmp_path))
    assert find_account(URL, None, homes(tmp_path)).token == "from-data"


def test_without_a_server_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no server is known") as caught:
        find_account(None, None, homes(tmp_path))
    assert "LAPDEV_SERVER" in caught.value.hint


@pytest.mark.parametrize("server", ["127.0.0.1:8080", "ftp://x", "unix:relative"])
def test_a_server_without_a_scheme_is_refused(tmp_path: Path, server: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        find_account(server, None, {**homes(tmp_path), "LAPDEV_TOKEN": "x"})


@pytest.mark.parametrize("token", ["", "two words", "line\nline", "\N{EURO SIGN}", "a\x07"])
def test_what_is_no_token_is_refused_and_not_shown(tmp_path: Path, token: str) -> None:
    path = tmp_path / "token"
    path.write_text(token)
    with pytest.raises(ConfigError, match=r"holds no token|not a text file") as caught:
        find_account(URL, str(path), homes(tmp_path))
    assert not token or token not in caught.value.detail


def test_a_token_is_not_in_an_accounts_repr() -> None:
    assert "s3cret" not in repr(Account(URL, "s3cret"))


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_a_broken_client_file_is_named(tmp_path: Path, content: str) -> None:
    home = tmp_path / "config" / "lapdev"
    home.mkdir(parents=True)
    (home / "client.json").write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"config/lapdev/client\.json"):
        find_account(None, None, homes(tmp_path))


def test_a_device_keeps_its_id(tmp_path: Path) -> None:
    first = device_id(state_dir(homes(tmp_path)))
    assert device_id(state_dir(homes(tmp_path))) == first
    assert len(first) == 16
    assert [p.name for p in (tmp_path / "state" / "lapdev").iterdir()] == ["device"]


def test_a_configured_state_directory_wins(tmp_path: Path) -> None:
    environ = {**homes(tmp_path), "LAPDEV_STATE_DIR": str(tmp_path / "mine")}
    assert state_dir(environ) == tmp_path / "mine"


def test_a_relative_xdg_directory_is_ignored() -> None:
    assert state_dir({"XDG_STATE_HOME": "relative"}) == Path.home() / ".local/state/lapdev"


def test_a_device_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "state" / "lapdev" / "device").mkdir(parents=True)
    with pytest.raises(ConfigError, match="state/lapdev/device"):
        device_id(state_dir(homes(tmp_path)))


@pytest.mark.parametrize("content", [None, "", "[]", "{}"])
def test_no_connection_is_no_environment(tmp_path: Path, content: str | None) -> None:
    home = tmp_path / "state" / "lapdev"
    home.mkdir(parents=True)
    if content is not None:
        (home / "devbox.json").write_text(content)
    assert connected_environment(homes(tmp_path)) == ""


def test_a_token_that_is_given_wins(tmp_path: Path) -> None:
    token_file = client_file(tmp_path / "data", URL, "from-file")
    found = find_account(URL, str(token_file), homes(tmp_path), "given")
    assert found == Account(URL, "given")
