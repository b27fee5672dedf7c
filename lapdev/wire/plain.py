"""Dataclasses as values that msgpack and JSON can carry, and back, checked.

Unknown fields are ignored and missing ones take their default, so that two versions understand each
other; a wrong type is refused by the field's name. Nothing here knows what the dataclasses mean.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import StrEnum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from lapdev.errors import RemoteProtocolError

T = TypeVar("T")


def from_plain(cls: type[T], value: object) -> T:
    """The dataclass `cls` made of a map, checked field by field.

    Raises:
        RemoteProtocolError: missing field or wrong type; names the field.
    """
    return cast("T", _from_plain(cls, value, cls.__name__))


_known_fields: dict[type[Any], tuple[tuple[str, Any, bool], ...]] = {}


def _fields(cls: type[Any]) -> tuple[tuple[str, Any, bool], ...]:
    """(name, resolved type, required) of each field."""
    known = _known_fields.get(cls)
    if known is None:
        known = _known_fields[cls] = _resolve_fields(cls)
    return known


def _resolve_fields(cls: type[Any]) -> tuple[tuple[str, Any, bool], ...]:
    hints = get_type_hints(cls)
    missing = dataclasses.MISSING
    return tuple(
        (f.name, hints[f.name], f.default is missing and f.default_factory is missing)
        for f in dataclasses.fields(cls)
    )


def to_plain(value: Any) -> Any:
    """Dataclasses as maps, enums as text, tuples as lists, all the way down."""
    if dataclasses.is_dataclass(value):
        return {name: to_plain(getattr(value, name)) for name, _, _ in _fields(type(value))}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        # A map's keys are text on the wire, as in JSON: other keys are what decoders refuse.
        return {str(key): to_plain(item) for key, item in value.items()}
    return value


def _from_plain(wanted: Any, value: object, where: str) -> Any:
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        return _object_from_plain(wanted, value, where)
    while isinstance(wanted, typing.NewType):
        wanted = wanted.__supertype__
    origin, arguments = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return value
    if origin in (Union, types.UnionType):
        return _union_from_plain(arguments, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_from_plain(arguments[0], item, where) for item in value)
    if origin is dict and isinstance(value, dict):
        key_type, item_type = arguments
        return {
            _from_plain(key_type, key, where): _from_plain(item_type, item, where)
            for key, item in value.items()
        }
    if isinstance(wanted, type) and issubclass(wanted, StrEnum) and isinstance(value, str):
        try:
            return wanted(value)
        except ValueError as exc:
            raise RemoteProtocolError(f"{where}: {value!r:.60} is not a {wanted.__name__}") from exc
    if isinstance(wanted, type) and type(value) is wanted:  # bool is not an int here
        return value
    raise RemoteProtocolError(f"{where}: a {type(value).__name__} where {wanted} belongs")


def _object_from_plain(cls: type[Any], value: object, where: str) -> Any:
    if not isinstance(value, dict):
        raise RemoteProtocolError(f"{where}: a {type(value).__name__} where a map belongs")
    known: dict[str, Any] = {}
    for name, wanted, required in _fields(cls):
        if name in value:
            known[name] = _from_plain(wanted, value[name], f"{where}.{name}")
        elif required:
            raise RemoteProtocolError(f"{where}.{name} is missing")
    return cls(**known)


def _union_from_plain(options: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    for option in options:
        if option is type(None):
            continue
        try:
            return _from_plain(option, value, where)
        except RemoteProtocolError:
            continue
    raise RemoteProtocolError(f"{where}: a {type(value).__name__} fits no option")
