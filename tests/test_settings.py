from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lapdev.errors import ConfigError
from lapdev.settings import (
    ROLES,
    CloudSettings,
    EmbeddedSettings,
    ManagerSettings,
    SidecarSettings,
    home_dir,
    load,
    read_secret,
    settings_of,
)
from tests.support.settings_table import DOCUMENT, rendered


def toml(tmp_path: Path, text: str) -> str:
    path = tmp_path / "lapdev.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_defaults_are_loopback_and_complete() -> None:
    assert load(CloudSettings, {}, {}).listen == "127.0.0.1:8080"
    for cls in ROLES.values():
        assert load(cls, {}, {}) == cls()


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = toml(tmp_path, '[cloud]\ndomain = "file"\ncluster_name = "file"\nlog_level = "error"\n')
    environ = {"LAPDEV_DOMAIN": "environ", "LAPDEV_CLUSTER_NAME": "environ"}
    settings = load(CloudSettings, {"domain": "flag", "listen": None}, environ, path)
    assert settings.domain == "flag"
    assert settings.cluster_name == "environ"
    assert settings.log_level == "error"
    assert settings.listen == "127.0.0.1:8080"


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    path = toml(tmp_path, "[manager]\nisolation = false\n")
    assert load(ManagerSettings, {}, {"LAPDEV_CONFIG": path}).isolation is False


@pytest.mark.parametrize(
    ("cls", "name", "value", "converted"),
    [
        (ManagerSettings, "isolation", "false", False),
        (ManagerSettings, "isolation", "1", True),
        (SidecarSettings, "launch_fd", "7", 7),
        (CloudSettings, "listen", "[::1]:80", "[::1]:80"),
        (CloudSettings, "listen", "fd:3", "fd:3"),
        (CloudSettings, "admin", "unix:/run/x.sock", "unix:/run/x.sock"),
        (CloudSettings, "admin", "", ""),
        (ManagerSettings, "cloud", "unix:/run/cloud.sock", "unix:/run/cloud.sock"),
        (ManagerSettings, "cloud", "https://lapdev.example", "https://lapdev.example"),
        (CloudSettings, "data_dir", "/var/lib/lapdev", "/var/lib/lapdev"),
        (CloudSettings, "data_dir", "~/x", str(Path.home() / "x")),
    ],
)
def test_values_are_converted(cls: type[Any], name: str, value: str, converted: Any) -> None:
    assert getattr(load(cls, {name: value}, {}), name) == converted
    assert getattr(load(cls, {}, {"LAPDEV_" + name.upper(): value}), name) == converted


