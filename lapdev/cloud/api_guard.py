"""What stands before and behind every API route: who may call, and the one shape of errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from lapdev.cloud.tokens import sha256_hex
from lapdev.errors import Forbidden, LapdevError, LoginRequired, RemoteProtocolError
from lapdev.net.error_page import ERROR_HEADER, RETRY_AFTER_SECONDS, error_json

_CREDENTIAL_PARAMETERS = frozenset({"token", "access_token", "api_key", "apikey", "authorization"})
_SHOWN_PROBLEMS = 3

_CAUSES = {
    404: ("not_found", "look at /api/v1/openapi.json for what there is"),
    405: ("method_not_allowed", "look at /api/v1/openapi.json for what there is"),
    413: ("body_too_large", "send less"),
    422: ("bad_request", "look at /api/v1/openapi.json for what this call takes"),
}


class TokenGuard:
    """ASGI middleware: nothing below it runs without a valid bearer token, not even a 404.

    Stands before the routes, so that no route can forget it and no stranger's body is read.
    """

    def __init__(self, app: ASGIApp, token_valid: Callable[[str], Awaitable[bool]]) -> None:
        """`token_valid` is asked with the token's SHA-256."""
        self._app = app
        self._token_valid = token_valid

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The request goes on, or is answered 400, 401 or 403."""
        if scope["type"] == "http":
            try:
                await self._check(scope)
            except LapdevError as error:
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _check(self, scope: Scope) -> None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if any(name.lower() in _CREDENTIAL_PARAMETERS for name, _ in query):
            raise RemoteProtocolError(
                "a credential in a URL ends up in logs and histories",
                hint="send it as `Authorization: Bearer TOKEN`, and replace this one",
            )
        headers = Headers(scope=scope)
        if headers.get("sec-fetch-site") == "cross-site":
            raise Forbidden("another site's page may not use the API", hint="use the API directly")
        values = headers.getlist("authorization")
        scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not token:
            raise LoginRequired(
                "no API token was sent", hint="send it as `Authorization: Bearer TOKEN`"
            )
        if not await self._token_valid(sha256_hex(token)):
            raise LoginRequired("the API token is not valid", hint="use a valid token")


def install_error_handlers(app: FastAPI) -> None:
    """Every error of the app has the one shape."""
    app.add_exception_handler(LapdevError, _on_lapdev_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)


def error_response(error: LapdevError) -> Response:
    """The error as a response."""
    status = error.answer_status if isinstance(error, RemoteProtocolError) else error.status
    headers = {ERROR_HEADER.decode(): f"{error.cause}; hop=cloud", "cache-control": "no-store"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="lapdev"'
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    return Response(error_json(error), status, headers, "application/json")


async def _on_lapdev_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, LapdevError)
    return error_response(error)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _answer(422, _problems(error.errors()))


async def _on_http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _answer(error.status_code, str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _on_bug(_: Request, error: Exception) -> Response:
    # Starlette raises it again once the answer is out; the server logs it with its traceback.
    return error_response(LapdevError(hint="the cloud's log has the details"))


def _answer(status: int, detail: str) -> Response:
    cause, hint = _CAUSES.get(status, ("bad_request", ""))
    error = RemoteProtocolError(detail, status=status, hint=hint)
    error.cause = cause
    return error_response(error)


def _problems(errors: Sequence[Any]) -> str:
    """`body.port: Input should be …`, without the input itself: it may be a secret."""
    shown = [
        f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
        for error in errors[:_SHOWN_PROBLEMS]
    ]
    if len(errors) > _SHOWN_PROBLEMS:
        shown.append(f"and {len(errors) - _SHOWN_PROBLEMS} more")
    return "; ".join(shown)
