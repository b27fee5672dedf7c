"""The shape of a CronJob's schedule: five fields, or a name such as @hourly."""

from __future__ import annotations

import re

from lapdev.cluster.manifests.node import Node

_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_PART = re.compile(r"(?P<first>\*|\w+)(-(?P<last>\w+))?(/(?P<step>\d{1,4}))?", re.ASCII)
_HINT = "write five fields (minute, hour, day, month, day of the week) as in '*/5 * * * *'"


def parse_schedule(node: Node) -> str:
    """The schedule as five fields of numbers, names, ranges, lists and steps."""
    text = node.text()
    fields = _NAMED.get(text.strip(), text).upper().replace("?", "*").split()
    if len(fields) != len(_FIELDS):
        node.fail(f"{text!r:.80} is not a schedule", f"{_HINT}, or one of: {', '.join(_NAMED)}")
    for field, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if not _fits(part, low, high, words):
                node.fail(f"{part!r:.40} is no {name}", _HINT)
    return " ".join(fields)


def _fits(part: str, low: int, high: int, words: dict[str, int]) -> bool:
    match = _PART.fullmatch(part)
    if not match or (match["step"] is not None and int(match["step"]) == 0):
        return False
    if match["first"] == "*":
        return match["last"] is None
    first = _number(match["first"], words)
    last = first if match["last"] is None else _number(match["last"], words)
    return first is not None and last is not None and low <= first <= last <= high


def _number(text: str, words: dict[str, int]) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,2}", text) else words.get(text)
