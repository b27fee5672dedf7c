"""The one place where an error becomes a response: a page for people, JSON for programs.

Both say what failed, where, and what to do next; the header `lapdev-error` carries the same for
logs and scripts. Nothing from the request is echoed but what HTML escaping makes harmless.
"""

from __future__ import annotations

import html
import json
import re
from http import HTTPStatus

from lapdev.errors import LapdevError, RemoteProtocolError
from lapdev.net.exchange import Exchange
from lapdev.wire.http1 import Headers, header

RETRY_AFTER_SECONDS = 2

ERROR_HEADER = b"lapdev-error"

_WORD = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{status} {title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
{refresh}<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.6 system-ui, sans-serif; margin: 0; min-height: 100vh; display: grid;
  place-items: center; background: Canvas; color: CanvasText }}
main {{ max-width: 36rem; padding: 2rem }}
p.code {{ font-size: .85rem; letter-spacing: .08em; opacity: .65; margin: 0 }}
h1 {{ font-size: 1.6rem; line-height: 1.25; margin: .3rem 0 1rem }}
p.hint {{ border-left: 3px solid #4c7df0; padding-left: 1rem }}
code {{ font: .85rem ui-monospace, monospace; opacity: .75 }}
</style></head><body><main>
<p class="code">{status} {title}</p><h1>{detail}</h1>
{hint}<p><code>{cause} &middot; {hop}</code></p>
</main></body></html>
"""


def respond_error(exchange: Exchange, error: LapdevError, hop: str) -> None:
    """The exchange is answered with `error`; a response already under way is aborted instead."""
    # Both may be a tunnel peer's own words, and a header is no place for whatever they say.
    cause = error.cause if _WORD.fullmatch(error.cause) else type(error).cause
    hop = error.hop if _WORD.fullmatch(error.hop) else hop
    exchange.error = cause
    if exchange.response_started:
        exchange.abort(cause)
        return
    status = error.answer_status if isinstance(error, RemoteProtocolError) else error.status
    headers: Headers = [
        (ERROR_HEADER, f"{cause}; hop={hop}".encode()),
        (b"cache-control", b"no-store"),
    ]
    if status == 503:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if is_navigation(exchange.request.headers):
        headers.append((b"content-type", b"text/html; charset=utf-8"))
        body = _html(error, status, hop)
    else:
        headers.append((b"content-type", b"application/json"))
        body = error_json(error, hop)
    exchange.respond(status, headers, body)


def error_json(error: LapdevError, hop: str = "") -> bytes:
    """The one shape of an error in JSON."""
    fields = {"cause": error.cause, "detail": error.detail, "hint": error.hint}
    if hop:
        fields["hop"] = hop
    return json.dumps({"error": fields}).encode() + b"\n"


def is_navigation(headers: Headers) -> bool:
    """A person is looking: a browser fetches a document (Fetch metadata, else Accept)."""
    mode = header(headers, b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate"
    return b"text/html" in (header(headers, b"accept") or b"")


def _html(error: LapdevError, status: int, hop: str) -> bytes:
    hint = f'<p class="hint">{html.escape(error.hint)}</p>\n' if error.hint else ""
    refresh = '<meta http-equiv="refresh" content="3">\n' if status == 503 else ""
    return _PAGE.format(
        status=status,
        title=HTTPStatus(status).phrase,
        detail=html.escape(error.detail),
        hint=hint,
        refresh=refresh,
        cause=html.escape(error.cause),
        hop=html.escape(hop),
    ).encode()
