"""Quantities, and what a container may use.

Kubernetes' quantity grammar: a signed decimal with a suffix of thousands (`m`, `k`, `M`…), of
1024s (`Ki`, `Mi`…) or a decimal exponent (`1e3`).
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from lapdev.cluster.manifests.container import ResourceField, Resources
from lapdev.cluster.manifests.node import Node

# A number of at most 32 digits: a quantity is at most 2**63, and a longer one costs time.
_QUANTITY = re.compile(
    r"(?P<number>\d{1,32}(\.\d{0,32})?|\.\d{1,32})"
    r"(?P<suffix>[numkMGTPE]|[KMGTPE]i|[eE][+-]?\d{1,2})?",
    re.ASCII,
)
_SUFFIXES = {
    "": Fraction(1),
    **{letter: Fraction(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Fraction(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
    **{letter: Fraction(1, 1000**power) for power, letter in enumerate("mun", 1)},
}
_LARGEST = Fraction(2**63 - 1)
# What Kubernetes takes as a divisor.
_DIVISORS = {
    "cpu": frozenset({"1m", "1"}),
    "memory": frozenset({"1"} | {f"1{s}" for s in (*"kMGTPE", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")}),
}
_FIELD = re.compile(r"(?P<which>limits|requests)\.(?P<what>cpu|memory)")


def quantity(node: Node) -> Fraction:
    """`100m`, `0.5`, `128Mi`, `1e3` or a plain number; not negative."""
    value = node.value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = repr(value) if abs(value) < 10**32 else "too large"
    elif not isinstance(value, str):
        node.wrong_type("a quantity (100m, 0.5, 128Mi)")
    match = _QUANTITY.fullmatch(value.strip().removeprefix("+"))
    if not match:
        node.fail(f"{value!r:.40} is not a quantity", "write one like 100m, 0.5, 128Mi or 1G")
    return min(_LARGEST, Fraction(match["number"]) * _factor(match["suffix"] or ""))


def _factor(suffix: str) -> Fraction:
    # "1E" is an exa, "1E3" an exponent.
    return (
        Fraction(10) ** int(suffix[1:]) if suffix[1:].strip("+-").isdigit() else _SUFFIXES[suffix]
    )


def parse_resources(node: Node) -> Resources:
    """Requests that are not written are the limits, as in Kubernetes."""
    limits, requests = node.child("limits"), node.child("requests")
    cpu_limit, memory_limit = _cpu(limits.child("cpu")), _memory(limits.child("memory"))
    cpu, memory = _cpu(requests.child("cpu")), _memory(requests.child("memory"))
    for name, asked, most in (("cpu", cpu, cpu_limit), ("memory", memory, memory_limit)):
        if asked is not None and most is not None and asked > most:
            requests.child(name).fail("is more than the limit", f"raise limits.{name}, or ask less")
    return Resources(
        cpu_limit=cpu_limit,
        memory_limit=memory_limit,
        cpu_request=cpu_limit if cpu is None else cpu,
        memory_request=memory_limit if memory is None else memory,
    )


def _cpu(node: Node) -> float | None:
    return float(quantity(node)) if node.present else None


def _memory(node: Node) -> int | None:
    return memory_bytes(node) if node.present else None


def memory_bytes(node: Node) -> int:
    """Whole bytes, rounded up."""
    size = quantity(node)
    if 0 < size < 1:
        node.fail("is less than a byte: m means thousandths", "write Mi for mebibytes: 128Mi")
    return math.ceil(size)


def parse_resource_field(node: Node) -> ResourceField:
    """A `resourceFieldRef`; whose container has to be looked up."""
    resource = node.child("resource").text()
    match = _FIELD.fullmatch(resource)
    if not match:
        node.child("resource").fail(
            f"{resource!r:.60} is not supported",
            "use limits.cpu, limits.memory, requests.cpu or requests.memory",
        )
    divisor = node.child("divisor")
    written = str(divisor.value) if isinstance(divisor.value, int) else divisor.text("1")
    if written not in _DIVISORS[match["what"]] | {"0"}:
        allowed = ", ".join(sorted(_DIVISORS[match["what"]]))
        divisor.fail(f"is {written!r:.40}", f"write one of: {allowed}")
    container = node.child("containerName").text("")
    return ResourceField(resource, container, "1" if written == "0" else written)


def resource_value(field: ResourceField, machine_cpu: float, machine_memory: int) -> str:
    """What the field says, in units of its divisor, rounded up.

    A limit that is not set is the machine's, a request 0.
    """
    of, unit = field.of or Resources(), _SUFFIXES[(field.divisor or "1").removeprefix("1")]
    amount: float | int | None = {
        "limits.cpu": machine_cpu if of.cpu_limit is None else of.cpu_limit,
        "limits.memory": machine_memory if of.memory_limit is None else of.memory_limit,
        "requests.cpu": of.cpu_request,
        "requests.memory": of.memory_request,
    }[field.resource]
    # Kubernetes counts CPU in thousandths.
    exact = Fraction(round((amount or 0) * 1000), 1000)
    return str(math.ceil(exact / unit))
