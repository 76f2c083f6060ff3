"""`recorder status`: what the running daemon says of itself, and where it says nothing, what to do about it."""

from __future__ import annotations

import http.client
import json
from datetime import UTC, datetime
from typing import Any, Final

import typer
from pydantic import ValidationError

from recorder.commands.asking import SOMETHING_WRONG, Json, settings_of
from recorder.commands.display import (
    COLOURS,
    Column,
    amount,
    at,
    number,
    print_json,
    print_line,
    print_table,
    screen,
    short,
)
from recorder.model import RecorderError
from recorder.settings import Settings, host_and_port
from recorder.status import FolderView, Mend, State, Status, mend_of

ANSWERS_WITHIN: Final = 5  # seconds
EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
CALL_COLUMNS = (Column(name="call"), Column(name="line"), Column(name="state"), Column(name="for", right=True))
HEADLINES: Final = {
    State.OK: "calls can be captured",
    State.DEGRADED: "calls can be captured, and something needs a hand",
    State.UNREADY: "nothing new can be captured; calls go on",
}
MENDS: Final = {
    Mend.PBX: (
        "Is Asterisk running, and are [ami] and its manager.conf of one mind? The recorder tries again by itself."
    ),
    Mend.STARTING: "It is just starting, or Asterisk does not answer: look again in a few seconds.",
    Mend.CATALOGUE: (
        "Check the disk or the database server that [catalogue] url names; nothing there needs a restart."
    ),
    Mend.FOLDER: "Mend the folder: its owner, its rights, its room. The recorder looks again every two seconds.",
}


class StatusUnknown(RecorderError):
    """The daemon could not be asked, or did not answer as this version reads."""

    code = "status_unknown"


def status(context: typer.Context, as_json: Json = False) -> None:
    """Ask the running daemon how it stands; exit 1 where it cannot capture or does not answer."""
    settings = settings_of(context)
    try:
        found = status_from(_asked(settings))
    except StatusUnknown as error:
        if as_json:
            print_json({"state": "unknown", "reasons": [str(error)]})
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(SOMETHING_WRONG) from None
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_status(found, datetime.now(UTC))
    if found.state is State.UNREADY:
        raise typer.Exit(SOMETHING_WRONG)


def _asked(settings: Settings) -> Any:
    host, port = host_and_port(settings.http.bind)
    where = settings.http.bind
    token = settings.http.token()
    connection = http.client.HTTPConnection(EVERYWHERE.get(host, host), port, timeout=ANSWERS_WITHIN)
    try:
        connection.request("GET", "/status", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        body = answer.read()
    except TimeoutError:
        raise StatusUnknown(
            f"The recorder at {where} took the question and gave no answer within {ANSWERS_WITHIN} s: it hangs."
            " `systemctl restart recorder` ends no call and no capture."
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise StatusUnknown(
            f"Nothing answers at {where} ({getattr(error, 'strerror', None) or error}): the recorder does not run."
            " Start it with `systemctl start recorder`; `journalctl -u recorder` says why it stopped."
        ) from None
    finally:
        connection.close()
    if answer.status == 401:
        raise StatusUnknown(f"The recorder at {where} wants its token: set [http] token_file to the one it was given.")
    if answer.status != 200:
        raise StatusUnknown(f"What answers at {where} says {answer.status} {answer.reason}: is it the recorder?")
    return _json(body, where)


def _json(body: bytes, where: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise StatusUnknown(
            f"What answers at {where} does not answer as the recorder does: check [http] bind."
        ) from None


def status_from(body: Any) -> Status:
    try:
        return Status.model_validate(body)
    except ValidationError:
        raise StatusUnknown(
            "The running recorder is of another version than this command: restart it, or use the command beside it."
        ) from None


# --------------------------------------------------------------------------- for people


def print_status(found: Status, now: datetime) -> None:
    console = screen()
    headline = f"{found.state.upper()}: {HEADLINES[found.state]}"
    print_line(console, headline, style=COLOURS[found.state])
    for reason in found.reasons:
        print_line(console, f"  {reason}", hang=2)
        if (mend := mend_of(reason)) is not None:
            print_line(console, f"    -> {MENDS[mend]}", hang=3)
    console.print()
    for name, words in _facts(found, now):
        alarms = name == "Lost" and found.lost.last_24h > 0
        print_line(console, f"{name:<12}{words}", hang=12, style="bold red" if alarms else "")
    if found.calls:
        console.print()
        cells = ((short(call.call, console), call.line, call.state, _ago(call.since, now, "")) for call in found.calls)
        print_table(console, CALL_COLUMNS, cells)


def _facts(found: Status, now: datetime) -> list[tuple[str, str]]:
    lost = ", ".join(f"{count} {reason}" for reason, count in found.lost.by_reason.items() if count)
    return [
        ("Recorder", ", ".join(f"{name} {version}" for name, version in found.versions.items())),
        ("Asterisk", _pbx(found, now)),
        ("Calls", f"{len(found.calls)} in progress"),
        ("Spool", _folder(found.spool)),
        ("Storage", _folder(found.storage)),
        ("Waiting", f"{found.backlog.settle} to settle, {found.backlog.analyse} to analyse"),
        ("Lost", f"{number(found.lost.last_24h, 'call')} in 24 h{f': {lost}' if lost else ''}"),
        ("Sweeps", ", ".join(f"{name} {_ago(sweep.last_ok_at, now)}" for name, sweep in found.sweeps.items())),
    ]


def _pbx(found: Status, now: datetime) -> str:
    pbx = found.pbx
    words = f"{'connected' if pbx.connected else 'NOT connected'} for {_ago(pbx.since, now, '')}"
    return f"{pbx.version or 'version unknown'}, {words}, last event {_ago(pbx.last_event_at, now)}"


def _folder(folder: FolderView) -> str:
    if folder.free_bytes is None or folder.free_share is None:
        return "cannot be asked"
    return f"{amount(folder.free_bytes)} free ({folder.free_share:.0%})"


def _ago(when: datetime | None, now: datetime, ago: str = " ago") -> str:
    """`3 s ago`, `5 min ago`, `3 h 7 min ago`, or the days and the date."""
    if when is None:
        return "never"
    seconds = max(0, round((now - when).total_seconds()))
    if seconds < 100:
        return f"{seconds} s{ago}"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min{ago}"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min{ago}"
    return f"{minutes // (24 * 60)} days{ago} ({at(when)})"
