"""The settings tables of docs/operating.md, made from `lapdev.settings`.

python -m tests.support.settings_table        rewrites them
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lapdev.settings import ROLES, Setting, settings_of
from tests.support.needs import PROJECT

DOCUMENT = PROJECT / "docs" / "operating.md"
_BLOCK = re.compile(r"(<!-- settings: (\w+) -->\n).*?(<!-- end of settings -->\n)", re.DOTALL)


def rendered(text: str) -> str:
    """The document with every settings block as it should be."""
    return _BLOCK.sub(lambda m: m[1] + table(ROLES[m[2]]) + m[3], text)


def table(cls: type[Any]) -> str:
    return "\n".join(_rows(cls)) + "\n"


def _rows(cls: type[Any]) -> Iterator[str]:
    yield "| flag | environment | default | what it is |"
    yield "|---|---|---|---|"
    for item in settings_of(cls):
        flag = f"`{item.flag}`" if item.flag else "none: a secret"
        yield f"| {flag} | `{item.variable}` | {_default(item)} | {_meaning(item)} |"


def _default(item: Setting) -> str:
    if item.default in ("", -1):
        return ""
    return f"`{str(item.default).lower() if item.type is bool else item.default}`"


def _meaning(item: Setting) -> str:
    allowed = f" ({', '.join(item.choices)})" if item.choices else ""
    unit = f" [{item.unit}]" if item.unit else ""
    return item.help + unit + allowed


if __name__ == "__main__":
    DOCUMENT.write_text(rendered(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
