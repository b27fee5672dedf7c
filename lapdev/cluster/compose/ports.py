"""The ports of a service: published ones, exposed ones, and those its image is said to have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from lapdev.cluster.compose.service import ComposeService, Port
from lapdev.cluster.compose.values import Value

# [address:][published:]target[/protocol]; an IPv6 address is in brackets.
_SHORT = re.compile(
    r"(?:(?:\[[^\]]*\]|[^:\[\]/]*):(?=[^:]*:))?"
    r"(?:(?P<published>[0-9]*(?:-[0-9]+)?):)?"
    r"(?P<target>[0-9]+(?:-[0-9]+)?)(?:/(?P<protocol>[A-Za-z]+))?"
)
_RANGE_LIMIT = 100
_LONG = ("target", "published", "protocol", "mode", "host_ip", "name", "app_protocol")
Note = Callable[[str], None]


def published_ports(ports: Value, note: Note) -> list[Port]:
    """TCP ports under `ports`; others are noted."""
    found = []
    for item in ports.items():
        if isinstance(item.value, dict):
            item.only(_LONG)
            target = item.child("target")
            numbers = _numbers(target, target.text())
            published = item.child("published").text("")
            protocol = item.child("protocol").text("tcp")
        else:
            match = _SHORT.fullmatch(item.text())
            if not match:
                item.fail(f"{item.text()!r} is not a port", "write it as 8080:80, or as 80")
            numbers = _numbers(item, match["target"])
            published, protocol = match["published"] or "", match["protocol"] or "tcp"
        if protocol.lower() != "tcp":
            note(f"{item.where}: port {numbers[0]}/{protocol} is reached inside only")
            continue
        opened = _published(item, published, len(numbers))
        pairs = zip(numbers, opened, strict=True)
        found += [Port(number, item, public, is_published=True) for number, public in pairs]
    return found


def exposed_ports(expose: Value) -> list[Port]:
    found = []
    for item in expose.items():
        number, _, protocol = item.text().partition("/")
        if protocol.lower() in ("", "tcp"):
            found += [Port(port, item) for port in _numbers(item, number)]
    return found


def _published(item: Value, text: str, count: int) -> list[int]:
    """Where Docker would open them; a range with one target means any of it."""
    if not text:
        return [0] * count
    numbers = _numbers(item, text) if text != "0" else [0]
    if len(numbers) == count:
        return numbers
    if count > 1:
        item.fail("has ranges of different lengths", "publish as many ports as the container has")
    return numbers[:1]


def _numbers(item: Value, text: str) -> list[int]:
    if not re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?", text):
        item.fail(f"{text!r} is not a port", "write a number from 1 to 65535")
    first, _, last = text.partition("-")
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= 65535:
        item.fail(f"{text} is not a port", "write a number from 1 to 65535")
    if high - low >= _RANGE_LIMIT:
        item.fail(f"{text} are more than {_RANGE_LIMIT} ports", "publish those that are used")
    return list(range(low, high + 1))


def distinct(ports: Iterable[Port]) -> tuple[Port, ...]:
    """Each number once; a published one wins over one that is not."""
    found: dict[int, Port] = {}
    for port in ports:
        known = found.get(port.number)
        if known is None or (port.is_published and not known.is_published):
            found[port.number] = port
    return tuple(found.values())


def refuse_clashes(services: Sequence[ComposeService]) -> None:
    """All containers share one localhost: no two may listen on one port."""
    owners: dict[int, tuple[ComposeService, Port]] = {}
    for service in services:
        for port in service.ports:
            other = owners.setdefault(port.number, (service, port))
            if other[0] is service:
                continue
            port.at.fail(
                f"services {other[0].name!r} and {service.name!r} both listen on port"
                f" {port.number}",
                "all containers of the pod share localhost: let one of them listen on another"
                f" port, and write that one under ports or expose ({other[1].at.where})",
            )
