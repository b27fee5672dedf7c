"""Request targets and hosts: rows 31, 32, 33 and 36 as tables."""

from __future__ import annotations

import pytest

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1.target import (
    check_request,
    host_of,
    parse_request_line,
    split_absolute,
)


def status_of(method: bytes, target: bytes) -> int:
    """The status owed, 200 if there is nothing to refuse."""
    try:
        parse_request_line(method + b" " + target + b" HTTP/1.1")
    except RemoteProtocolError as exc:
        return exc.answer_status
    return 200


@pytest.mark.parametrize(
    "target",
    [
        b"admin",
        b"@evil/",
        b"*",
        b"*/x",
        b"//evil/..",
        b"//evil/%2e%2E/x",
        b"//evil/../?q",
        b"/\\evil",
        b"/a\\b",
        b"http:///x",
        b"http://",
        b"http://h?x",
        b"http://h#f",
        b"/a#f",
        b"/a b",
        b"/a\tb",
        b"/\x80",
        b"/\xc3\xa0",
        b"/\x7f",
        b"/\x00",
        b"/%00",
        b"http://h/%00",
        b"http://h/a\\b",
        b"ftp://h/",
        b"https:/h",
        b"example.com:443",
        b"",
    ],
)
def test_row_36_a_target_outside_the_four_forms_is_a_400(target: bytes) -> None:
    assert status_of(b"GET", target) == 400


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"//a",
        b"///keeping_slashes",
        b"//a/b..c/...",
        b"/a/../b",
        b"/a/..;/b",
        b"/a%2fb/%5c",
        b"/?a=\\&b=%00",
        b'/with_"quotes"?a={"b":[1|2]}^`<>',
        b"/a?b?c=//../",
        b"http://h",
        b"HTTPS://h:443/x?y",
        b"http://[::1]:8080/",
    ],
)
def test_row_36_any_other_target_passes_byte_for_byte(target: bytes) -> None:
    assert parse_request_line(b"GET " + target + b" HTTP/1.1") == (b"GET", target, 1)


def test_the_asterisk_is_for_options_only() -> None:
    assert status_of(b"OPTIONS", b"*") == 200
    assert status_of(b"M-SEARCH", b"*") == 400


def test_row_26_connect_and_trace_are_405_whatever_their_target() -> None:
    assert status_of(b"CONNECT", b"host:443") == 405
    assert status_of(b"TRACE", b"/") == 405
    with pytest.raises(RemoteProtocolError, match="CONNECT"):
        check_request(b"CONNECT", b"/")


def test_methods_are_case_sensitive_and_any_token_is_one() -> None:
    for method in (b"get", b"trace", b"M-SEARCH", b"-x!", b"MKCOLA"):
        assert status_of(method, b"/") == 200
    for method in (b"", b"G T", b"GET:", b"GET\x00", b"GET\xc3\x9f"):
        assert status_of(method, b"/") == 400


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        (b"GET", b"http://a", (b"a", b"/")),
        (b"OPTIONS", b"http://a", (b"a", b"*")),
        (b"OPTIONS", b"http://a/", (b"a", b"/")),
        (b"GET", b"https://A:1/b//c?d=http://e/", (b"A:1", b"/b//c?d=http://e/")),
        (b"GET", b"http://u:p@a/", (b"u:p@a", b"/")),
    ],
)
def test_row_33_an_absolute_form_splits_into_authority_and_path(
    method: bytes, target: bytes, expected: tuple[bytes, bytes]
) -> None:
    assert split_absolute(method, target) == expected


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"a", b"a"),
        (b"APP.Example.COM.:443", b"app.example.com"),  # row 32
        (b"a.b.", b"a.b"),
        (b"a:", b"a"),
        (b"a.:", b"a"),
        (b"a:0", b"a"),
        (b"a:65535", b"a"),
        (b"my_service.ns", b"my_service.ns"),
        (b"127.0.0.1:8080", b"127.0.0.1"),
        (b"[::1]", b"[::1]"),
        (b"[::]:80", b"[::]"),
        (b"[1::]", b"[1::]"),
        (b"[1:2:3:4:5:6:7::]", b"[1:2:3:4:5:6:7::]"),
        (b"[1:2:3:4:5:6:7:8]:", b"[1:2:3:4:5:6:7:8]"),
        (b"[ABCD::EF98]", b"[abcd::ef98]"),
        (b"[::ffff:12.30.67.89]", b"[::ffff:12.30.67.89]"),
        (b"[1:2:3:4:5:6:7.8.9.255]", b"[1:2:3:4:5:6:7.8.9.255]"),
        (b"[v1.a:b]:80", b"[v1.a:b]"),
    ],
)
def test_the_host_is_lower_case_without_port_and_final_dot(authority: bytes, host: bytes) -> None:
    assert host_of(authority) == host


@pytest.mark.parametrize(
    "authority",
    [
        b"",
        b":80",
        b".",
        b".a",
        b"a..",
        b"a..:80",
        b"a..b",
        b"a,b",
        b"a, b",
        b"a b",
        b"u@a",
        b"u:p@a",
        b"a/b",
        b"a?x",
        b"a#x",
        b"a\\b",
        b"a%41",
        b"a=b",
        b"a\x02",
        b"a\xc3\xa4",
        b"a:99999",
        b"a:65536",
        b"a:123456",
        b"a:1:2",
        b"a:+1",
        b"a:1.2",
        b"[::1",
        b"::1",
        b"[::1].",
        b"[::1]a",
        b"a[::1]",
        b"[::1]:99999",
        b"[]",
        b"[:]",
        b"[:::]",
        b"[1]",
        b"[1:2:3:4:5:6:7]",
        b"[1:2:3:4:5:6:7:8:9]",
        b"[1:2:3:4:5:6:7:8::]",
        b"[1::2::3]",
        b"[12345::]",
        b"[::1.2.3]",
        b"[::1.2.3.256]",
        b"[::1.2.3.4.5]",
        b"[::01.2.3.4]",
        b"[1.2.3.4]",
        b"[1.2.3.4::]",
        b"[fe80::a%25eth0]",
        b"[v.a]",
        b"[v1]",
    ],
)
def test_row_31_what_is_no_host_with_an_optional_port_is_a_400(authority: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        host_of(authority)
    assert refused.value.answer_status == 400
