"""Where the server, the token and the device id come from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lapdev.account import (
    Account,
    connected_environment,
    data_dir,
    device_id,
    find_account,
    known_server,
    state_dir,
    supervisor_pid,
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


def data_file(folder: Path, token: str, pid: int = 0) -> int:
    """The client file of this machine's own server, which lives: the lock file's descriptor.

    `pid` is the process that the lock file names instead of this one, which has it open.
    """
    client_file(folder, URL, token)
    lock = os.open(folder / "lapdev" / "lock", os.O_RDWR | os.O_CREAT)
    os.write(lock, json.dumps({"pid": pid or os.getpid()}).encode())
    return lock


@pytest.fixture
def served(tmp_path: Path) -> Iterator[None]:
    """This machine has a server of its own, which takes the token `from-data`."""
    lock = data_file(tmp_path / "data", "from-data")
    yield
    os.close(lock)


def homes(tmp_path: Path) -> dict[str, str]:
    return {
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }


@pytest.mark.usefixtures("served")
def test_the_client_file_alone_is_enough(tmp_path: Path) -> None:
    assert find_account(None, None, homes(tmp_path)) == Account(URL, "from-data")


@pytest.mark.usefixtures("served")
def test_the_users_configuration_wins_over_the_machines_own_server(tmp_path: Path) -> None:
    client_file(tmp_path / "config", "https://lapdev.example", "from-config")
    found = find_account(None, None, homes(tmp_path))
    assert found == Account("https://lapdev.example", "from-config")


@pytest.mark.usefixtures("served")
def test_the_environment_wins_over_the_client_file(tmp_path: Path) -> None:
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


@pytest.mark.usefixtures("served")
def test_the_client_files_token_is_not_given_to_another_server(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no token is known for http://evil:1"):
        find_account("http://evil:1", None, homes(tmp_path))
    assert find_account(URL, None, homes(tmp_path)).token == "from-data"


def test_without_a_server_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no server is known") as caught:
        find_account(None, None, homes(tmp_path))
    assert "LAPDEV_SERVER" in caught.value.hint


def test_a_server_that_does_not_run_any_more_is_not_known(tmp_path: Path) -> None:
    os.close(data_file(tmp_path / "data", "from-data"))
    assert known_server(None, homes(tmp_path)) == ""
    with pytest.raises(ConfigError, match="lapdev does not run here any more") as caught:
        find_account(None, None, homes(tmp_path))
    assert "lapdev up" in caught.value.hint


def test_a_process_that_has_the_servers_old_number_is_not_the_server(tmp_path: Path) -> None:
    lock = data_file(tmp_path / "data", "from-data", pid=os.getppid())
    assert supervisor_pid(tmp_path / "data" / "lapdev") == 0
    os.close(lock)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"pid": "x"}', '{"pid": 999999999}'])
def test_without_a_holder_of_the_lock_nobody_serves(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "lock").write_text(content)
    assert supervisor_pid(tmp_path) == 0


@pytest.mark.usefixtures("served")
def test_the_process_that_has_the_lock_serves(tmp_path: Path) -> None:
    assert supervisor_pid(tmp_path / "data" / "lapdev") == os.getpid()
    assert known_server(None, homes(tmp_path)) == URL
    assert known_server("http://x:1", homes(tmp_path)) == "http://x:1"


@pytest.mark.usefixtures("served")
def test_a_data_directory_of_the_environment_is_looked_in(tmp_path: Path) -> None:
    environ = {"LAPDEV_DATA_DIR": str(tmp_path / "data" / "lapdev"), "HOME": str(tmp_path)}
    assert data_dir(environ) == tmp_path / "data" / "lapdev"
    assert find_account(None, None, environ).token == "from-data"


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


def test_the_data_directory_is_the_one_named_or_follows_xdg() -> None:
    home = Path.home() / ".local/share/lapdev"
    assert data_dir({}) == home
    assert data_dir({"XDG_DATA_HOME": "/x"}) == Path("/x/lapdev")
    assert data_dir({"XDG_DATA_HOME": "relative"}) == home
    assert data_dir({"XDG_DATA_HOME": "/x", "LAPDEV_DATA_DIR": "/y"}) == Path("/y")
