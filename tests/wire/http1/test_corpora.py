"""The corpora of other parsers, run on ours under four cuts.

Every case whose outcome differs from its corpus is listed here with the reason. A case that is
listed and does not differ fails, too: the lists stay true.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from lapdev.errors import RemoteProtocolError
from lapdev.wire.http1 import BodyEnd, Limits, RequestHead, ResponseParser
from tests.support import needs
from tests.support.http1_feed import Message, Outcome, request_outcome, requests, response

Case = dict[str, Any]


def load(corpus: str, name: str) -> list[Case]:
    path = needs.corpus(corpus) / name
    cases: list[Case] = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return cases


def octets(case: Case, key: str = "input_b64") -> bytes:
    return base64.b64decode(case[key])


def with_host(data: bytes) -> bytes:
    """The corpora mostly leave Host out of HTTP/1.1 requests; row 31 would hide all else."""
    if re.search(rb"\nhost[ \t]*:|HTTP/1.0\r\nContent-Length", data, re.IGNORECASE):
        return data
    return re.sub(rb"( HTTP/1\.1\r\n)", rb"\1Host: corpus\r\n", data)


def head_of(message: Message) -> RequestHead:
    assert isinstance(message.head, RequestHead)
    return message.head


# llhttp

_FRAGMENT = "a fragment never crosses the wire (row 36)"
_CODING = "we forward messages and understand no coding but chunked (row 5)"
_SPACE = "obs-fold is refused (row 10)"
_ZEROS = "a leading zero in Content-Length (row 4)"
_RESPONSE_CRLF = "an empty line before a status line is no part of an answer (row 30)"

LLHTTP: dict[str, str] = {
    "request/connection#L84": "Connection: close is the server's to obey, row 28",
    "request/connection#L682": "an upgrade is a pause, not an error",
    "request/content-length#L7": _ZEROS,
    "request/content-length#L44": _ZEROS,
    "request/content-length#L447": "llhttp was told to skip the bodies; we read them",
    "request/sample#L70": "= in the host (row 31)",
    "request/sample#L108": "as above",
    "request/invalid#L69": "any token is a method: we forward it, the app decides",
    "request/invalid#L359": "as above",
    "request/method#L138": "the target * is for OPTIONS only (row 36)",
    "request/method#L375": "ICE is not HTTP",
    "request/method#L405": "RTSP is not HTTP",
    "request/method#L433": "as above",
    "request/sample#L317": "HTTP/0.9 (row 26)",
    "request/transfer-encoding#L754": _FRAGMENT,
    "request/transfer-encoding#L796": _FRAGMENT,
    "request/uri#L55": "absolute form with a query and no path (row 36)",
    "request/uri#L78": "as above",
    "request/uri#L168": _FRAGMENT,
    "request/uri#L225": "user information in the authority (row 31)",
    "response/content-length#L126": "llhttp was told to skip the bodies; we read them",
    "response/connection#L644": "llhttp counts the 103, and the final body lacks its last byte",
    "response/connection#L296": "a 101 is a pause, not an error",
    "response/connection#L334": "as above",
    "response/connection#L495": _RESPONSE_CRLF,
    "response/connection#L589": _RESPONSE_CRLF,
    "response/pipelining#L7": _RESPONSE_CRLF,
    "response/sample#L698": _RESPONSE_CRLF,
    "response/sample#L43": "RTSP is not HTTP",
    "response/sample#L63": "ICE is not HTTP",
    "response/sample#L648": "HTTP/0.9",
    "response/transfer-encoding#L46": _CODING,
    "response/transfer-encoding#L77": _CODING,
    "response/transfer-encoding#L115": _CODING,
}


def llhttp_input(case: Case) -> bytes:
    """The case's bytes; the corpus lost line ends at the end that its own log still counts."""
    data = octets(case)
    if case["outcome"] == "error":
        return data
    ends = re.findall(r"off=(\d+)(?: len=(\d+))?", "\n".join(case["log"]))
    counted = max((int(off) + int(length or 0) for off, length in ends), default=0)
    while len(data) < counted:
        data += b"\r\n"
    return data


def llhttp_outcome(case: Case) -> Outcome:
    data = llhttp_input(case)
    if case["type"].startswith("request"):
        # A refusal may wait for the end of the head, which the corpus' inputs often lack.
        end = b"\r\n\r\n" if case["outcome"] == "error" else b""
        return requests(with_host(data + end), eof=bool(end))
    if case["outcome"] == "error":
        return response(data + b"\r\n\r\n")
    return in_turn(data) if data.count(b"HTTP/1.") > 1 else response(data)


