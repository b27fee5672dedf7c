"""JSON request bodies, read strictly: RFC 8259 and nothing else, bounded in size and depth.

What passes can be stored, sent to a manager and sent back: finite numbers of at most 64 bits, no
lone surrogates, no deep nesting. Everything else is the sender's mistake, never an internal error.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

BODY_LIMIT_BYTES = 1_048_576
MAX_DEPTH = 64

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def parse_json(body: bytes) -> Any:
    """The value the body holds.

    Raises:
        ValueError: it is not acceptable; the text says why.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ValueError(f"invalid UTF-8 at byte {exc.start}") from exc
    try:
        value = json.loads(
            text, parse_constant=_no_constant, parse_int=_small_int, parse_float=_finite
        )
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    # Only bodies that could break a rule pay for the look.
    if text.count("[") + text.count("{") > MAX_DEPTH and depth_exceeds(value, MAX_DEPTH):
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as exc:
            raise ValueError("a string holds half of a surrogate pair") from exc
    return value


class StrictRequest(Request):
    """A request whose body is bounded and whose JSON is strict."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body's pieces, until they are too many."""
        total = 0
        async for piece in super().stream():
            total += len(piece)
            if total > BODY_LIMIT_BYTES:
                raise HTTPException(413, f"the body is larger than {BODY_LIMIT_BYTES} bytes")
            yield piece

    async def json(self) -> Any:
        """The body's value. HTTPException 400 when it is not acceptable JSON."""
        try:
            return parse_json(await self.body())
        except ValueError as exc:
            raise HTTPException(400, f"the body is not valid JSON: {exc}") from exc


class StrictRoute(APIRoute):
    """A route that reads its body with `StrictRequest`."""

    def get_route_handler(self) -> Handler:
        """FastAPI's handler, given a stricter request."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _small_int(digits: str) -> int:
    # First by length: int() of a very long text is slow, and raises by itself past a limit.
    if len(digits) <= 20 and -(2**63) <= (value := int(digits)) < 2**64:
        return value
    raise ValueError("a number has more than 64 bits")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number is too large")
    return value


def depth_exceeds(value: Any, limit: int) -> bool:
    """Whether mappings and lists are nested deeper than `limit` levels."""
    level = [value]
    for _ in range(limit + 1):
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            return False
        level = [
            inner for item in level for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return True
