"""What a request is for: request line, request target and authority (RFC 9112 §3, RFC 9110 §7.2).

Pure functions. A target that two readers could take for two resources is refused; one that passes
is forwarded byte for byte.
"""

from __future__ import annotations

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1 import abnf


def parse_request_line(line: bytes) -> tuple[bytes, bytes, int]:
    """Method, target and minor version of a request line.

    Raises:
        RemoteProtocolError: 505 for another version, 405 for CONNECT and TRACE, else 400.
    """
    match = abnf.REQUEST_LINE.fullmatch(line)
    if match is None:
        if abnf.OTHER_VERSION.fullmatch(line) is not None:
            raise RemoteProtocolError("an HTTP version other than 1.0 and 1.1", status=505)
        raise RemoteProtocolError("malformed request line")
    method, target, minor = match.groups()
    check_request(method, target)
    return method, target, int(minor)


def check_request(method: bytes, target: bytes) -> None:
    """Refuses methods we never carry and targets outside the four forms of RFC 9112 §3.2.

    Raises:
        RemoteProtocolError: 405 or 400.
    """
    # CONNECT would make us a tunnel to anywhere (and has let early data smuggle, CVE-2025-64763);
    # TRACE reflects what the edge added.
    if method in (b"CONNECT", b"TRACE"):
        raise RemoteProtocolError(f"method {method.decode('ascii')} is not served", status=405)
    if target[0] == 0x2F:  # origin-form: "/"
        if b"\\" in target or b"%00" in target or target[1:2] == b"/":
            _check_path(target)
        return
    if target == b"*":  # asterisk-form
        if method != b"OPTIONS":
            raise RemoteProtocolError("the target * is for OPTIONS only")
        return
    match = abnf.ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        raise RemoteProtocolError("the request target is neither a path nor an http(s) URL")
    if match[2]:
        _check_path(match[2])


def _check_path(target: bytes) -> None:
    path = target.partition(b"?")[0]
    if b"\\" in path:
        raise RemoteProtocolError("a backslash in the path")  # a slash to some, a letter to others
    if b"%00" in path:
        raise RemoteProtocolError("an encoded NUL in the path")
    # "//evil/.." is sent to be redirected to as a network-path reference (RFC 3986 §4.2). Other
    # empty segments are an application's own business.
    if path.startswith(b"//") and abnf.DOT_DOT.search(path) is not None:
        raise RemoteProtocolError("the path begins with // and climbs with ..")


def split_absolute(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Authority and origin-form of an absolute-form target that `check_request` let pass."""
    match = abnf.ABSOLUTE_FORM.fullmatch(target)
    assert match is not None
    authority, path = match.groups()
    if path:
        return authority, path
    # "If a proxy receives an OPTIONS request with an absolute-form of request-target in which the
    # URI has an empty path and no query component, […] MUST send a request-target of "*""
    # (RFC 9112 §3.2.4).
    return authority, b"*" if method == b"OPTIONS" else b"/"


def host_of(authority: bytes) -> bytes:
    """The name to route by: lower case, without port and without a trailing dot.

    Raises:
        RemoteProtocolError: it is no host with an optional port. User information is refused,
            as RFC 9110 §4.2.4 wants: it only hides where a link leads.
    """
    match = abnf.HOST.fullmatch(authority)
    if match is not None:
        host, port = match.groups()
    else:
        match = abnf.HOST_LITERAL.fullmatch(authority)
        if match is None:
            raise RemoteProtocolError("the host is not a valid name or address")
        host, address, port = match.groups()
        if address is not None and not _is_ipv6(address):
            raise RemoteProtocolError("the host is not a valid IPv6 address")
    if port and int(port) > 65535:
        raise RemoteProtocolError("the host's port is above 65535")
    return host.lower()


def _is_ipv6(text: bytes) -> bool:
    """RFC 3986 §3.2.2 IPv6address: eight groups, one run of them elided, the last two as IPv4."""
    front, _, last = text.rpartition(b":")
    if b"." in last:
        if abnf.IPV4.fullmatch(last) is None:
            return False
        text = front + b":0:0"
    head, elided, tail = text.partition(b"::")
    groups = [group for part in (head, tail) if part for group in part.split(b":")]
    if any(abnf.IPV6_GROUP.fullmatch(group) is None for group in groups):
        return False
    return len(groups) < 8 if elided else len(groups) == 8