@pytest.mark.parametrize(
    ("cls", "name", "value", "allowed"),
    [
        (ManagerSettings, "isolation", "maybe", "true or false"),
        (SidecarSettings, "launch_fd", "three", "a whole number"),
        (SidecarSettings, "launch_fd", "-4", "inherited descriptor"),
        (CloudSettings, "log_level", "loud", "debug, info, warning, error"),
        (CloudSettings, "listen", "8080", "HOST:PORT"),
        (CloudSettings, "listen", "127.0.0.1:99999", "HOST:PORT"),
        (CloudSettings, "listen", "http://127.0.0.1:80", "HOST:PORT"),
        (CloudSettings, "listen", "unix:relative", "runtime directory"),
        (CloudSettings, "listen", "unix:/" + "x" * 107, "runtime directory"),
        (ManagerSettings, "cloud", "127.0.0.1:80", "http://HOST:PORT"),
        (ManagerSettings, "cloud", "ftp://x:1", "http(s)://HOST:PORT"),
        (CloudSettings, "domain", "a\nb", "one line"),
        (CloudSettings, "answer_timeout", "-1", "whole number of seconds"),
    ],
)
def test_a_bad_value_names_setting_source_and_what_is_allowed(
    cls: type[Any], name: str, value: str, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(cls, {name: value}, {})
    assert f"setting {name}:" in caught.value.detail
    assert f"from --{name.replace('_', '-')}" in caught.value.detail
    assert allowed in caught.value.hint
    with pytest.raises(ConfigError, match=f"LAPDEV_{name.upper()}"):
        load(cls, {}, {"LAPDEV_" + name.upper(): value})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[cloud]\nlisen = 'x'\n", "unknown setting 'lisen' in [cloud]"),
        ("[manager]\nlisten = 'x'\n", "unknown setting 'listen' in [manager]"),
        ("[clod]\n", "unknown table 'clod'"),
        ("listen = 'x'\n", "unknown table 'listen'"),
        ("[cloud\n", "is not TOML"),
        ("[cloud]\ndomain = 7\n", "setting domain: bad value '7' from domain in"),
        ("[cloud]\nready_fd = true\n", "setting ready_fd"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(tmp_path: Path, text: str, problem: str) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(CloudSettings, {}, {}, path)
    assert problem in caught.value.detail
    assert path in caught.value.detail


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(CloudSettings, {}, {}, str(tmp_path / "none.toml"))


def test_an_unknown_flag_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'socks'"):
        load(CloudSettings, {"socks": "x"}, {})


# Secrets


def test_a_secret_is_never_a_flag() -> None:
    secrets = [item for cls in ROLES.values() for item in settings_of(cls) if item.kind == "secret"]
    assert {item.name for item in secrets} == {"token", "database"}
    assert all(item.flag == "" for item in secrets)
    with pytest.raises(ConfigError, match="cannot be a flag"):
        load(ManagerSettings, {"token": "s3cr3t"}, {})


def test_a_secret_is_not_shown_by_repr_or_errors() -> None:
    settings = load(ManagerSettings, {}, {"LAPDEV_TOKEN": "s3cr3t"})
    assert settings.token == "s3cr3t"
    assert "s3cr3t" not in repr(settings)
    with pytest.raises(ConfigError) as caught:
        load(ManagerSettings, {}, {"LAPDEV_TOKEN": "s3cr3t\nx"})
    assert "s3cr3t" not in str(caught.value) + caught.value.hint


def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(" abc\n", encoding="ascii")
    assert read_secret(ManagerSettings(token_file=str(path)), "token") == "abc"
    assert read_secret(ManagerSettings(token_file=str(path), token="own"), "token") == "own"


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file"), (b"", "is empty"), (b"\xff\xfe", "not a text file")],
)
def test_an_unusable_secret_file_is_an_error(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_secret(ManagerSettings(token_file=str(path)), "token")
    assert problem in caught.value.detail
    assert "--token-file" in caught.value.hint


def test_a_secret_that_is_nowhere_is_an_error() -> None:
    with pytest.raises(ConfigError, match="token is not set"):
        read_secret(ManagerSettings(), "token")


# One table drives everything


def test_every_setting_is_documented_in_operating_md() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.count("<!-- settings: ") == len(ROLES)
    assert rendered(text) == text, "run: python -m tests.support.settings_table"


def test_every_setting_has_a_help_text_and_a_known_kind() -> None:
    kinds = {"text", "address", "dial", "path", "fd", "seconds", "secret", "flag"}
    for cls in ROLES.values():
        for item in settings_of(cls):
            assert item.help, item.name
            assert item.kind in kinds
            assert (item.kind == "flag") == (item.type is bool)
            assert (item.kind == "fd") == (item.type is int and item.default == -1)


def test_a_setting_that_two_roles_share_means_the_same() -> None:
    """One environment variable must not be read in two ways."""
    types: dict[str, type[Any]] = {}
    for cls in ROLES.values():
        for item in settings_of(cls):
            assert types.setdefault(item.name, item.type) is item.type


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        EmbeddedSettings().listen = "x"  # type: ignore[misc]


def test_importing_settings_imports_no_command_line_library() -> None:
    code = "import sys, lapdev.settings; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"click", "pydantic", "tomllib", "asyncio", "structlog"} & set(done.stdout.split())


def test_a_user_without_a_home_directory_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    with pytest.raises(ConfigError, match="no home directory is known"):
        home_dir()
    with pytest.raises(ConfigError, match="data_dir: ~/x from --data-dir names no home"):
        load(EmbeddedSettings, {"data_dir": "~/x"}, {})
