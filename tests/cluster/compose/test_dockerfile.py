"""What a Dockerfile says about running its image."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lapdev.cluster.compose.dockerfile import ImageHints, image_hints


def test_exec_and_shell_forms_are_words() -> None:
    found = image_hints('FROM a\nENTRYPOINT ["./run", "--x"]\nCMD ["serve"]')
    assert (found.entrypoint, found.command) == (("./run", "--x"), ("serve",))
    found = image_hints("FROM a\nCMD serve $PORT && true")
    assert found.command == ("/bin/sh", "-c", "serve $PORT && true")
    assert image_hints("FROM a\nCMD [serve]").command == ("/bin/sh", "-c", "[serve]")
    assert image_hints("FROM a\nENTRYPOINT serve").shell_entrypoint


def test_the_last_stage_counts_or_the_one_that_is_named() -> None:
    text = "FROM a AS one\nCMD one\nFROM b AS two\nCMD two\n"
    assert image_hints(text).command[-1] == "two"
    assert image_hints(text, "ONE").command[-1] == "one"
    assert image_hints(text, "three") == ImageHints()


def test_a_stage_has_what_the_stage_before_it_had() -> None:
    text = """
    FROM a AS base
    ENV A=1
    WORKDIR /app
    CMD base
    FROM --platform=linux/amd64 base
    WORKDIR sub
    ENV B=$A
    """
    found = image_hints(text)
    assert found.env == {"A": "1", "B": "1"}
    assert found.working_dir == "/app/sub"
    assert found.command[-1] == "base"
    assert image_hints(text + "\n    ENTRYPOINT x").command == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ENV A=1 B=2", {"A": "1", "B": "2"}),
        ("ENV A one two", {"A": "one two"}),
        ('ENV A="one two" B=x\\ y', {"A": "one two", "B": "x y"}),
        ("ENV A=${NO:-d} B=${VERSION:+v}", {"A": "d", "B": "v"}),
        ("ENV A=$VERSION", {"A": "3"}),
        (r"ENV A=\$x", {"A": "$x"}),
        ("ENV A='open", {"A": "'open"}),
        ("ENV", {}),
    ],
)
def test_variables(line: str, expected: dict[str, str]) -> None:
    assert image_hints(f"FROM a\nARG VERSION=2\n{line}", args={"VERSION": "3"}).env == expected


def test_arguments_before_the_first_stage_name_bases() -> None:
    text = "ARG BASE=one\nFROM a AS one\nCMD one\nFROM a AS two\nCMD two\nFROM $BASE AS three\n"
    assert image_hints(text).command[-1] == "one"
    assert image_hints(text, args={"BASE": "two"}).command[-1] == "two"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("EXPOSE 80 443/tcp 53/udp", (80, 443)),
        ("EXPOSE 3000-3002", (3000, 3001, 3002)),
        ("EXPOSE $PORT", (8000,)),
        ("EXPOSE nothing 0 99999 5-1", ()),
    ],
)
def test_ports(line: str, expected: tuple[int, ...]) -> None:
    assert image_hints(f"FROM a\nENV PORT=8000\n{line}").ports == expected


@pytest.mark.parametrize(
    ("line", "test", "options"),
    [
        ("HEALTHCHECK CMD curl -f x", ("CMD-SHELL", "curl -f x"), {}),
        ('HEALTHCHECK CMD ["a", "b"]', ("CMD", "a", "b"), {}),
        ("HEALTHCHECK NONE", ("NONE",), {}),
        (
            "HEALTHCHECK --interval=5s --start-period=1m CMD x",
            ("CMD-SHELL", "x"),
            {"interval": "5s", "start_period": "1m"},
        ),
    ],
)
def test_healthchecks(line: str, test: tuple[str, ...], options: dict[str, str]) -> None:
    found = image_hints(f"FROM a\n{line}")
    assert (found.healthcheck, found.health_options) == (test, options)


def test_comments_continuations_and_here_documents() -> None:
    text = """\
# syntax=docker/dockerfile:1
FROM a
RUN <<EOF
CMD not this
EOF
RUN x && \\
    # a comment between
    y
cmd this
"""
    assert image_hints(text).command[-1] == "this"
    assert image_hints("# escape=`\nFROM a\nCMD a `\n  b\n").command[-1].split() == ["a", "b"]


@settings(deadline=None)
@given(st.text(alphabet="FROM aCMDENV=$\\\n\"'[]{}<EOF:-/0", max_size=100))
def test_any_text_says_something_or_nothing(text: str) -> None:
    assert isinstance(image_hints(f"FROM a\n{text}"), ImageHints)
