"""Events as flat rows and back: the only translation between the machine's events and the catalogue's journal.

A field is one JSON text. The names are the dataclasses' own, so a renamed event or field needs a migration.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any, cast
from uuid import UUID

from recorder import model
from recorder.call import events
from recorder.call.events import CallEvent, OwnEvent
from recorder.model import PbxEvent

EVENT_TYPES: Mapping[str, type[CallEvent]] = {
    kind.__name__: kind
    for module in (model, events)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, PbxEvent | OwnEvent) and kind not in (PbxEvent, OwnEvent)
}


def fields_from_event(event: CallEvent) -> tuple[str, dict[str, str]]:
    """The event's name and its fields, each as JSON; a field that is None by default is left out while it is None."""
    flat = {
        name: _json(_plain(value))
        for name, left_out in _names(cast(Any, type(event)))
        if (value := getattr(event, name)) is not None or not left_out
    }
    return type(event).__name__, flat


def event_from_fields(name: str, flat: Mapping[str, str]) -> CallEvent:
    """The event again; KeyError for a name that this version does not know."""
    kind = EVENT_TYPES[name]
    readers: dict[str, Any] = _readers(cast(Any, kind))
    return kind(**{key: readers[key](json.loads(text)) for key, text in flat.items()})


# Every step of every call is written by what follows: made once, and what is most frequent first.
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@cache
def _names(kind: Any) -> tuple[tuple[str, bool], ...]:
    """The fields of a dataclass, each with whether it is left out while it is None."""
    return tuple((entry.name, entry.default is None) for entry in fields(kind))


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in (str, int, float, bool) or value is None:
        return value
    if is_dataclass(kind):
        return {name: _plain(getattr(value, name)) for name, _ in _names(kind)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, frozenset):
        return sorted(_plain(inner) for inner in value)
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value


@cache
def _readers(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {entry.name: _reader(hints[entry.name]) for entry in fields(kind)}


def _reader(hint: Any) -> Any:
    hint = getattr(hint, "__supertype__", hint)  # a NewType reads as what it is made of
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = _reader(next(part for part in inside if part is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin in (tuple, frozenset):
        inner = _reader(inside[0])
        return lambda value: origin(inner(part) for part in value)
    if origin is dict:
        inner = _reader(inside[1])
        return lambda value: {key: inner(part) for key, part in value.items()}
    if is_dataclass(hint):
        made: Any = hint
        readers = _readers(made)
        return lambda value: made(**{key: readers[key](part) for key, part in value.items()})
    if hint is datetime:
        return datetime.fromisoformat
    if hint is timedelta:
        return lambda value: timedelta(seconds=value)
    if hint in (str, int, float, bool):
        return lambda value: value
    return hint  # an enum or UUID reads its own text
