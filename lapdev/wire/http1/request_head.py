"""What a request head means: host, framing, connection (RFC 9110 §7.2, §10.1.1; RFC 9112 §9)."""

from __future__ import annotations

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1.events import Framing, RequestHead
from lapdev.wire.http1.framing import (
    Facts,
    collect_facts,
    connection_options,
    keeps_alive,
    request_framing,
)
from lapdev.wire.http1.target import host_of, split_absolute


class HostReader:
    """`host_of` that remembers its last answer: a connection mostly asks for one host."""

    __slots__ = ("_authority", "_host")

    def __init__(self) -> None:
        self._authority = b""
        self._host = b""

    def read(self, authority: bytes) -> bytes:
        """The name to route by. Raises what `host_of` raises."""
        if authority != self._authority or not authority:
            self._host = host_of(authority)
            self._authority = authority
        return self._host


def build_request_head(head: RequestHead, hosts: HostReader) -> None:
    """Fills in everything that follows from the request line and the header fields.

    Raises:
        RemoteProtocolError: 400, 417 or 501.
    """
    facts = collect_facts(head.headers)
    head.host = _host(head, facts, hosts)
    head.framing, head.content_length = request_framing(facts, head.minor)
    options = connection_options(facts)
    head.keep_alive = keeps_alive(options, head.minor)
    if b"expect" in facts:
        head.expect_continue = _expects_continue(head, facts)
    # "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request"
    # (RFC 9110 §7.8).
    if b"upgrade" in facts and b"upgrade" in options and head.minor:
        head.upgrade = _upgrade(facts)


def _host(head: RequestHead, facts: Facts, hosts: HostReader) -> bytes:
    # "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message
    # that lacks a Host header field and to any request message that contains more than one Host
    # header field line or a Host header field with an invalid field value" (RFC 9112 §3.2).
    lines = facts.get(b"host")
    host = b""
    if lines is None:
        if head.minor:
            raise RemoteProtocolError("an HTTP/1.1 request without Host")
    elif len(lines) > 1:
        raise RemoteProtocolError("more than one Host field")
    else:
        host = hosts.read(lines[0])
    if head.target[0] == 0x2F or head.target == b"*":
        return host
    # "When an origin server receives a request with an absolute-form of request-target, the origin
    # server MUST ignore the received Host header field (if any) and instead use the host
    # information of the request-target" (RFC 9112 §3.2.2). The field is replaced, so that nobody
    # behind us authorises one name and serves another.
    authority, head.target = split_absolute(head.method, head.target)
    head.headers = [(b"Host", authority)] + [
        (name, value) for name, value in head.headers if name.lower() != b"host"
    ]
    return hosts.read(authority)


def _expects_continue(head: RequestHead, facts: Facts) -> bool:
    # "A server that receives an Expect field value containing a member other than 100-continue MAY
    # respond with a 417" (RFC 9110 §10.1.1). We do: `Expect: x 100-continue` means something to
    # one reader and nothing to the next.
    lines = facts[b"expect"]
    if len(lines) > 1 or lines[0].lower() != b"100-continue":
        raise RemoteProtocolError("an Expect other than 100-continue", status=417)
    # "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that
    # expectation"; without content there is nothing to wait for (ibid.).
    has_content = head.framing is Framing.CHUNKED or head.content_length > 0
    return head.minor == 1 and has_content


def _upgrade(facts: Facts) -> bytes:
    # h2c by Upgrade was withdrawn (RFC 9113 §3.1) and has carried requests past proxies.
    protocols = [item.strip(b" \t") for item in b",".join(facts[b"upgrade"]).lower().split(b",")]
    return b", ".join(item for item in protocols if item and item != b"h2c")