def in_turn(data: bytes) -> Outcome:
    """Answers in single bytes, each expected when the one before it is complete."""
    parser, outcome = ResponseParser(), Outcome()
    parser.expect(b"GET")
    try:
        for index in range(len(data)):
            events = parser.receive_data(data[index : index + 1])
            outcome.add(events)
            if events and isinstance(events[-1], BodyEnd):
                parser.expect(b"GET")
    except RemoteProtocolError as exc:
        outcome.refused = exc.answer_status
    return outcome


def llhttp_differs(case: Case) -> bool:
    outcome = llhttp_outcome(case)
    if case["outcome"] == "error":
        return outcome.refused is None
    if case["messages_completed"] == 0:
        # llhttp was not told of the end, which completes a response and cuts a request short.
        return outcome.refused is not None and "middle of" not in outcome.detail
    return outcome.refused is not None or outcome.complete != case["messages_completed"]


def test_llhttp_strict_cases_end_as_llhttp_says() -> None:
    cases = [c for c in load("llhttp", "llhttp_cases.json") if not c["lenient"]]
    cases = [c for c in cases if c["type"] != "url"]
    assert len(cases) == 134 + 76 + 4
    differs = {case["id"] for case in cases if llhttp_differs(case)}
    assert differs == set(LLHTTP)


def test_llhttp_lenient_cases_are_refused() -> None:
    """Each has one strictness switched off. We have no such switch."""
    cases = [c for c in load("llhttp", "llhttp_cases.json") if c["lenient"]]
    assert len(cases) == 37
    taken = [c["id"] for c in cases if llhttp_outcome({**c, "outcome": "error"}).refused is None]
    assert taken == []


LLHTTP_URLS = {
    # A fragment never crosses the wire.
    "url#L5": 400,
    "url#L19": 400,
    "url#L129": 400,
    "url#L140": 400,
    "url#L155": 400,
    # User information (RFC 9110 §4.2.4), a zone identifier.
    "url#L169": 400,
    "url#L195": 400,
    "url#L207": 400,
    "url#L219": 400,
    "url#L231": 400,
}


def test_llhttp_urls_are_targets_or_refused() -> None:
    cases = [c for c in load("llhttp", "llhttp_cases.json") if c["type"] == "url"]
    assert len(cases) == 21
    for case in cases:
        data = b"GET " + octets(case) + b" HTTP/1.1\r\nHost: corpus\r\n\r\n"
        expected = LLHTTP_URLS.get(case["id"], 400 if case["outcome"] == "error" else None)
        assert requests(data).refused == expected, case["id"]


# h11

H11 = {
    "obs-fold": "h11 unfolds; we refuse (row 10)",
    "cl-dup-same": "h11 collapses; we refuse (row 3)",
    "chunk-ok-ws": "whitespace behind a chunk size (row 14)",
    "resp-lf-only": "bare LF (row 11)",
}


def test_h11_cases_end_as_h11_asserts() -> None:
    cases = load("h11", "h11_cases.json")
    assert len(cases) == 35
    differs = set()
    for case in cases:
        outcome = (requests if case["kind"] == "request" else response)(octets(case))
        if (outcome.refused is None) != (case["expect"] == "accept"):
            differs.add(case["id"])
    assert differs == set(H11)


# gunicorn

GUNICORN = {
    "invalid/003c": "- may begin a token; gunicorn wants letters",
    "invalid/chunked_07": "Transfer_Encoding is a name like any other",
    "valid/019": "Connection: close is the server's to obey (row 28)",
    "valid/021": "as above",
    "valid/031compat": "methods are case-sensitive",
    "valid/040": "gunicorn drops Transfer_Encoding and Content_Length",
    "invalid/040": "Transfer_Encoding is a name like any other; the edge strips `_` twins",
    "invalid/041": "two Content-Type fields frame nothing",
    "invalid/019": "X-Forwarded-* of a client never reach anybody (row 38)",
    "invalid/limit_header_default_01": "16 KiB in a field is what our limit allows",
    "valid/002": "= in the host (row 31)",
    "valid/003": "as above",
    "valid/005": _FRAGMENT,
    "valid/009": _FRAGMENT,
    "valid/025": _CODING,
    "valid/025_line": _CODING,
    "valid/029": _CODING,
    "valid/030": _CODING,
    "valid/rfc9112_smuggle_gzip_chunked_01": _CODING,
    "valid/rfc9112_smuggle_te_identity_chunked_01": _CODING,
    "valid/027": "octets above 0x7f in the target (row 36)",
    "valid/028": "a space before the colon (row 9)",
    "valid/099": "the body is one byte short of its length",
    "valid/compat_obs_fold": _SPACE,
    "valid/compat_obs_fold_huge": _SPACE,
    "valid/pp_01": "the PROXY protocol is not spoken here",
    "valid/pp_02": "as above",
    "valid/pp_04": "as above",
    "valid/pp_05": "as above",
    "valid/rfc9112_target_absolute_userinfo_01": "user information in the authority (row 31)",
    "valid/rfc9112_target_authority_connect_01": "CONNECT (row 26)",
    "valid/rfc9112_target_authority_ipv6_01": "CONNECT (row 26)",
}


