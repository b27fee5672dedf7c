from __future__ import annotations

import pytest

from lapdev.devbox import socks
from lapdev.devbox.socks import Reply, Request

GREETING = b"\x05\x02\x00\x02"
REQUEST = b"\x05\x01\x00\x03\x03api\x1f\x90"


def test_a_greeting_without_authentication_is_taken() -> None:
    assert socks.read_greeting(GREETING + b"more") == (b"\x05\x00", b"more")


@pytest.mark.parametrize("size", range(len(GREETING)))
def test_a_greeting_is_waited_for_byte_by_byte(size: int) -> None:
    assert socks.read_greeting(GREETING[:size]) is None


@pytest.mark.parametrize("data", [b"\x04\x01\x00", b"\x05\x01\x02", b"\x05\x00"])
def test_a_greeting_that_cannot_be_met_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"SOCKS5|without authentication"):
        socks.read_greeting(data)


def test_a_request_names_host_and_port() -> None:
    assert socks.read_request(REQUEST + b"early") == (Request("api", 8080), b"early")


@pytest.mark.parametrize("size", range(len(REQUEST)))
def test_a_request_is_waited_for_byte_by_byte(size: int) -> None:
    assert socks.read_request(REQUEST[:size]) is None


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", Reply.ADDRESS_TYPE_NOT_SUPPORTED),
        (b"\x05\x01\x00\x04" + bytes(16) + b"\x00\x50", Reply.ADDRESS_TYPE_NOT_SUPPORTED),
        (b"\x05\x02\x00\x03\x03api\x00\x50", Reply.COMMAND_NOT_SUPPORTED),
        (b"\x05\x03\x00\x03\x03api\x00\x50", Reply.COMMAND_NOT_SUPPORTED),
    ],
)
def test_addresses_and_other_commands_are_refused_in_the_protocols_own_words(
    data: bytes, refusal: Reply
) -> None:
    found = socks.read_request(data)
    assert found is not None
    assert found[0].refusal is refusal


@pytest.mark.parametrize(
    "data",
    [
        b"\x04\x01\x00\x03\x01a\x00\x50",
        b"\x05\x01\x00\x02aa\x00\x50",
        b"\x05\x01\x00\x03\x01\xff\x00\x50",
    ],
)
def test_what_is_no_request_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"SOCKS5|AddressType|decode"):
        socks.read_request(data)


def test_a_reply_has_its_code_and_an_empty_address() -> None:
    assert socks.reply(Reply.SUCCEEDED) == b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
