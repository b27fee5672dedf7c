"""What a setting's value may be: given as text, or as a TOML file has it.

Addresses are looked at only where they are set: a sidecar imports this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lapdev.errors import ConfigError


def _to_bool(value: Any) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError("allowed: true or false")


def _to_int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("allowed: a whole number")
    try:
        return int(value)
    except ValueError:
        raise ValueError("allowed: a whole number") from None


def _to_str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("allowed: text")
    if "\0" in value or "\n" in value:
        raise ValueError("allowed: one line of text")
    return value


CONVERTERS: dict[Any, Callable[[Any], Any]] = {bool: _to_bool, int: _to_int, str: _to_str}
"""By a setting's type. Each raises ValueError: what is allowed."""


def _check_address(text: str) -> str:
    """What is wrong with an address to listen on; empty when nothing is."""
    if not text:
        return ""
    if "://" in text:
        return "allowed: HOST:PORT, [IPv6]:PORT, unix:/PATH or fd:N"
    return _address_problem(text)


def _check_dial(text: str) -> str:
    """What is wrong with an address to connect to; empty when nothing is."""
    if "://" not in text and not text.startswith("unix:"):
        return "allowed: http://HOST:PORT, https://HOST:PORT or unix:/PATH"
    return _address_problem(text)


def _address_problem(text: str) -> str:
    from lapdev.net.address import parse_address

    try:
        parse_address(text)
    except ConfigError as exc:
        return exc.hint
    return ""


def _check_fd(number: int) -> str:
    return "" if number >= 0 else "allowed: the number of an inherited descriptor"


def _check_seconds(number: int) -> str:
    return "" if number >= 0 else "allowed: a whole number of seconds, or 0"


CHECKS: dict[str, Callable[[Any], str]] = {
    "address": _check_address,
    "dial": _check_dial,
    "fd": _check_fd,
    "seconds": _check_seconds,
}
"""By a setting's kind: what is wrong with the value; empty when nothing is."""
