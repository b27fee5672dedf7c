"""What the edge removes from a request and what it adds."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lapdev.cloud.stamp import stamp
from lapdev.model import EnvironmentId
from lapdev.net.exchange import Exchange
from lapdev.wire.http1 import Headers, RequestHead

BRANCH = EnvironmentId("b7k2m9x4c1d8f3g6")


def stamped(
    *fields: tuple[bytes, bytes], branch: EnvironmentId | None = None, peer: str = "127.0.0.1"
) -> Headers:
    headers = [(b"Host", b"web.lapdev.localhost:8080"), *fields]
    request = RequestHead(b"GET", b"/", 1, headers, b"web.lapdev.localhost")
    connection = SimpleNamespace(peer=peer, tls=False)
    exchange: Any = SimpleNamespace(request=request, connection=connection)
    return stamp(cast("Exchange", exchange), branch, "0af7651916cd43dd8448eb211c80319c").headers


def values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


@pytest.mark.parametrize(
    "name",
    [
        b"X-Forwarded-For",
        b"x_forwarded_for",
        b"X-Forwarded-Host",
        b"X-Real-IP",
        b"Forwarded",
        b"X-Request-Id",
        b"Lapdev-Diverted",
        b"lapdev_diverted",
        b"LAPDEV-ANYTHING",
    ],
)
@pytest.mark.parametrize("branch", [None, BRANCH])
def test_what_only_the_edge_may_say_does_not_come_from_outside(
    name: bytes, branch: EnvironmentId | None
) -> None:
    assert b"forged" not in b" ".join(v for _, v in stamped((name, b"forged"), branch=branch))


def test_a_branch_goes_to_the_front_of_tracestate_and_others_stay_in_order() -> None:
    headers = stamped(
        (b"Tracestate", b"a=1,lapdev-env-id=forged"), (b"tracestate", b"b=2"), branch=BRANCH
    )
    joined = b",".join(values(headers, b"tracestate")).replace(b" ", b"")
    assert joined == b"lapdev-env-id=%s,a=1,b=2" % BRANCH.encode()


def test_without_a_branch_a_forged_member_is_gone_and_the_others_stay() -> None:
    headers = stamped((b"tracestate", b"lapdev-env-id=forged,a=1"))
    assert values(headers, b"tracestate") == [b"a=1"]


def test_baggage_loses_our_key_only() -> None:
    headers = stamped((b"baggage", b"lapdev-env-id=forged,user=7"))
    assert values(headers, b"baggage") == [b"user=7"]


def test_a_trace_is_begun_when_there_is_none_and_kept_when_there_is() -> None:
    assert re.fullmatch(
        rb"00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01",
        values(stamped(), b"traceparent")[0],
    )
    given = b"00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"
    assert b"aaaaaaaaaaaaaaaa" in values(stamped((b"traceparent", given)), b"traceparent")[0]


def test_hop_by_hop_fields_end_here_and_a_nomination_cannot_remove_ours() -> None:
    headers = stamped(
        (b"Connection", b"x-forwarded-for, tracestate, x-private"), (b"X-Private", b"1")
    )
    assert values(headers, b"x-private") == []
    assert values(headers, b"x-forwarded-for") == [b"127.0.0.1"]


def test_the_app_learns_who_asked_and_under_which_name() -> None:
    headers = stamped()
    assert values(headers, b"x-forwarded-host") == [b"web.lapdev.localhost:8080"]
    assert values(headers, b"x-forwarded-port") == [b"8080"]
    assert values(headers, b"x-forwarded-proto") == [b"http"]
    assert values(headers, b"host") == [b"web.lapdev.localhost:8080"]
    assert values(headers, b"forwarded") == [
        b'for=127.0.0.1;host="web.lapdev.localhost:8080";proto=http'
    ]


def test_a_visitor_without_an_address_is_unknown() -> None:
    headers = stamped(peer="unix")
    assert values(headers, b"x-forwarded-for") == [b"unknown"]
    assert values(headers, b"forwarded")[0].startswith(b"for=unknown;")
