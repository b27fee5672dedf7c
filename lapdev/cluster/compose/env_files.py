"""Files of variables, `.env` and `env_file`, as Compose reads them.

`NAME=value` or `NAME: value`, with or without `export`; `'…'` is literal; in `"…"` and without
quotes variables are replaced; both kinds of quotes may span lines. A name alone takes its value
from the environment.
"""

from __future__ import annotations

import re
from typing import NoReturn

from lapdev.cluster.compose.interpolation import Lookup, Malformed, Unset, substitute
from lapdev.errors import ConfigError

_ASSIGNMENT = re.compile(
    r"(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.\-\[\]]*)[ \t]*(?P<sign>[=:]?)[ \t]*"
)
_BLANK = re.compile(r"(?:\s+|#[^\n]*)*")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_DOUBLE_END = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "b": "\b", "a": "\a"}


def read_env_file(text: str, name: str, lookup: Lookup, *, raw: bool = False) -> dict[str, str]:
    """The variables of a file called `name`. `lookup` is the environment, which a variable's
    value may refer to, before the ones above it. With `raw` every value is taken as written.

    Raises:
        ConfigError: names file and line.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    return _raw(text) if raw else _EnvText(text, name, lookup).variables()


def _raw(text: str) -> dict[str, str]:
    lines = (
        line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")
    )
    pairs = (line.partition("=") for line in lines)
    return {name.strip(): value for name, sign, value in pairs if sign}


class _EnvText:
    def __init__(self, text: str, name: str, lookup: Lookup) -> None:
        self._text = text
        self._name = name
        self._lookup = lookup
        self._found: dict[str, str] = {}
        self._position = 0

    def variables(self) -> dict[str, str]:
        while self._skip_blank() < len(self._text):
            match = _ASSIGNMENT.match(self._text, self._position)
            if not match:
                self._fail("is no assignment")
            self._position = match.end()
            if match["sign"]:
                self._found[match["name"]] = self._value()
            elif self._line().strip():
                self._fail(f"{match['name']} is followed by something else than =")
            elif (inherited := self._lookup(match["name"])) is not None:
                self._found[match["name"]] = inherited
        return self._found

    def _skip_blank(self) -> int:
        match = _BLANK.match(self._text, self._position)
        assert match
        self._position = match.end()
        return self._position

    def _line(self) -> str:
        """The rest of the line, which is passed."""
        end = self._text.find("\n", self._position)
        end = len(self._text) if end < 0 else end
        line = self._text[self._position : end]
        self._position = end
        return line

    def _value(self) -> str:
        quote = self._text[self._position : self._position + 1]
        if quote == "'":
            end = self._text.find("'", self._position + 1)
            if end < 0:
                self._fail("a quote is not closed")
            return self._quoted(end)
        if quote == '"':
            match = _DOUBLE_END.match(self._text, self._position + 1)
            assert match
            if match.end() == len(self._text):
                self._fail("a quote is not closed")
            # An escaped dollar stays one: `$$` is what the substitution reads as such.
            inner = self._quoted(match.end())
            return self._substitute(_ESCAPE.sub(_unescape, inner))
        return self._substitute(_COMMENT.sub("", self._line()).strip())

    def _quoted(self, end: int) -> str:
        inner = self._text[self._position + 1 : end]
        self._position = end + 1
        rest = self._line().strip()
        if rest and not rest.startswith("#"):
            self._fail("there is text after the closing quote")
        return inner

    def _substitute(self, value: str) -> str:
        def known(name: str) -> str | None:
            outer = self._lookup(name)
            return self._found.get(name) if outer is None else outer

        try:
            return substitute(value, known, lambda _: None)
        except (Malformed, Unset) as exc:
            self._fail(str(exc))

    def _fail(self, problem: str) -> NoReturn:
        line = self._text.count("\n", 0, self._position) + 1
        raise ConfigError(
            f"{self._name}:{line}: {problem}", hint="write NAME=value; quote '$' with '…'"
        )


def _unescape(match: re.Match[str]) -> str:
    if match[1] == "$":
        return "$$"
    return _ESCAPED.get(match[1], match[1] if match[1] in '"\\' else match[0])
