"""W3C Trace Context: read, remove and stamp our member of `tracestate`; create `traceparent`.

https://www.w3.org/TR/trace-context-2/, cited as TC; baggage as https://www.w3.org/TR/baggage/.
Our member says which branch a request belongs to. Applications carry it from call to call, so the
edge must remove what a client sent before it stamps its own. Everything here is a function from
header fields to header fields: no function changes the list it was given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lapdev.errors import LocalProtocolError
from lapdev.wire.http1.events import Headers

TRACESTATE_KEY = b"lapdev-env-id"

# TC §3.3.1.1: "There can be a maximum of 32 list-members in a list." Members of the longest legal
# key and value make 16,447 bytes then: more than the 512 that §3.3.1.5 wants propagated, and less
# than a field may have on an inner hop. So the size needs no limit of its own.
MAX_MEMBERS = 32

# TC §3.3.1
#   list        = list-member 0*31( OWS "," OWS list-member )
#   list-member = (key "=" value) / OWS
#   key         = ( lcalpha / DIGIT ) 0*255 ( keychar )
#   keychar     = lcalpha / DIGIT / "_" / "-"/ "*" / "/" / "@"
#   value       = 0*255(chr) nblk-chr
#   nblk-chr    = %x21-2B / %x2D-3C / %x3E-7E
#   chr         = %x20 / nblk-chr
_MEMBER = re.compile(
    rb"([0-9a-z][0-9a-z_\-*/@]{0,255})=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)

# TC §3.2.2
#   value          = version "-" version-format
#   version-format = trace-id "-" parent-id "-" trace-flags
# Version ff is forbidden; "if a higher version is detected", the parts we know are read, and more
# may follow behind a "-" (§3.2.4).
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def parse(lines: Sequence[bytes]) -> list[tuple[bytes, bytes]] | None:
    """The members a conforming reader sees in these field lines, in order; None if it sees none.

    Empty members do not count (TC §3.3.1.1), of two equal keys the first stands, and one malformed
    member or a 33rd discards the whole list.
    """
    raw = _split(lines)
    if not raw or len(raw) > MAX_MEMBERS:
        return None
    members: dict[bytes, bytes] = {}
    for member in raw:
        match = _MEMBER.fullmatch(member)
        if match is None:
            return None
        members.setdefault(match[1], match[2])
    return list(members.items())


def member(headers: Headers, key: bytes = TRACESTATE_KEY) -> str | None:
    """The value of `key` in the request's tracestate, whether or not there is a traceparent."""
    lines = _lines(headers)
    # One search is all that a request without our member pays.
    if not lines or key not in (lines[0] if len(lines) == 1 else b",".join(lines)):
        return None
    for found, value in parse(lines) or ():
        if found == key:
            return value.decode("ascii")
    return None


def strip_member(headers: Headers, key: bytes = TRACESTATE_KEY) -> Headers:
    """The headers without any copy of `key` in tracestate; an emptied line is gone.

    Other members stay byte for byte and in order, well-formed or not. A copy is recognised in any
    case and with space around it: what no conforming reader takes for ours, another reader may.
    """
    return _strip(headers, b"tracestate", key)


def strip_baggage(headers: Headers, key: bytes = TRACESTATE_KEY) -> Headers:
    """The headers without any copy of `key` in baggage; an emptied line is gone."""
    return _strip(headers, b"baggage", key)


def stamp_member(headers: Headers, key: bytes, value: bytes) -> Headers:
    """The headers with `key=value` as the left-most member of a single tracestate line.

    Every other copy of `key` is gone. The first 31 other members follow in order. A
    list that a reader would discard takes our member with it, so one that is malformed is dropped.

    Raises:
        LocalProtocolError: `key=value` is no legal member.
    """
    ours = key + b"=" + value
    if _MEMBER.fullmatch(ours) is None:
        raise LocalProtocolError("not a legal tracestate member")
    headers = strip_member(headers, key)
    others = _split(_lines(headers))
    if not all(_MEMBER.fullmatch(other) for other in others):
        others = []
    # §3.3.1.5 removes members "from the end": the right-most are the oldest.
    line = b",".join([ours, *others[: MAX_MEMBERS - 1]])
    return [*_without(headers, b"tracestate"), (b"tracestate", line)]


def ensure_traceparent(headers: Headers, trace_id: bytes, parent_id: bytes) -> Headers:
    """The headers with one valid traceparent: the one they have, or a new one with flag 01.

    Args:
        trace_id: 32 lower-case hex digits, not all zero; used only if one is created.
        parent_id: 16 of them.

    Raises:
        LocalProtocolError: the ids are no such digits.
    """
    lines = [value for name, value in headers if name.lower() == b"traceparent"]
    if len(lines) == 1 and is_traceparent(lines[0]):
        return headers
    # TC §3.2.2.5: the sampled flag (01) lets tracers record the request, and so propagate it.
    made = b"00-" + trace_id + b"-" + parent_id + b"-01"
    if not is_traceparent(made):
        raise LocalProtocolError("not a legal trace id and parent id")
    return [*_without(headers, b"traceparent"), (b"traceparent", made)]


def is_traceparent(value: bytes) -> bool:
    """Whether a reader accepts the value (TC §3.2.2, §3.2.4)."""
    match = _TRACEPARENT.fullmatch(value.strip(b" \t"))
    if match is None:
        return False
    version, trace_id, parent_id, more = match.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return False
    return trace_id.strip(b"0") != b"" and parent_id.strip(b"0") != b""


def _lines(headers: Headers) -> list[bytes]:
    # Comparing ten lengths costs less than lowering ten names.
    return [value for name, value in headers if len(name) == 10 and name.lower() == b"tracestate"]


def _without(headers: Headers, field: bytes) -> Headers:
    return [(name, value) for name, value in headers if name.lower() != field]


def _split(lines: Sequence[bytes]) -> list[bytes]:
    """The members without outer OWS, empty ones left out. There is no quoting to respect."""
    members = [item.strip(b" \t") for line in lines for item in line.split(b",")]
    return [item for item in members if item]


def _strip(headers: Headers, field: bytes, key: bytes) -> Headers:
    kept: Headers = []
    for name, value in headers:
        if name.lower() != field or key not in value.lower():
            kept.append((name, value))
            continue
        items = [item for item in value.split(b",") if not _is_copy(item, key)]
        rest = b",".join(items).strip(b" \t")
        if rest.strip(b", \t"):
            kept.append((name, rest))
    return kept


def _is_copy(item: bytes, key: bytes) -> bool:
    name = item.partition(b"=")[0].partition(b";")[0]
    return name.strip(b" \t").lower() == key
