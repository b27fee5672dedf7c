"""What a head means, given its fields. The dialogues stand in test_request_parser.py."""

from __future__ import annotations

import pytest

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1 import Framing, Headers, RequestHead
from lapdev.wire.http1.request_head import HostReader, build_request_head


def built(headers: Headers, target: bytes = b"/", minor: int = 1) -> RequestHead:
    head = RequestHead(b"POST", target, minor, headers, b"")
    build_request_head(head, HostReader())
    return head


def test_framing_host_and_connection_are_filled_in() -> None:
    head = built(
        [(b"host", b"A:1"), (b"CONNECTION", b"close"), (b"content-LENGTH", b"7"), (b"x", b"y")]
    )
    assert head.host == b"a"
    assert (head.framing, head.content_length) == (Framing.LENGTH, 7)
    assert not head.keep_alive


def test_the_host_reader_tells_hosts_apart() -> None:
    reader = HostReader()
    assert [reader.read(a) for a in (b"A", b"A", b"B.", b"A")] == [b"a", b"a", b"b", b"a"]
    with pytest.raises(RemoteProtocolError):
        reader.read(b"")
    with pytest.raises(RemoteProtocolError):
        reader.read(b"a b")
    assert reader.read(b"A") == b"a"


def test_a_bad_authority_is_not_remembered_as_a_host() -> None:
    reader = HostReader()
    for _ in range(2):
        with pytest.raises(RemoteProtocolError):
            reader.read(b"a..b")


def test_every_copy_of_the_host_field_gives_way_to_an_absolute_form() -> None:
    head = built([(b"X", b"y"), (b"HOST", b"mine")], b"http://other:1/p")
    assert head.headers == [(b"Host", b"other:1"), (b"X", b"y")]


def test_an_absolute_form_with_a_bad_authority_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        built([(b"host", b"mine")], b"http://user@other/")
