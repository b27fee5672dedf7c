"""Healthchecks, a service's own or its Dockerfile's, and hooks."""

from __future__ import annotations

import shlex

from lapdev.cluster.compose.dockerfile import ImageHints
from lapdev.cluster.compose.documents import Path
from lapdev.cluster.compose.quantities import seconds
from lapdev.cluster.compose.service import Health
from lapdev.cluster.compose.values import Value

_KEYS = (*("test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"),)


def healthcheck(service: Value, hints: ImageHints) -> Health | None:
    """The service's healthcheck; None when it has none, or switches it off."""
    own = service.child("healthcheck")
    if own:
        own.only(_KEYS)
    if own.child("disable").boolean():
        return None
    inherited = _inherited(service, hints)
    test = own.child("test")
    command = _test(test or inherited.child("test"))
    if not command:
        return None

    def option(name: str) -> Value:
        return own.child(name) or inherited.child(name)

    return Health(
        command=command,
        interval=seconds(option("interval"), 0.0) or 30.0,
        timeout=seconds(option("timeout"), 0.0) or 30.0,
        retries=option("retries").integer(0, 1000, default=3) or 3,
        start_period=seconds(option("start_period"), 0.0),
        start_interval=seconds(option("start_interval"), 0.0),
    )


def _inherited(service: Value, hints: ImageHints) -> Value:
    path: Path = (*service.path, "build")
    test = list(hints.healthcheck)
    return Value({"test": test, **hints.health_options} if test else None, path, service.places)


def _test(test: Value) -> tuple[str, ...]:
    """The command's words; empty for NONE and for nothing."""
    if not test:
        return ()
    if not isinstance(test.value, list):
        text = test.text()
        return ("/bin/sh", "-c", text) if text else ()
    words = test.texts()
    if not words or words[0] == "NONE":
        return ()
    if words[0] == "CMD" and len(words) > 1:
        return words[1:]
    if words[0] == "CMD-SHELL" and len(words) == 2:
        return ("/bin/sh", "-c", words[1])
    test.fail("is no healthcheck", 'begin the list with "CMD", "CMD-SHELL" (one text) or "NONE"')


def hooks(service: Value) -> dict[str, tuple[str, ...]]:
    """`post_start` and `pre_stop`: each a list of commands, run one after the other."""
    found = {}
    for name, hook in (("post_start", "postStart"), ("pre_stop", "preStop")):
        lines = []
        for item in service.child(name).items():
            words = command_words(item.child("command"))
            if not words:
                item.fail("has no command", "write one")
            lines.append(words)
        if len(lines) == 1:
            found[hook] = lines[0]
        elif lines:
            joined = " && ".join(shlex.join(words) for words in lines)
            found[hook] = ("/bin/sh", "-c", joined)
    return found


def command_words(value: Value) -> tuple[str, ...]:
    """A command as words: a list, or text split as a shell would."""
    if not value:
        return ()
    if isinstance(value.value, list):
        return value.texts()
    try:
        return tuple(shlex.split(value.text()))
    except ValueError as exc:
        value.fail(f"{value.text()!r} cannot be split: {exc}", "close the quotes, or write a list")
