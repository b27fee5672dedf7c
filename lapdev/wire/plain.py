"""Dataclasses as values that msgpack and JSON can carry, and back, checked.

Unknown fields are ignored and missing ones take their default, so that two versions understand each
other; a wrong type is refused by the field's name. Nothing here knows what the dataclasses mean.

What each type needs is worked out once: a report of a hundred workloads is some thousand values,
and comes with every change of one of them.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from lapdev.errors import RemoteProtocolError

T = TypeVar("T")
_Read = Callable[[Any], Any]

_AS_IT_IS = frozenset({str, int, float, bool, bytes, type(None)})


class _MisfitError(Exception):
    """A value that is not what belongs there; the fields that lead to it, innermost first."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.path: list[str] = []


def from_plain(cls: type[T], value: object) -> T:
    """The dataclass `cls` made of a map, checked field by field.

    Raises:
        RemoteProtocolError: missing field or wrong type; names the field.
    """
    try:
        return cast("T", _reader(cls)(value))
    except _MisfitError as exc:
        where = ".".join([cls.__name__, *reversed(exc.path)])
        raise RemoteProtocolError(f"{where}{exc}") from exc


def to_plain(value: Any) -> Any:
    """Dataclasses as maps, enums as text, tuples as lists, all the way down."""
    cls = type(value)
    if cls in _AS_IT_IS:
        return value
    if (names := _field_names.get(cls)) is not None:
        return {name: to_plain(getattr(value, name)) for name in names}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        # A map's keys are text on the wire, as in JSON: other keys are what decoders refuse.
        return {str(key): to_plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        _field_names[cls] = tuple(field.name for field in dataclasses.fields(value))
        return to_plain(value)
    return value


_field_names: dict[type[Any], tuple[str, ...]] = {}
_readers: dict[Any, _Read] = {}


def _reader(wanted: Any) -> _Read:
    """What checks a plain value for the type `wanted`, and makes it one."""
    known = _readers.get(wanted)
    if known is None:
        known = _readers[wanted] = _new_reader(wanted)
    return known


def _new_reader(wanted: Any) -> _Read:
    while isinstance(wanted, typing.NewType):
        wanted = wanted.__supertype__
    origin, arguments = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return lambda value: value
    if origin in (Union, types.UnionType):
        return _union_reader(arguments)
    if origin is tuple:
        return _tuple_reader(wanted, _reader(arguments[0]))
    if origin is dict:
        return _map_reader(wanted, _reader(arguments[0]), _reader(arguments[1]))
    if dataclasses.is_dataclass(wanted):
        return _object_reader(cast("type[Any]", wanted))
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        return _enum_reader(wanted)
    return _exact_reader(wanted)


def _exact_reader(wanted: Any) -> _Read:
    def read(value: Any) -> Any:
        if type(value) is wanted:  # bool is not an int here
            return value
        raise _misfit(value, wanted)

    return read


def _enum_reader(wanted: type[StrEnum]) -> _Read:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise _misfit(value, wanted)
        try:
            return wanted(value)
        except ValueError as exc:
            raise _MisfitError(f": {value!r:.60} is not a {wanted.__name__}") from exc

    return read


def _tuple_reader(wanted: Any, item: _Read) -> _Read:
    def read(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _misfit(value, wanted)
        return tuple(map(item, value))

    return read


def _map_reader(wanted: Any, key: _Read, item: _Read) -> _Read:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _misfit(value, wanted)
        return {key(name): item(found) for name, found in value.items()}

    return read


def _union_reader(options: tuple[Any, ...]) -> _Read:
    readers = [_reader(option) for option in options if option is not type(None)]
    nothing = len(readers) < len(options)

    def read(value: Any) -> Any:
        if value is None and nothing:
            return None
        for reader in readers:
            try:
                return reader(value)
            except _MisfitError:
                continue
        raise _MisfitError(f": a {type(value).__name__} fits no option")

    return read


def _object_reader(cls: type[Any]) -> _Read:
    hints = get_type_hints(cls)
    missing = dataclasses.MISSING
    fields = [
        (f.name, _reader(hints[f.name]), f.default is missing and f.default_factory is missing)
        for f in dataclasses.fields(cls)
    ]

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _MisfitError(f": a {type(value).__name__} where a map belongs")
        known: dict[str, Any] = {}
        for name, reader, required in fields:
            if name in value:
                try:
                    known[name] = reader(value[name])
                except _MisfitError as exc:
                    exc.path.append(name)
                    raise
            elif required:
                raise _MisfitError(f".{name} is missing")
        return cls(**known)

    return read


def _misfit(value: object, wanted: Any) -> _MisfitError:
    return _MisfitError(f": a {type(value).__name__} where {wanted} belongs")
