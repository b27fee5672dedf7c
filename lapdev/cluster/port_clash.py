"""A container that could not have its port: who has it, or what forbids it. Pure.

Containers of a pod share localhost; that two want one port shows only when both run, where the
ports are not declared. Without isolation all pods share the machine's ports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

# As C libraries, Node, Go, Java, Windows-minded runtimes and servers of their own words say it.
_CLASH = re.compile(
    r"EADDRINUSE|address (?:is )?already in use|address in use|only one usage of each socket"
    r"|errno[: ]*98\b|port \S* ?is already (?:in use|allocated)|port already in use"
    r"|failed to bind.*in use|already listening on|connection in use|addrinuse"
    r"|is port \d+ in use|specified port is already|in use by another",
    re.IGNORECASE,
)
_REFUSED = re.compile(r"EACCES|permission denied|errno[: ]*13\b|access denied", re.IGNORECASE)
FIRST_FREE = 1024
"""Ports below are for root, where a pod has no network of its own."""
_NUMBER = re.compile(r"(?<![\w.])(?:[\w.*\]]*:)?(\d{1,5})(?![\w.]\w)")
LINES = 40
"""So many of the last lines are looked at: a traceback may follow the one that says it."""


def clash_lines(lines: Sequence[str]) -> list[str]:
    """The lines that speak of a taken port, and those after them; empty when none does."""
    recent = list(lines)[-LINES:]
    first = next((index for index, line in enumerate(recent) if _CLASH.search(line)), None)
    return [] if first is None else recent[first:]


def explain_clash(
    lines: Sequence[str],
    held: Mapping[str, frozenset[int]],
    declared: Sequence[int] = (),
    strange: Mapping[str, frozenset[int]] = MappingProxyType({}),
) -> str:
    """Why the container whose last lines these are could not have its port; empty: not for that.

    `held`: the ports that each other process of the pod listens on, by name ("container web").
    `declared`: the ports the container says it listens on. `strange`: as `held`, of what is not
    in the pod.
    """
    said = clash_lines(lines)
    if not said:
        return ""
    owners = {port: name for name, ports in held.items() for port in ports}
    # An error text is full of numbers; those that somebody holds tell.
    named = [port for line in said for port in _numbers(line)]
    wanted = [port for port in (*named, *declared) if port in owners]
    others = {port: name for name, ports in strange.items() for port in ports}
    if not wanted and (elsewhere := [port for port in (*declared, *named) if port in others]):
        port = elsewhere[0]
        return (
            f"port {port} is taken by {others[port]} (without isolation pods share the machine's"
            f" ports): listen on $POD_IP:{port}, or run with isolation"
        )
    if not wanted and len(owners) == 1:
        wanted = list(owners)
    if wanted:
        port = wanted[0]
        return (
            f"port {port} is taken by {owners[port]} of the same pod (containers share localhost)"
        )
    if not owners:
        return ""
    listed = ", ".join(
        f"{name} holds {', '.join(str(port) for port in sorted(ports))}"
        for name, ports in sorted(held.items())
        if ports
    )
    return f"a port it wants is taken (containers share localhost): {listed}"


def explain_refusal(lines: Sequence[str], declared: Sequence[int]) -> str:
    """Why the container without isolation could not have a low port; empty: not for that."""
    low = [port for port in declared if port < FIRST_FREE]
    if not low or not any(_REFUSED.search(line) for line in list(lines)[-LINES:]):
        return ""
    return (
        f"it may not listen on port {low[0]}: without isolation ports below {FIRST_FREE} need"
        f" `sysctl -w net.ipv4.ip_unprivileged_port_start={low[0]}`, or let it listen elsewhere"
    )


def _numbers(line: str) -> list[int]:
    return [int(match[1]) for match in _NUMBER.finditer(line)]
