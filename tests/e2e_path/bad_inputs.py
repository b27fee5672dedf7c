"""Requests that two readers could read in two ways, by their row in the robustness table.

Each is complete by itself. `HOST` stands for the preview's host.
"""

from __future__ import annotations

HEAD = b"POST /x HTTP/1.1\r\nHost: HOST\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def fields(*lines: bytes, body: bytes = b"") -> bytes:
    """A POST with these lines in its head."""
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def host(value: bytes) -> bytes:
    return b"GET /x HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"


def target(value: bytes) -> bytes:
    return b"GET " + value + b" HTTP/1.1\r\nHost: HOST\r\n\r\n"


_LENGTHS = (
    *(b"+5", b"-0", b"0x10", b"1_0", b"5 5", b"5,5", b"", b"010", b"1" * 21, b"5e0", b"5.0"),
    *("\uff15".encode(), b"5\x0b"),
)
_CODINGS = (
    *(b"xchunked", b"chunk", b"chunked, identity", b"identity, chunked", b",chunked"),
    *(b'"chunked"', b"chunked;q=1", b"", b"\x0bchunked", b"\xa0chunked", b"\x85chunked"),
    *(b"chunked\x00", b"chun\xe2\x84\xaaed"),
)
_SIZES = (
    *(b"0x5", b"+5", b"-5", b"5_0", b" 5", b"5 ", b"", b"f" * 17, b"0_2e", b"1;"),
    *(b"2;\nXX", b"2;\rX", b"5\r\r;ABCD", b'1;e="v\r\nX\r\n0\r\n\r\nGET /s', b"1;" + b"e" * 65_536),
)
_NAMES = (b"Transfer-Encoding : chunked", b"Content-Length\t: 5", b"\x85: 1", b": x", b"no colon")
_HOSTS = (
    *(b"", b"HOST, b", b"HOST b", b"u@HOST", b"HOST/b", b"HOST?x", b"HOST:99999", b"HOST:1:2"),
    *(b"[::1", b"[::1].", b"a..HOST", b".", b"HOST\x02"),
)
_TARGETS = (
    *(b"admin", b"@evil/", b"*", b"*/x", b"//evil/..", b"/\\evil", b"http:///x", b"http://h?x"),
    *(b"http://HOST#f", b"/a b", b"/a\tb", b"/\x80", b"/%00"),
)

REFUSED: dict[str, bytes] = {
    "row 1, length first": fields(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "row 1, length last": fields(b"transfer-encoding: CHUNKED", b"content-LENGTH: 5"),
    "row 2": fields(b"Content-Length: 0", b"Content-Length: 31"),
    "row 3, two lines": fields(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    **{
        f"row 4 {value!r}": fields(b"Content-Length: " + value, body=b"hello") for value in _LENGTHS
    },
    **{f"rows 5 and 8 {value!r}": fields(b"Transfer-Encoding: " + value) for value in _CODINGS},
    "row 6, twice": fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "row 6, gzip": fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"),
    "row 7": b"POST / HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    **{f"rows 9 and 13 {line!r}": fields(line) for line in _NAMES},
    "row 10, folded": fields(b"Transfer-Encoding:\r\n chunked"),
    "row 10, first line": b"GET / HTTP/1.1\r\n Host: HOST\r\n\r\n",
    "row 11, bare LF": b"GET / HTTP/1.1\nHost: HOST\n\n",
    "row 11, bare CR": fields(b"X: a\rTransfer-Encoding: chunked"),
    "row 12": HEAD + b"\r\rX",
    "row 13, NUL": fields(b"X: a\x00b"),
    "row 13, name": fields(b"X(y): 1"),
    **{
        f"rows 14, 15, 18 {size[:20]!r}": CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n"
        for size in _SIZES
    },
    "row 16": CHUNKED + b"3\r\nxxx__1a\r\n0\r\n\r\n",
    "row 17, last chunk": CHUNKED + b"0\r\nX:POST / HTTP/1.1\r\n\rX\r\n",
    "row 17, between chunks": CHUNKED + b"1\r\na\r\n\r\n1\r\nb\r\n0\r\n\r\n",
    "row 18, many extensions": CHUNKED + b"1;%b\r\na\r\n" % (b"e" * 1_000) * 40,
    "row 20, length": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "row 20, host": CHUNKED + b"0\r\nHost: evil\r\n\r\n",
    "row 20, coding": CHUNKED + b"0\r\nTransfer-Encoding: x\r\n\r\n",
    "row 22": fields(b"Expect: x 100-continue", b"Content-Length: 5", body=b"hello"),
    "row 26, CONNECT": b"CONNECT HOST:443 HTTP/1.1\r\nHost: HOST:443\r\n\r\n",
    "row 26, TRACE": b"TRACE / HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "row 26, h2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "row 26, 0.9": b"GET /\r\n",
    "row 26, 1.32": b"GET / HTTP/1.32\r\nHost: HOST\r\n\r\n",
    "row 26, 9.9": b"GET / HTTP/9.9\r\nHost: HOST\r\n\r\n",
    "row 31, none": b"GET / HTTP/1.1\r\n\r\n",
    "row 31, two": b"GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
    **{f"row 31 {value!r}": host(value) for value in _HOSTS},
    **{f"row 36 {value!r}": target(value) for value in _TARGETS},
    "row 85, line": target(b"/" + b"a" * 8_192),
    "row 85, block": fields(*[b"X: " + b"a" * 8_000] * 5),
    "row 85, fields": fields(*[b"X: 1"] * 101),
}
