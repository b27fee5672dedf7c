"""Whose port a container wanted."""

from __future__ import annotations

import pytest

from lapdev.cluster.port_clash import LINES, clash_lines, explain_clash, explain_refusal

HELD = {"container web": frozenset({8080, 9229}), "container cache": frozenset({6379})}
STRANGE = {"container web of pod api-x": frozenset({8080}), "another program": frozenset({98})}
TAKEN = "port {} is taken by container {} of the same pod (containers share localhost)"


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ("Error: listen EADDRINUSE: address already in use :::8080", 8080),
        ("2024/01/02 15:04:05 listen tcp :8080: bind: address already in use", 8080),
        ("listen tcp4 0.0.0.0:8080: bind: address already in use", 8080),
        ("nginx: [emerg] bind() to 0.0.0.0:8080 failed (98: Address already in use)", 8080),
        ("nginx: [emerg] bind() to [::]:8080 failed (98: Address already in use)", 8080),
        ("Warning: Could not create server TCP listening socket *:6379: bind: Address already"
         " in use", 6379),
        ("[ERROR] Connection in use: ('0.0.0.0', 8080): address already in use", 8080),
        ("OSError: [Errno 98] error while attempting to bind on address ('127.0.0.1', 8080):"
         " address already in use", 8080),
        ("Web server failed to start. Port 8080 was already in use. Address already in use", 8080),
        ("Address already in use - bind(2) for \"127.0.0.1\" port 8080 (Errno::EADDRINUSE)", 8080),
        ("Error: That port is already in use. (8080)", 8080),
        ("System.IO.IOException: Failed to bind to address http://127.0.0.1:8080: address already"
         " in use.", 8080),
        ("[2024-01-02 15:04:05 +0000] [7] [ERROR] Connection in use: ('0.0.0.0', 8080)", 8080),
        ("error: Failed to start server. Is port 8080 in use?", 8080),
        ("Port 8080 is in use by another program. Either identify and stop that program", 8080),
        ("** (EXIT) an error: :eaddrinuse http://localhost:8080", 8080),
        ("(98)Address already in use: AH00072: make_sock: could not bind to address [::]:8080",
         8080),
        ("\x1b[31mError: Port 8080 is already in use\x1b[39m", 8080),
        ("Only one usage of each socket address is normally permitted: 8080", 8080),
        ('Os { code: 98, kind: AddrInUse, message: "Address already in use" } 0.0.0.0:8080', 8080),
    ],
)  # fmt: skip
def test_the_port_is_the_number_that_somebody_holds(line: str, port: int) -> None:
    owner = {8080: "web", 6379: "cache"}[port]
    lines = ["starting 6379 workers", line, "Aborted"]
    assert explain_clash(lines, HELD) == TAKEN.format(port, owner)


def test_the_number_may_come_after_the_line_that_says_it() -> None:
    node = ["throw er;", "Error: listen EADDRINUSE", "  errno: -98,", "  port: 8080", "}"]
    assert explain_clash(node, HELD) == TAKEN.format(8080, "web")


def test_without_a_number_the_declared_ports_tell() -> None:
    lines = ["Traceback", "OSError: [Errno 98] Address already in use"]
    assert explain_clash(lines, HELD, declared=(80, 6379)) == TAKEN.format(6379, "cache")


def test_without_a_number_the_only_port_it_can_be_is_named() -> None:
    lines = ["OSError: [Errno 98] Address already in use"]
    held = {"container web": frozenset({8080}), "container cache": frozenset[int]()}
    assert explain_clash(lines, held) == TAKEN.format(8080, "web")


def test_where_it_cannot_be_told_all_that_are_held_are_listed() -> None:
    lines = ["OSError: [Errno 98] Address already in use"]
    assert explain_clash(lines, HELD) == (
        "a port it wants is taken (containers share localhost):"
        " container cache holds 6379, container web holds 8080, 9229"
    )


@pytest.mark.parametrize(
    ("lines", "held"),
    [
        ([], HELD),
        (["no database on port 8080"], HELD),
        (["Connection refused: 127.0.0.1:6379"], HELD),
        (["address already in use"] + ["more"] * LINES, HELD),
        (["address already in use :8080"], {}),
    ],
)
def test_other_failures_and_ports_of_nobody_here_are_none_of_it(
    lines: list[str], held: dict[str, frozenset[int]]
) -> None:
    assert explain_clash(lines, held) == ""


def test_only_recent_lines_are_looked_at() -> None:
    assert clash_lines(["x", "EADDRINUSE", "y"]) == ["EADDRINUSE", "y"]


@pytest.mark.parametrize(
    ("line", "declared"),
    [
        ("OSError: [Errno 98] Address already in use", (8080,)),
        ("listen tcp :8080: bind: address already in use", ()),
    ],
)
def test_a_port_that_something_outside_the_pod_has_comes_with_a_remedy(
    line: str, declared: tuple[int, ...]
) -> None:
    told = (
        "port 8080 is taken by container web of pod api-x (without isolation pods share the"
        " machine's ports): listen on $POD_IP:8080, or run with isolation"
    )
    assert explain_clash([line], {}, declared, STRANGE) == told
    held = {"container job": frozenset({9000})}
    assert explain_clash([line], held, declared, STRANGE) == told
    own = explain_clash([line], HELD, declared, STRANGE)
    assert own == TAKEN.format(8080, "web")


@pytest.mark.parametrize(
    ("line", "declared", "said"),
    [
        ("PermissionError: [Errno 13] Permission denied", [8080, 80], "port 80: without"),
        ("Error: listen EACCES: permission denied 0.0.0.0:443", [443], "port_start=443"),
        ("PermissionError: [Errno 13] Permission denied", [8080], ""),
        ("no such table", [80], ""),
    ],
)
def test_a_low_port_that_is_refused_comes_with_a_remedy(
    line: str, declared: list[int], said: str
) -> None:
    told = explain_refusal([line], declared)
    assert said in told
    assert bool(told) == bool(said)
