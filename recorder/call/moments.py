"""Moments by a clock that was set meanwhile: the same ones, as the clock would have had them.

Pure. The invariant: whatever is moved keeps every duration in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, cast

NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""A moment that has not come; no clock moves it."""
Kind = TypeVar("Kind")


def shifted(value: Kind, by: timedelta) -> Kind:
    """The same with every moment in it later by `by`: of a moment, a dataclass, a tuple or a mapping, however deep."""
    moved: Any = value
    if isinstance(value, datetime):
        moved = value if value == NEVER else value + by
    elif is_dataclass(value) and not isinstance(value, type):
        parts = {entry.name: getattr(value, entry.name) for entry in fields(value)}
        changed = {name: new for name, part in parts.items() if (new := shifted(part, by)) is not part}
        moved = replace(value, **changed) if changed else value
    elif isinstance(value, tuple):
        found = tuple(shifted(part, by) for part in value)
        moved = found if any(new is not old for new, old in zip(found, value, strict=True)) else value
    elif isinstance(value, Mapping):
        entries = {key: shifted(part, by) for key, part in value.items()}
        moved = entries if any(entries[key] is not value[key] for key in entries) else value
    return cast(Kind, moved)
