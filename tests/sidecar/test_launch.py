"""The launch document: read whole, checked strictly, never quoted."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from lapdev.cluster.driver import SidecarLaunch
from lapdev.errors import ConfigError
from lapdev.model import EnvironmentId, Protocol, SidecarIdentity, SidecarPort
from lapdev.sidecar.launch import LAUNCH_BYTES, parse_launch, read_launch

LAUNCH = SidecarLaunch(
    SidecarIdentity("ns", EnvironmentId("e" * 16), "staging", "api", "api-0"),
    (SidecarPort(15001, 80, 8080, "api", Protocol.HTTP),),
    "unix:/run/m.sock",
    "pod-secret",
)
DOCUMENT = dataclasses.asdict(LAUNCH)


def through_pipe(raw: bytes) -> int:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as sink:
        sink.write(raw)
    return reader


def test_the_document_is_read_and_its_descriptor_closed() -> None:
    fd = through_pipe(json.dumps(DOCUMENT).encode())
    assert read_launch(fd) == LAUNCH
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(json.loads(json.dumps(DOCUMENT)))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return dict(document)


CASES = [
    (("token",), "", "token"),
    (("token",), "a\nb", "token"),
    (("token",), 7, "token"),
    (("manager",), "nowhere", "address"),
    (("admin",), "127.0.0.1:99999", "address"),
    (("app_host",), "a b", "address"),
    (("bind_host",), "", "address"),
    (("identity",), None, "identity"),
    (("ports",), 1, "ports"),
    (("ports", 0, "protocol"), "smtp", "protocol"),
    (("ports", 0, "target_port"), 0, "target_port"),
    (("ports", 0, "service_port"), 70000, "service_port"),
    (("ports", 0, "proxy_port"), -1, "proxy_port"),
    (("ports", 0, "proxy_port"), True, "proxy_port"),
    (("ports", 0, "proxy_port"), 8080, "listen where"),
    (("ports",), [DOCUMENT["ports"][0]] * 2, "twice"),
]


@pytest.mark.parametrize(("path", "value", "says"), CASES)
def test_a_wrong_document_is_refused_by_the_name_of_what_is_wrong(
    path: tuple[Any, ...], value: Any, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse_launch(json.dumps(changed(path, value)).encode())
    assert "pod-secret" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff", b'{"token": "pod-secret"}'])
def test_what_is_no_launch_document_is_refused_without_quoting_it(raw: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_launch(raw)
    assert "pod-secret" not in str(caught.value) + str(caught.value.__cause__)


def test_an_endless_document_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "endless"
    path.write_bytes(b" " * (LAUNCH_BYTES + 2))
    with pytest.raises(ConfigError, match="larger than"):
        read_launch(os.open(path, os.O_RDONLY))


def test_without_a_descriptor_the_error_says_who_starts_sidecars() -> None:
    with pytest.raises(ConfigError) as caught:
        read_launch(-1)
    assert "manager" in caught.value.hint
    fd = through_pipe(b"")
    os.close(fd)
    with pytest.raises(ConfigError, match="Bad file descriptor"):
        read_launch(fd)
