"""Variables, as the Compose specification has them."""

from __future__ import annotations

import pytest

from lapdev.cluster.compose.documents import read_document
from lapdev.cluster.compose.interpolation import Malformed, Unset, interpolate, substitute
from lapdev.errors import ConfigError

VARIABLES = {"A": "1", "EMPTY": "", "NESTED": "${A}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A", "1"),
        ("${A}", "1"),
        ("x$A-y", "x1-y"),
        ("${A}${A}", "11"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${NO:-d}", "d"),
        ("${NO-d}", "d"),
        ("${A:-d}", "1"),
        ("${A:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${NO+x}", ""),
        ("${A:?msg}", "1"),
        ("${EMPTY?msg}", ""),
        ("${NO:-${A}}", "1"),
        ("${NO:-${NO:-${NO-deep}}}", "deep"),
        ("${NO:-a}b}", "ab}"),
        ("${NO:-$$}", "$"),
        ("${NO:-http://x:80/?a=b}", "http://x:80/?a=b"),
        ('${NO:-{"a"}', '{"a"'),
        ("$$A $${A}", "$A ${A}"),
        ("$NESTED", "${A}"),
        ("plain", "plain"),
        ("${NO}", ""),
    ],
)
def test_variables_are_replaced(text: str, expected: str) -> None:
    assert substitute(text, VARIABLES.get, lambda _: None) == expected


@pytest.mark.parametrize(
    "text", ["$", "$1", "a$ b", "${}", "${1}", "${A", "${A!}", "${A:x}", "$(A)"]
)
def test_what_is_no_variable_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        substitute(text, VARIABLES.get, lambda _: None)


@pytest.mark.parametrize("text", ["${NO:?say $A}", "${NO?say $A}", "${EMPTY:?say $A}"])
def test_a_required_variable_says_its_message(text: str) -> None:
    with pytest.raises(Unset, match="is required: say 1"):
        substitute(text, VARIABLES.get, lambda _: None)


def test_defaults_nested_without_end_are_refused() -> None:
    with pytest.raises(Malformed, match="too deeply"):
        substitute("${NO:-" * 50 + "}" * 50, VARIABLES.get, lambda _: None)


def test_values_that_multiply_are_refused() -> None:
    with pytest.raises(Malformed, match="too long"):
        substitute("$A" * 20, {"A": "x" * 10_000}.get, lambda _: None)


def test_only_unset_variables_without_a_default_are_told() -> None:
    told: list[str] = []
    substitute("$NO ${NO2} ${NO3:-x} ${NO4+x} $EMPTY $A", VARIABLES.get, told.append)
    assert told == ["NO", "NO2"]


def test_texts_of_a_document_are_replaced_and_keys_are_not() -> None:
    document = read_document("$A: [$A, 5, {b: !override $A}]\n", "c.yaml")
    told: list[tuple[str, str]] = []
    found = interpolate(document, VARIABLES.get, lambda *note: told.append(note)).value
    assert found["$A"][:2] == ["1", 5]
    assert found["$A"][2]["b"].value == "1"
    assert told == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("services:\n  web:\n    image: $1", r"^c\.yaml:3: services\.web\.image: '\$1' is not"),
        ("services: {web: {image: '${NO?why}'}}", r"image: variable NO is required: why"),
    ],
)
def test_a_mistake_is_told_by_file_line_and_path(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        interpolate(read_document(text, "c.yaml"), VARIABLES.get, lambda *_: None)
    assert caught.value.hint


def test_an_unset_variable_is_told_with_its_place() -> None:
    told: list[tuple[str, str]] = []
    document = read_document("a:\n  - x${NO}\n", "c.yaml")
    assert interpolate(document, VARIABLES.get, lambda *n: told.append(n)).value == {"a": ["x"]}
    assert told == [("NO", "c.yaml:2: a[0]")]
