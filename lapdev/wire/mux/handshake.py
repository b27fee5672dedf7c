"""HELLO and WELCOME as values. Each travels alone, in the first message of its direction."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from lapdev.errors import RemoteProtocolError
from lapdev.wire.mux.frames import (
    MAX_LINKS,
    MAX_OFFSET,
    PROTOCOL_VERSION,
    FrameType,
    Message,
    decode,
    encode,
    violation,
)

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OPTIONAL_ID = re.compile(r"[A-Za-z0-9_-]{0,64}")
_ROLE = re.compile(r"[a-z]{1,16}")

# A dialler has to keep as much as the acceptor may send at first: no more than windows grow to.
MAX_SESSION_WINDOW = 67_108_864
MAX_STREAM_WINDOW = 33_554_432


@dataclass(frozen=True, slots=True)
class Hello:
    """Who dials. The credential travelled before, in the websocket's request."""

    role: str
    instance: str
    """One running process: a random id made when it started."""
    session: str
    """One logical tunnel of that instance; outlives its connections."""
    resume: bool = False
    """The dialler still holds the session, and wants to go on with it."""
    link: int = 0
    replaces: str = ""
    """The instance this one has taken the place of, if it knows: its streams end at once."""
    version: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class Welcome:
    """The acceptor's answer: what both ends go by. Bytes and milliseconds."""

    instance: str
    session: str
    resumed: bool
    session_window: int
    stream_window: int
    ping_interval_ms: int
    grace_ms: int
    links: int = 1
    """How many connections of one session the acceptor takes."""
    version: int = PROTOCOL_VERSION


def encode_hello(hello: Hello) -> bytes:
    return encode(FrameType.HELLO, asdict(hello))


def encode_welcome(welcome: Welcome) -> bytes:
    return encode(FrameType.WELCOME, asdict(welcome))


def decode_hello(message: Message) -> Hello:
    """The HELLO that is all of the message.

    Raises:
        RemoteProtocolError: it is something else, or malformed, or of another version.
    """
    values = _only_map(message, FrameType.HELLO)
    version = _version(values)  # first: a later version may have other keys
    return Hello(
        role=_matching(values, "role", _ROLE),
        instance=_matching(values, "instance", _ID),
        session=_matching(values, "session", _ID),
        resume=_flag(values, "resume"),
        link=_number(values, "link", MAX_LINKS - 1),
        replaces=_matching(values, "replaces", _OPTIONAL_ID),
        version=version,
    )


def decode_welcome(message: Message) -> Welcome:
    """The WELCOME that is all of the message.

    Raises:
        RemoteProtocolError: it is something else, or malformed, or of another version.
    """
    values = _only_map(message, FrameType.WELCOME)
    version = _version(values)  # first: a later version may have other keys
    return Welcome(
        instance=_matching(values, "instance", _ID),
        session=_matching(values, "session", _ID),
        resumed=_flag(values, "resumed"),
        session_window=_number(values, "session_window", MAX_SESSION_WINDOW),
        stream_window=_number(values, "stream_window", MAX_STREAM_WINDOW),
        ping_interval_ms=_number(values, "ping_interval_ms"),
        grace_ms=_number(values, "grace_ms"),
        links=_number(values, "links", MAX_LINKS),
        version=version,
    )


def _only_map(message: Message, wanted: FrameType) -> dict[str, Any]:
    frames = decode(message)
    if len(frames) != 1 or frames[0][0] != wanted:
        raise violation(f"the first message is not one {wanted.name} frame")
    values: dict[str, Any] = frames[0][1]
    return values


def _version(values: dict[str, Any]) -> int:
    version = _number(values, "version")
    if version != PROTOCOL_VERSION:
        raise violation(f"protocol version {version}; this end speaks {PROTOCOL_VERSION}")
    return version


def _matching(values: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = values.get(name)
    if type(value) is not str or not pattern.fullmatch(value):
        raise _bad(name)
    return value


def _number(values: dict[str, Any], name: str, most: int = MAX_OFFSET) -> int:
    value = values.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise _bad(name)
    return value


def _flag(values: dict[str, Any], name: str) -> bool:
    value = values.get(name)
    if type(value) is not bool:
        raise _bad(name)
    return value


def _bad(name: str) -> RemoteProtocolError:
    return violation(f"handshake: bad {name}")
