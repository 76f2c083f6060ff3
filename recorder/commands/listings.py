"""`recorder recordings`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console

from recorder.catalogue import RecordingRow
from recorder.commands.asking import AT_MOST, Json, Limit, Line, Since, ask, moment, settings_of, storage_of
from recorder.commands.display import (
    Column,
    aligned,
    amount,
    at,
    has_page,
    lasting,
    print_json,
    screen,
    short,
    text,
)
from recorder.model import RecordingStatus
from recorder.storage import Storage

RECORDING_COLUMNS = (
    Column(name="id"),
    Column(name="call", page=True),
    Column(name="authorised (UTC)"),
    Column(name="line"),
    Column(name="by", wide=True),
    Column(name="status"),
    Column(name="length", right=True),
    Column(name="remarks"),
    Column(name="path", page=True),
)


def recordings(
    context: typer.Context,
    limit: Limit = AT_MOST,
    line: Line = None,
    status: Annotated[RecordingStatus | None, typer.Option(help="Only recordings that stand so.")] = None,
    since: Since = None,
    as_json: Json = False,
) -> None:
    """List recordings, the newest first, and where each settled one lies."""
    start = moment(since, datetime.now(UTC))
    settings = settings_of(context)
    storage = storage_of(settings)
    rows = ask(settings, lambda catalogue: catalogue.list_recordings(limit, line=line, status=status, since=start))
    if as_json:
        print_json([recording_shown(row, storage) for row in rows])
        return
    console = screen()
    if not rows:
        screen(error=True).print("No recordings match.")
    else:
        _print_recordings(console, rows, storage)
    if len(rows) == limit:
        screen(error=True).print(f"These are the newest {limit}; --limit shows more.")


def recording_shown(row: RecordingRow, storage: Storage) -> dict[str, Any]:
    """The recording as --json has it; `path` where it is settled."""
    is_settled = row.status is RecordingStatus.SETTLED
    return {
        "id": row.id,
        "call": row.call,
        "line": row.line,
        "status": row.status,
        "sealed": row.sealed,
        "authorised_at": row.authorised_at,
        "bridged_at": row.bridged_at,
        "settled_at": row.settled_at,
        "bridged_seconds": row.bridged_seconds,
        "samples": row.samples,
        "rate": row.rate,
        "sha256": row.sha256,
        "size": row.size,
        "findings": row.findings,
        "path": storage.path(row.id, row.authorised_at) if is_settled else None,
        "authorising_state": row.authorising_state,
        "reason": row.reason,
    }


def amount_of(row: RecordingRow) -> str:
    return f"{lasting(seconds_of(row))} of audio at {row.rate} Hz, {amount(row.size or 0)}"


def seconds_of(row: RecordingRow) -> float | None:
    return row.samples / row.rate if row.samples is not None and row.rate else None


def _cells(console: Console, row: RecordingRow, storage: Storage) -> tuple[object, ...]:
    return (
        short(row.id, console),
        short(row.call, console),
        at(row.authorised_at, console),
        row.line,
        row.authorising_state,
        row.status,
        lasting(seconds_of(row)),
        _said(row),
        storage.path(row.id, row.authorised_at) if row.status is RecordingStatus.SETTLED else "",
    )


def _said(row: RecordingRow) -> str:
    """What a listener should know before: sealed, findings, why it failed."""
    words = ["sealed"] if row.sealed else []
    return ", ".join([*words, *row.findings, *([str(row.reason)] if row.reason else [])])


def _print_recordings(console: Console, rows: tuple[RecordingRow, ...], storage: Storage) -> None:
    """With the path at the end of the line where there is room, else on a line of its own that can be copied whole."""
    has_room = has_page(console)
    lines = aligned(console, RECORDING_COLUMNS, [_cells(console, row, storage) for row in rows])
    console.print(lines[0], soft_wrap=True)
    for row, line in zip(rows, lines[1:], strict=True):
        console.print(line, soft_wrap=True)
        if row.status is RecordingStatus.SETTLED and not has_room:
            console.print(text(storage.path(row.id, row.authorised_at), style="dim"), soft_wrap=True)
