"""Probes and hooks as written."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import ContainerPort, Handler, Probe
from lapdev.cluster.manifests.node import Node
from lapdev.cluster.manifests.probe_parts import parse_hook, parse_probe
from lapdev.errors import ConfigError

PORTS = (ContainerPort(80, "http"), ContainerPort(81))


def probe(written: Any, *, readiness: bool = True) -> Probe | None:
    return parse_probe(Node(written, "Pod/x: probe"), PORTS, repeats_success=readiness)


def hook(written: Any) -> Handler | None:
    return parse_hook(Node(written, "Pod/x: hook"), PORTS)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ({"tcpSocket": {"port": 5}}, Handler("tcp", 5)),
        ({"tcpSocket": {"port": "http", "host": "127.0.0.1"}}, Handler("tcp", 80, "127.0.0.1")),
        ({"httpGet": {"port": 5}}, Handler("http", 5)),
        ({"httpGet": {"port": 5, "path": "up?x=1"}}, Handler("http", 5, path="/up?x=1")),
        (
            {"httpGet": {"port": 5, "httpHeaders": [{"name": "Host", "value": "a b"}]}},
            Handler("http", 5, headers=(("Host", "a b"),)),
        ),
        ({"httpGet": {"port": 5, "scheme": "HTTPS"}}, Handler("tcp", 5)),
        ({"exec": {"command": ["a", ""]}}, Handler("exec", command=("a", ""))),
        ({"grpc": {"port": 5, "service": "x"}}, Handler("tcp", 5)),
    ],
)
def test_every_check_is_read(written: Any, wanted: Handler) -> None:
    assert probe(written) == Probe(wanted)


def test_numbers_are_kept_and_zero_is_the_default() -> None:
    check = {"tcpSocket": {"port": 5}}
    numbers = {"initialDelaySeconds": 1, "periodSeconds": 2, "timeoutSeconds": 3}
    assert probe(check | numbers | {"successThreshold": 4, "failureThreshold": 5}) == Probe(
        Handler("tcp", 5), 1, 2, 3, 4, 5
    )
    zeros = dict.fromkeys(
        [*numbers, "successThreshold", "failureThreshold"],
        0,
    )
    assert probe(check | zeros) == Probe(Handler("tcp", 5))
    assert probe(None) is None


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({}, "probe: says nothing to check"),
        ({"httpGet": {"port": 1}, "exec": {"command": ["a"]}}, "has httpGet and exec"),
        ({"httpGet": {"port": "none"}}, "no port is named 'none'"),
        ({"httpGet": {"port": ""}}, "no port is named ''"),
        ({"httpGet": {"port": 1, "scheme": "FTP"}}, "is 'FTP'"),
        ({"httpGet": {"port": 1, "path": "/a b"}}, "'/a b' is not a path"),
        ({"httpGet": {"port": 1, "path": "/\r\nX: 1"}}, "is not a path"),
        ({"httpGet": {"port": 1, "host": "a b"}}, "'a b' is not a host"),
        ({"httpGet": {"port": 1, "httpHeaders": [{"name": "a b"}]}}, "'a b' is not a header's"),
        (
            {"httpGet": {"port": 1, "httpHeaders": [{"name": "a", "value": "1\r\nB: 2"}]}},
            "is not a header's value",
        ),
        ({"exec": {"command": []}}, r"exec\.command: is empty"),
        ({"exec": {"command": [""]}}, r"exec\.command: is empty"),
        ({"exec": "true"}, "exec: is str"),
        ({"grpc": {"port": "http"}}, "is str, not a whole number"),
        ({"tcpSocket": {"port": 1}, "periodSeconds": -1}, "periodSeconds: is -1"),
    ],
)
def test_what_checks_nothing_is_refused(written: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        probe(written)
    assert caught.value.hint


def test_only_readiness_may_ask_for_more_than_one_success() -> None:
    with pytest.raises(ConfigError, match="successThreshold: is 2"):
        probe({"tcpSocket": {"port": 1}, "successThreshold": 2}, readiness=False)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (None, None),
        ({"exec": {"command": ["a"]}}, Handler("exec", command=("a",))),
        ({"httpGet": {"port": "http", "path": "/bye"}}, Handler("http", 80, path="/bye")),
        ({"tcpSocket": {"port": 1}}, Handler("tcp", 1)),
        ({"sleep": {"seconds": 3}}, Handler("sleep", seconds=3.0)),
    ],
)
def test_every_hook_is_read(written: Any, wanted: Handler | None) -> None:
    assert hook(written) == wanted


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({}, "says nothing to do"),
        ({"httpGet": {"port": 1, "scheme": "HTTPS"}}, "HTTPS hooks are not supported"),
        ({"sleep": {}}, r"sleep\.seconds: is nothing"),
    ],
)
def test_what_does_nothing_is_refused(written: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        hook(written)
