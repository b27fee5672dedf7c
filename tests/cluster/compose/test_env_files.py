"""Files of variables, as Compose reads them."""

from __future__ import annotations

import pytest

from lapdev.cluster.compose.env_files import read_env_file
from lapdev.errors import ConfigError

ENVIRONMENT = {"HOME": "/home/you", "A": "outer"}


def read(text: str) -> dict[str, str]:
    return read_env_file(text, "x/.env", ENVIRONMENT.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("N=1", "1"),
        ("N = 1 ", "1"),
        ("export N=1", "1"),
        ("N: 1", "1"),
        ("N=", ""),
        ("N=a b # comment", "a b"),
        ("N=a#b", "a#b"),
        ("N=# comment", ""),
        ("N='a $B # c'", "a $B # c"),
        ("N='a' # comment", "a"),
        ('N="a b"', "a b"),
        (r'N="a\nb\t\"c\" \\ \$B \z"', 'a\nb\t"c" \\ $B \\z'),
        ("N='a\nb'\nM=1", "a\nb"),
        ('N="a\nb"', "a\nb"),
        ("N=$HOME/x", "/home/you/x"),
        ('N="${NO:-d}"', "d"),
        ("M=1\nN=${M}2", "12"),
        ("A=inner\nN=$A", "outer"),
        ("N=$$x", "$x"),
        ("\ufeffN=1\r\n", "1"),
        ("# first\n\n  N=1", "1"),
        ("N=a=b", "a=b"),
    ],
)
def test_a_value_is_what_compose_takes_it_for(text: str, expected: str) -> None:
    assert read(text)["N"] == expected


def test_a_name_alone_takes_its_value_from_the_environment() -> None:
    assert read("HOME\nNO\nB=1") == {"HOME": "/home/you", "B": "1"}


def test_raw_files_are_taken_as_they_are_written() -> None:
    text = "# c\nA='$B' # c\nB\n\nC=\"x\"\n"
    assert read_env_file(text, "x", ENVIRONMENT.get, raw=True) == {"A": "'$B' # c", "C": '"x"'}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A=1\n=2", r"^x/\.env:2: is no assignment"),
        ("N='a", "a quote is not closed"),
        ('N="a', "a quote is not closed"),
        ("N='a'b", "text after the closing quote"),
        ("N M", "followed by something else"),
        ("N=$1", "is not a variable"),
        ("N=${NO?why}", "NO is required: why"),
    ],
)
def test_a_mistake_is_told_by_file_and_line(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        read(text)
    assert caught.value.hint
