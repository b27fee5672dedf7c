"""Healthchecks, commands and hooks."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.compose.dockerfile import ImageHints
from lapdev.cluster.compose.health import command_words, healthcheck, hooks
from lapdev.cluster.compose.service import Health
from lapdev.cluster.compose.values import Value
from lapdev.errors import ConfigError

SH = ("/bin/sh", "-c")


def at(value: Any) -> Value:
    return Value(value, ("services", "web"), {})


def check(value: Any, hints: ImageHints | None = None) -> Health | None:
    return healthcheck(at({"healthcheck": value}), hints or ImageHints())


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("curl x || exit 1", (*SH, "curl x || exit 1")),
        (["CMD-SHELL", "curl x"], (*SH, "curl x")),
        (["CMD", "curl", "x"], ("curl", "x")),
    ],
)
def test_a_check_is_a_command(test: Any, words: tuple[str, ...]) -> None:
    found = check({"test": test})
    assert found
    assert found.command == words


@pytest.mark.parametrize(
    "value", [None, {}, {"test": "NONE", "disable": True}, {"test": ["NONE"]}, {"test": []}]
)
def test_no_check_at_all(value: Any) -> None:
    assert check(value) is None


def test_durations_are_seconds_and_have_composes_defaults() -> None:
    found = check({"test": "x"})
    assert found == Health((*SH, "x"), 30, 30, 3, 0, 0)
    found = check(
        {"test": "x", "interval": "1m30s", "timeout": "10s", "retries": "5"}
        | {"start_period": "40s", "start_interval": "500ms"}
    )
    assert found == Health((*SH, "x"), 90, 10, 5, 40, 0.5)


def test_the_dockerfiles_check_counts_where_the_service_has_none() -> None:
    hints = ImageHints(healthcheck=("CMD", "ok"), health_options={"interval": "5s"})
    assert check(None, hints) == Health(("ok",), interval=5)
    assert check({"retries": 9}, hints) == Health(("ok",), interval=5, retries=9)
    assert check({"disable": True}, hints) is None
    assert check({"test": "own"}, hints) == Health((*SH, "own"), interval=5)


@pytest.mark.parametrize(
    "value",
    [
        {"test": ["curl", "x"]},
        {"test": ["CMD-SHELL", "a", "b"]},
        {"test": ["CMD"]},
        {"test": {}},
        {"test": "x", "interval": "5"},
        {"tset": "x"},
        {"test": "x", "retries": "many"},
        [],
    ],
)
def test_what_is_no_check_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        check(value)
    assert caught.value.hint


def test_commands_are_split_as_a_shell_would() -> None:
    assert command_words(at("a 'b c' d")) == ("a", "b c", "d")
    assert command_words(at(["a", 1])) == ("a", "1")
    assert command_words(at(None)) == ()
    with pytest.raises(ConfigError, match="cannot be split"):
        command_words(at("a 'b"))


def test_hooks_run_one_after_the_other() -> None:
    found = hooks(
        at(
            {
                "post_start": [{"command": "a"}, {"command": ["b", "c d"]}],
                "pre_stop": [{"command": "x"}],
            }
        )
    )
    assert found == {"postStart": (*SH, "a && b 'c d'"), "preStop": ("x",)}
    with pytest.raises(ConfigError, match="has no command"):
        hooks(at({"pre_stop": [{}]}))
