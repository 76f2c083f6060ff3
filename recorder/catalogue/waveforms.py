"""What analysis drew of each settled recording: one row, put again when it is drawn again, emptied with its audio.

Owns that SQL; must not draw. The invariant: of a recording that is erased no peak is left.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from recorder.catalogue.tables import waveforms
from recorder.model import RecordingId
from recorder.waveform import Waveform


def put(connection: Connection, recording: RecordingId, at: datetime, waveform: Waveform) -> None:
    """Keep it in place of the one before."""
    values: dict[str, Any] = {
        "made_at": at,
        "window_ms": waveform.window_ms,
        "caller": waveform.caller,
        "agent": waveform.agent,
        "silences": waveform.silences,
        "talk_overs": waveform.talk_overs,
    }
    if not _change(connection, recording, values):
        connection.execute(waveforms.insert(), values | {"recording": recording})


def empty(connection: Connection, recording: RecordingId) -> None:
    """Take what was drawn out of it: its sound is erased, and it has none any more."""
    _change(connection, recording, {"caller": b"", "agent": b"", "silences": (), "talk_overs": ()})


def of(connection: Connection, recording: RecordingId) -> Waveform | None:
    """Return what was drawn of it; None where there is nothing."""
    row = connection.execute(select(waveforms).where(waveforms.c.recording == recording)).one_or_none()
    if row is None or not row.caller:
        return None
    return Waveform(
        window_ms=row.window_ms,
        caller=row.caller,
        agent=row.agent,
        silences=tuple((began, ended) for began, ended in row.silences),
        talk_overs=tuple((began, ended) for began, ended in row.talk_overs),
    )


def _change(connection: Connection, recording: RecordingId, values: dict[str, Any]) -> bool:
    changed = connection.execute(update(waveforms).where(waveforms.c.recording == recording).values(values))
    return changed.rowcount == 1
