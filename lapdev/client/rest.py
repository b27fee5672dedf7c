"""The REST client: one call in, its JSON out, every failure a `LapdevError` with a remedy."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import quote

import httpx

from lapdev.account import Account
from lapdev.errors import ConnectFailed, LapdevError, LoginRequired, UpstreamClosed, UpstreamError
from lapdev.net.address import TcpAddress, parse_address
from lapdev.net.tls import dial_failure
from lapdev.net.way_out import WayOut

CALL_TIMEOUT = 30.0
DELETE_TIMEOUT = 120.0
"""Deleting answers when nothing runs any more."""

Json = dict[str, Any]


class ApiError(LapdevError):
    """The server refused."""

    cause = "api_error"

    def __init__(self, status: int, cause: str, detail: str, hint: str) -> None:
        super().__init__(detail, hint=hint)
        self.answer_status = status
        self.cause = cause


class RestClient:
    """Calls of `/api/v1` on one server. Use as a context manager."""

    def __init__(self, account: Account, timeout: float = CALL_TIMEOUT) -> None:
        """`timeout`: seconds an answer may take."""
        self._timeout = timeout
        server = account.server.rstrip("/")
        socket_path = server.removeprefix("unix:") if server.startswith("unix:") else None
        self._server = server
        base = "http://localhost" if socket_path else server
        loopback = socket_path is not None or is_loopback(httpx.URL(base).host)
        way = WayOut.from_environ(os.environ, account.ca_file)
        verify: ssl.SSLContext | bool = way.context() if base.startswith("https:") else True
        transport = _LocalNames(uds=socket_path, verify=verify) if loopback else None
        self._client = httpx.Client(
            base_url=f"{base}/api/v1",
            headers={"authorization": f"Bearer {account.token}"},
            timeout=timeout,
            transport=transport,
            verify=verify,
            proxy=None if socket_path else _proxy_of(way, base),
            trust_env=False,  # the proxies of the environment are ours to choose, as for tunnels
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def call(self, method: str, *path: str, body: object = None, query: Json | None = None) -> Json:
        """The answer's JSON; empty when it has none. `path` is given in segments, unescaped.

        Raises:
            ApiError: the server's own reason.
            LoginRequired: the token is not valid there.
            ConnectFailed: nothing answers at the server's address.
        """
        target = _target(path)
        timeout = DELETE_TIMEOUT if method == "DELETE" else self._timeout
        try:
            answer = self._client.request(method, target, json=body, params=query, timeout=timeout)
        except httpx.TimeoutException as exc:
            raise UpstreamError(
                f"{self._server} did not answer within {timeout:g} s", hint="try again"
            ) from exc
        except httpx.HTTPError as exc:
            raise self._unreachable(exc) from exc
        if not answer.is_success:
            raise _error_of(answer)
        return cast("Json", answer.json()) if answer.content else {}

    def lines(self, *path: str, query: Json) -> Iterator[Json]:
        """Each line of an answer of JSON lines, as it comes; they may be any time apart.

        Raises:
            ApiError: the server's own reason.
            LoginRequired: the token is not valid there.
            ConnectFailed: nothing answers at the server's address.
            UpstreamClosed: the connection was lost within the answer, or the server says in it
                what ended it.
        """
        timeout = httpx.Timeout(self._timeout, read=None)
        opened = False
        try:
            with self._client.stream("GET", _target(path), params=query, timeout=timeout) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _error_of(answer)
                opened = True
                for text in _split(answer.iter_bytes()):
                    line = json.loads(text)
                    if "error" in line:  # what ended the answer before its end
                        error = line["error"]
                        raise UpstreamClosed(error["detail"], hint=error["hint"])
                    yield line
        except httpx.HTTPError as exc:
            if opened:
                raise UpstreamClosed(f"lost the connection to {self._server}: {exc}") from exc
            raise self._unreachable(exc) from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise UpstreamError(
                f"{self._server} sent a line that is not one of ours", hint="try again"
            ) from exc

    def _unreachable(self, exc: httpx.HTTPError) -> ConnectFailed:
        cause: BaseException | None = exc
        while cause is not None:  # httpx and httpcore each wrap it
            if isinstance(cause, ssl.SSLError):
                return dial_failure(self._server, cause)
            cause = cause.__cause__ or cause.__context__
        hint = "check that the server runs and that LAPDEV_SERVER names it"
        if isinstance(exc, httpx.ProxyError):
            hint = "that is the proxy of HTTPS_PROXY or HTTP_PROXY: check its name and password"
        return ConnectFailed(f"cannot reach {self._server}: {exc}", hint=hint)


def _proxy_of(way: WayOut, server: str) -> httpx.Proxy | None:
    """None also for this machine: no proxy leads back to it."""
    address = parse_address(server)
    proxy = way.proxy_for(address) if isinstance(address, TcpAddress) else None
    if proxy is None:
        return None
    headers = {"proxy-authorization": proxy.authorization} if proxy.authorization else None
    context = way.context() if proxy.tls else None
    scheme = "https" if proxy.tls else "http"
    return httpx.Proxy(f"{scheme}://{proxy}", headers=headers, ssl_context=context)


def _target(path: Sequence[str]) -> str:
    return "/" + "/".join(quote(segment, safe="") for segment in path)


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines end at a newline and nowhere else: text in JSON may hold other separators."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from filter(None, whole)
    if rest:
        yield rest


def is_loopback(host: str) -> bool:
    """The name or address is this machine's own."""
    return host in ("127.0.0.1", "::1", "localhost") or host.endswith(".localhost")


class _LocalNames(httpx.HTTPTransport):
    """Takes every `*.localhost` to 127.0.0.1 (RFC 6761 §6.3): not every resolver does."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host.endswith(".localhost"):
            # The Host header was made from the original URL and stays, and so does the name that
            # the certificate must be for.
            request.extensions = {**request.extensions, "sni_hostname": request.url.host}
            request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)


def _error_of(answer: httpx.Response) -> LapdevError:
    try:
        fields = answer.json()["error"]
        cause, detail, hint = (str(fields[name]) for name in ("cause", "detail", "hint"))
    except (ValueError, KeyError, TypeError):
        hint = "check that LAPDEV_SERVER names a lapdev server"
        if answer.status_code == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
            hint = "a proxy wants a name and password: put them into HTTPS_PROXY or HTTP_PROXY"
        elif answer.status_code == httpx.codes.BAD_REQUEST and answer.url.scheme == "http":
            hint += "; does it speak https:// there?"
        return UpstreamError(
            f"the server answered {answer.status_code} without an error of ours", hint=hint
        )
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return LoginRequired(detail, hint="set LAPDEV_TOKEN_FILE to a file with a valid token")
    return ApiError(answer.status_code, cause, detail, hint)
