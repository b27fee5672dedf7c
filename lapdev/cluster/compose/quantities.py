"""Durations, sizes and shares of CPU as Compose writes them."""

from __future__ import annotations

import math
import re

from lapdev.cluster.compose.values import Value

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:us|ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|h|d)")
_SIZE = re.compile(
    r"([0-9]+(?:\.[0-9]+)?)\s*(b|k|kb|kib|m|mb|mib|g|gb|gib|t|tb|tib)?", re.IGNORECASE
)
_BYTES = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_LONGEST = 31_536_000.0


def seconds(value: Value, default: float) -> float:
    """`1m30s` in seconds."""
    if not value:
        return default
    text = value.text()
    if text in ("0", ""):
        return 0.0
    if not _DURATION.fullmatch(text):
        value.fail(f"{text!r} is not a duration", "write it as 30s or 1m30s")
    total = sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(text))
    if total > _LONGEST:
        value.fail(f"{text} is longer than a year", "write a shorter one")
    return total


def whole_seconds(number: float) -> int:
    """At least that long, and at least 1 s: what a manifest can say."""
    return max(1, math.ceil(number))


def size(value: Value) -> int | None:
    """`512m` in bytes; units are powers of 1024."""
    if not value:
        return None
    match = _SIZE.fullmatch(value.text().strip())
    if not match:
        value.fail(f"{value.text()!r} is not a size", "write it as 512m or 1g")
    unit = (match[2] or "")[:1].lower()
    found = float(match[1]) * _BYTES[unit]
    if found >= 2**63:
        value.fail(f"{value.text()} is too large", "write a smaller one")
    return int(found)


def cores(value: Value) -> str:
    """`0.5` as a Kubernetes quantity, `500m`; empty for nothing and for 0 (no limit)."""
    if not value:
        return ""
    text = value.text()
    if not re.fullmatch(r"[0-9]{1,6}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}", text):
        value.fail(f"{text!r} is not a number of CPUs", "write it as 0.5")
    thousandths = math.ceil(float(text) * 1000)
    return f"{thousandths}m" if thousandths else ""
