"""`x-lapdev` of a service: what Compose itself has no words for."""

from __future__ import annotations

import re

from lapdev.cluster.compose.health import command_words
from lapdev.cluster.compose.keys import EXTENSION
from lapdev.cluster.compose.service import Extension
from lapdev.cluster.compose.values import Value

_PATH = re.compile(r"/[A-Za-z0-9\-._~%!&',;=:@/]*")


def read_extension(value: Value) -> Extension:
    """What the extension says, checked; nothing at all where there is none."""
    if not value:
        return Extension(value)
    value.only(EXTENSION)
    for name, _ in value.members():
        if name.startswith("x-"):
            value.child(name).fail("there is no such key", f"known: {', '.join(EXTENSION)}")
    command = value.child("command")
    words = command_words(command)
    if command and not words:
        command.fail("is empty", "write what to run on this machine, or leave it out")
    http = value.child("http")
    if http.value is True:
        http.fail("is true, not a port", "write the port the service listens on, or false")
    tcp = value.child("tcp")
    ports = tcp.items() if isinstance(tcp.value, list) else [tcp] if tcp else []
    return Extension(
        at=value,
        command=words,
        one_time=value.child("one-time").boolean(),
        http=0 if http.value is False else http.integer(1, 65535) if http else None,
        tcp=tuple(port.integer(1, 65535) for port in ports),
        path=url_path(value.child("path")) if value.child("path") else "",
        host=value.child("host").label() if value.child("host") else "",
    )


def url_path(value: Value) -> str:
    """A prefix of whole segments."""
    path = value.text("/")
    if not _PATH.fullmatch(path):
        value.fail(f"{path!r} is not a path", "write it as /api; patterns are not supported")
    return path.rstrip("/") or "/"
