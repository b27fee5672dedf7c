"""The grammar of HTTP/1.1 messages as compiled patterns, each under its clause.

Only patterns live here; what an impossible message is answered with is decided by the scanners and
parsers. All of them work on bytes: `str` methods would let `\\x85` be a space and U+212A be a `k`.

Matching is linear: repeated classes are possessive (`++`, `*+`), and repeated groups end in a
delimiter that their classes do not contain. Groups are never possessive: CPython before 3.11.5
loses its place when such a group fails half-way (gh-106052), and took `a..` for a host.
"""

from __future__ import annotations

import re

# RFC 9110 §5.6.2
#   token = 1*tchar
#   tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~"
#           / DIGIT / ALPHA
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
TOKEN = re.compile(_TOKEN)

# RFC 9110 §5.5
#   field-content = field-vchar [ 1*( SP / HTAB / field-vchar ) field-vchar ]
#   field-vchar   = VCHAR / obs-text
# CR, LF and NUL "MUST" be refused; every other control character may be, and is.
_FIELD_TEXT = rb"[\t\x20-\x7e\x80-\xff]*+"

# RFC 9112 §5
#   field-line = field-name ":" OWS field-value OWS
# No whitespace before the colon (§5.1) and no obs-fold (§5.2): both have smuggled requests.
_FIELD_LINE = _TOKEN + rb":" + _FIELD_TEXT
FIELD_LINE = re.compile(_FIELD_LINE)

# The same, to take a section that was already validated apart: (name, value without outer OWS).
FIELDS = re.compile(rb"([^:\r]++):[ \t]*+([^\r]*[^\r \t])?[ \t]*+\r\n")

# RFC 9112 §3
#   request-line   = method SP request-target SP HTTP-version
# RFC 9112 §3.2: a target has no whitespace; RFC 3986 §2 leaves visible ASCII. Browsers send some
# characters unencoded that RFC 3986 wants encoded (`|`, `{`, `"`), so all but "#" pass here: a
# fragment never crosses the wire.
_REQUEST_LINE = rb"(" + _TOKEN + rb') ([!-"$-~]++) HTTP/1\.([01])'
REQUEST_LINE = re.compile(_REQUEST_LINE)

# A line that is well formed but for its version (RFC 9112 §2.3 has single digits): 505, not 400.
OTHER_VERSION = re.compile(_TOKEN + rb" [!-~]++ HTTP/(?!1\.[01]\Z)[0-9]++\.[0-9]++")

# RFC 9112 §2.1: HTTP-message = start-line CRLF *( field-line CRLF ) CRLF [ message-body ]
_FIELD_SECTION = rb"((?:" + _FIELD_LINE + rb"\r\n)*)\r\n"
REQUEST_HEAD = re.compile(_REQUEST_LINE + rb"\r\n" + _FIELD_SECTION)

# RFC 9112 §4
#   status-line   = HTTP-version SP status-code SP [ reason-phrase ]
#   status-code   = 3DIGIT
# Old servers leave out the second SP with the reason; RFC 9110 §15 has the classes 1 to 5.
_STATUS_LINE = rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: (" + _FIELD_TEXT + rb"))?"
STATUS_LINE = re.compile(_STATUS_LINE)
RESPONSE_HEAD = re.compile(_STATUS_LINE + rb"\r\n" + _FIELD_SECTION)

# RFC 9110 §8.6
#   Content-Length = 1*DIGIT
# Never int() on what this did not match: it takes "_", "+", spaces and Unicode digits. A leading
# zero is octal to somebody, and 18 digits fit a signed 64-bit integer everywhere.
CONTENT_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")

# RFC 9112 §6.1: Transfer-Encoding = #transfer-coding; here without parameters.
TRANSFER_CODINGS = re.compile(_TOKEN + rb"(?:[ \t]*+,[ \t]*+" + _TOKEN + rb")*")

# RFC 9112 §7.1
#   chunk      = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
#   chunk-size = 1*HEXDIG
#   chunk-ext  = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
#   chunk-ext-val = token / quoted-string
# RFC 9110 §5.6.4
#   quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE
# A CR or LF inside an extension is what "funky chunks" are made of: the class has neither.
# 15 digits stay below 2^63 for every reader.
_QDTEXT = rb"[\t !\x23-\x5b\x5d-\x7e\x80-\xff]*+"
_QUOTED = rb'"' + _QDTEXT + rb"(?:\\[\t\x20-\x7e\x80-\xff]" + _QDTEXT + rb')*"'
_CHUNK_EXTENSION = (
    rb"[ \t]*+;[ \t]*+" + _TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
)
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})((?:" + _CHUNK_EXTENSION + rb")*)\r\n")
PLAIN_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")

# RFC 3986 §3.2.2, RFC 9110 §7.2
#   Host = uri-host [ ":" port ]
# Of reg-name we take what a DNS name or an IPv4 address can be made of, and "_": sub-delims and
# percent-encoding only serve to make two readers disagree. Labels are not empty; one dot may end
# the name.
HOST = re.compile(rb"([0-9A-Za-z_~\-]++(?:\.[0-9A-Za-z_~\-]++)*)\.?(?::([0-9]{0,5}))?")

#   IP-literal = "[" ( IPv6address / IPvFuture  ) "]"
#   IPvFuture  = "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )
HOST_LITERAL = re.compile(
    rb"(\[(?:([0-9A-Fa-f:.]++)|[vV][0-9A-Fa-f]++\.[0-9A-Za-z\-._~!$&'()*+,;=:]++)\])"
    rb"(?::([0-9]{0,5}))?"
)
IPV6_GROUP = re.compile(rb"[0-9A-Fa-f]{1,4}")
IPV4 = re.compile(rb"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.|\Z)){4}(?<!\.)")

# RFC 9112 §3.2.2
#   absolute-form = absolute-URI
# "http" and "https" only; an empty path with a query has been read in two ways, so it is refused.
ABSOLUTE_FORM = re.compile(rb"(?i:https?)://([^/?]++)(/.*+)?")

# A bare dot-dot segment, plain or encoded (RFC 3986 §3.3).
DOT_DOT = re.compile(rb"/(?:\.|%2[eE]){2}(?:[/?]|\Z)")