def gunicorn_limits(config: dict[str, str]) -> Limits:
    """gunicorn's own limits, which its limit cases are made for."""
    field = int(config.get("limit_request_field_size") or 8190)
    return Limits(
        request_line_bytes=int(config.get("limit_request_line") or 4094),
        header_field_bytes=field - 2 if field else Limits().header_field_bytes,  # it counts CRLF
        header_fields=int(config.get("limit_request_fields") or 100),
    )


def gunicorn_agrees(case: Case, outcome: Outcome) -> bool:
    if not case["valid"]:
        return outcome.refused is not None
    if outcome.refused is not None:
        return False
    wanted = case["expect_requests"]
    if len(outcome.messages) != len(wanted):
        return False
    return all(map(gunicorn_message_agrees, outcome.messages, wanted))


def gunicorn_message_agrees(message: Message, wanted: Case) -> bool:
    head = head_of(message)
    uri = wanted["uri"].encode("latin-1")
    # We reduce absolute-form, and put its authority into the Host field.
    absolute = re.match(rb"https?://[^/]*", uri)
    target = uri[absolute.end() :] if absolute else uri
    body = wanted["body"]
    body = base64.b64decode(body["b64"]) if isinstance(body, dict) else body.encode("latin-1")
    fields = [[n.decode().upper(), v.decode("latin-1")] for n, v in head.headers]
    fields = [field for field in fields if field != ["HOST", "corpus"]]
    return (
        head.method == wanted["method"].encode()
        and head.target == target
        and [1, head.minor] == wanted["version"]
        and sorted(fields) == sorted(wanted["headers"])
        and message.body == body
    )


def test_gunicorn_cases_end_as_gunicorn_says() -> None:
    cases = load("gunicorn", "gunicorn_cases.json")
    assert len(cases) == 137
    differs = set()
    for case in cases:
        outcome = requests(with_host(octets(case)), gunicorn_limits(case["config"]))
        if not gunicorn_agrees(case, outcome):
            differs.add(case["id"])
    assert differs == set(GUNICORN)


# smuggler


@pytest.mark.slow
def test_smuggler_gadgets_never_make_a_second_request() -> None:
    path = needs.corpus("smuggler") / "smuggler_te_gadgets.json"
    corpus = json.loads(path.read_text(encoding="utf-8"))
    bodies = {name: base64.b64decode(body) for name, body in corpus["bodies"].items()}
    assert len(corpus["cases"]) == 1703
    probes = [(bodies["clte"], len(bodies["clte"])), (bodies["tecl"], 6), (bodies["tecl"], 5)]
    surprises = []
    accepted = 0
    for case in corpus["cases"]:
        start = b"POST /x HTTP/1.1\r\n" + octets(case, "gadget_b64")
        for body, length in probes:
            data = start + b"\r\nHost: H\r\nContent-Length: %d\r\n\r\n" % length + body
            # Whole and in single bytes: four cuts of 5,109 inputs would only be slower.
            for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
                outcome = request_outcome(pieces)
                if case["expect"] == "reject":
                    right = outcome.refused is not None and outcome.messages == []
                else:
                    # Content-Length alone frames it; a byte beyond it is no second request.
                    right = outcome.complete == 1 and outcome.messages[0].body == body[:length]
                    accepted += 1
                if not right:
                    surprises.append((case["gadget_preview"], outcome))
    assert surprises == []
    assert accepted == 6 * 3 * 2


# nginx


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_nginx_hosts_are_read_as_nginx_reads_them(version: bytes) -> None:
    cases = load("nginx-tests", "host_parsing.json")
    assert len(cases) == 60
    for case in cases:
        outcome = requests(octets(case).replace(b"HTTP/1.0", version))
        if case["expect_status"] == 400:
            assert outcome.refused == 400, case["title"]
        else:
            assert outcome.refused is None, case["title"]
            assert outcome.request.host.decode() == case["expect_host"]


def test_nginx_framing_cases_get_nginx_statuses() -> None:
    for case in load("nginx-tests", "request_framing.json"):
        assert requests(octets(case)).refused == case["expect_status"], case["id"]


def test_nginx_bad_answers_are_refused() -> None:
    for case in load("nginx-tests", "bad_upstream_responses.json"):
        outcome = response(octets(case, "upstream_b64"))
        assert outcome.refused is not None, case["id"]
        assert outcome.messages == []
