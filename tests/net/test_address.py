"""Addresses as people write them."""

from __future__ import annotations

import pytest

from lapdev.errors import ConfigError
from lapdev.net.address import InheritedAddress, TcpAddress, UnixAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", TcpAddress("127.0.0.1", 8080)),
        ("[::1]:0", TcpAddress("::1", 0)),
        ("example.com:65535", TcpAddress("example.com", 65535)),
        ("http://example.com", TcpAddress("example.com", 80)),
        ("http://example.com:8080/", TcpAddress("example.com", 8080)),
        ("https://example.com", TcpAddress("example.com", 443, tls=True)),
        ("wss://[::1]:9", TcpAddress("::1", 9, tls=True)),
        ("unix:/run/x.sock", UnixAddress("/run/x.sock")),
        ("fd:3", InheritedAddress(3)),
    ],
)
def test_every_form_is_understood(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        ":8080",
        "host",
        "host:",
        "host:65536",
        "host:-1",
        "host: 80",
        "a:1:2",
        "[::1",
        "ftp://host:1",
        "http://host/path",
        "unix:relative",
        "unix:/" + "x" * 107,
        "fd:x",
        "user@host:1/x",
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(text)
    assert caught.value.hint


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert str(parse_address("[::1]:80")) == "[::1]:80"
