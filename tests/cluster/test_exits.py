"""How the end of a process reads."""

from __future__ import annotations

import signal

import pytest

from lapdev.cluster.exits import (
    Exit,
    binary_size,
    describe_status,
    explained,
    last_words,
    ordinal,
)
from lapdev.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Exit(0), "exit code 0"),
        (Exit(0, said="all done"), "exit code 0"),
        (Exit(3), "exit code 3"),
        (Exit(3, said="no database"), "exit code 3: no database"),
        (Exit(-signal.SIGSEGV, said="hm"), "ended by SIGSEGV: hm"),
        (Exit(-9, "out of memory (limit 64 MiB)", "x"), "out of memory (limit 64 MiB)"),
        (Exit(127, said="lapdev: /app: not found on this machine"),
         "/app: not found on this machine"),
        (Exit(127, said="sh: 1: nope: not found"), "exit code 127: sh: 1: nope: not found"),
        (Exit(3, said="lapdev: hm"), "exit code 3: lapdev: hm"),
    ],
)  # fmt: skip
def test_an_exit_says_what_a_person_wants_to_know(given: Exit, text: str) -> None:
    assert str(given) == text


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (137, "exit code 137 (SIGKILL)"),
        (128, "exit code 128"),
        (255, "exit code 255"),
        (-64, "ended by SIGRTMAX"),
        (-40, "ended by signal 40"),
    ],
)
def test_signals_have_names_where_there_are_some(status: int, text: str) -> None:
    assert describe_status(status) == text


def test_what_we_had_to_end_did_not_do_its_work() -> None:
    assert Exit(0).ok
    assert not Exit(1).ok
    assert not Exit(0, "liveness probe failed").ok


def test_the_last_words_are_no_blank_line_and_no_novel() -> None:
    assert last_words(["one", " two ", "", "  "]) == "two"
    assert last_words([]) == last_words([""]) == ""
    assert len(last_words(["x" * 1000])) == 300


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("\x1b[31;1mError:\x1b[0m no database", "Error: no database"),
        ("\x1b]0;title\x07done", "done"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("a\tb\x00c\x07", "a b c"),
        ("caf\u00e9 \u2713", "caf\u00e9 \u2713"),
        ("\x1b[2J\x1b[H", ""),
    ],
)
def test_last_words_do_nothing_to_a_terminal(line: str, said: str) -> None:
    assert last_words([line]) == said


def test_an_error_is_told_with_its_remedy() -> None:
    assert explained(ConfigError("no ConfigMap app", hint="apply it")) == (
        "no ConfigMap app (apply it)"
    )
    assert explained(ConfigError("no ConfigMap app")) == "no ConfigMap app"


def test_numbers_read_well() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th",
    ]  # fmt: skip
    assert [binary_size(n) for n in (64 << 20, 1 << 30, 1536 << 20, 100, 3 << 10)] == [
        "64 MiB", "1 GiB", "1536 MiB", "100 bytes", "3 KiB",
    ]  # fmt: skip
