"""`recorder calls`: the list, and one call's whole story."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console

from recorder.catalogue import CallRow, Catalogue, ConsentRow, RecordingRow, WholeCall
from recorder.commands.asking import AT_MOST, Json, Limit, Line, Since, ask, moment, settings_of, storage_of, wrong
from recorder.commands.display import (
    Column,
    at,
    clock,
    lasting,
    print_json,
    print_line,
    print_table,
    screen,
    short,
    short_policy,
)
from recorder.commands.listings import amount_of, recording_shown
from recorder.commands.words import decisions, story
from recorder.model import CallId, Outcome
from recorder.settings import Settings
from recorder.storage import Storage

app = typer.Typer(help="Calls, the newest first; `show ID` tells one call's whole story.")

COLUMNS = (
    Column(name="id"),
    Column(name="started (UTC)"),
    Column(name="lasted", right=True),
    Column(name="line"),
    Column(name="mode", wide=True),
    Column(name="consent"),
    Column(name="outcome"),
)
MATCHES_SHOWN = 5


@app.callback(invoke_without_command=True)
def calls(
    context: typer.Context,
    limit: Limit = AT_MOST,
    line: Line = None,
    outcome: Annotated[Outcome | None, typer.Option(help="Only calls that ended so.")] = None,
    since: Since = None,
    party: Annotated[
        str | None, typer.Option("--number", help="Only calls of this number of the other side, in any written form.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List calls, the newest first."""
    if context.invoked_subcommand is not None:
        return
    start = moment(since, datetime.now(UTC))
    settings = settings_of(context)
    digests = None if party is None else _digests(settings, party)
    rows = ask(
        settings,
        lambda catalogue: catalogue.list_calls(limit, line=line, outcome=outcome, since=start, numbers=digests),
    )
    if as_json:
        print_json([call_shown(row) for row in rows])
        return
    _print_calls(rows, limit)


def _digests(settings: Settings, number: str) -> tuple[str, ...]:
    """The digests that a call with this number may have; the number goes no further."""
    key = settings.numbers.key()
    if key is None:
        wrong("The settings have no [numbers] key_file: no digest of a number is kept, and none can be looked for.")
    digests = key.digests(number)
    if not digests:
        raise typer.BadParameter("no telephone number", param_hint="--number")
    return digests


def call_shown(row: CallRow) -> dict[str, Any]:
    """The call as --json has it."""
    return {
        "id": row.id,
        "node": row.node,
        "line": row.line,
        "direction": row.direction,
        "mode": row.mode,
        "phase": row.phase,
        "consent": row.consent,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "outcome": row.outcome,
        "reason": row.reason,
    }


def _print_calls(rows: tuple[CallRow, ...], limit: int) -> None:
    console = screen()
    if not rows:
        screen(error=True).print("No calls match.")
        return
    cells = (
        (
            short(row.id, console),
            at(row.started_at, console),
            lasting((row.ended_at - row.started_at).total_seconds()) if row.ended_at else "",
            row.line,
            row.mode,
            row.consent,
            _ending(row),
        )
        for row in rows
    )
    print_table(console, COLUMNS, cells)
    if len(rows) == limit:
        screen(error=True).print(f"These are the newest {limit}; --limit shows more.")


def _ending(row: CallRow) -> str:
    if row.outcome is None:
        return f"in progress: {row.phase}"
    return f"{row.outcome}: {row.reason}" if row.reason else str(row.outcome)


# --------------------------------------------------------------------------- one call


@app.command("show")
def show(
    context: typer.Context,
    call: Annotated[str, typer.Argument(metavar="ID", help="The call's id, or the beginning of it.")],
    why: Annotated[bool, typer.Option("--why", help="Show how policy came to each decision.")] = False,
    as_json: Json = False,
) -> None:
    """Tell one call's whole story."""
    settings = settings_of(context)
    whole = call_named(settings, call)
    storage = storage_of(settings)
    if as_json:
        print_json(_story_shown(whole, storage, why=why))
    else:
        _print_story(screen(), whole, storage, why=why)


def call_named(settings: Settings, call: str) -> WholeCall:
    """The one call whose id begins so; a sentence and exit 1 where there is none or more than one."""
    begins = call.lower().replace("-", "")
    if not begins or len(begins) > 32 or set(begins) - set("0123456789abcdef"):
        raise typer.BadParameter(f"{call!r} is not the beginning of an id", param_hint="ID")
    found = ask(settings, lambda catalogue: _beginning_with(catalogue, begins))
    if not found:
        wrong(f"There is no call {call}. `recorder calls` lists the newest.")
    if len(found) > 1:
        names = ", ".join(str(whole.call.id) for whole in found[:MATCHES_SHOWN])
        wrong(f"More than one call begins with {call}: {names}{' ...' if len(found) > MATCHES_SHOWN else ''}")
    return found[0]


async def _beginning_with(catalogue: Catalogue, begins: str) -> tuple[WholeCall, ...]:
    """The first few calls whose id begins so: ids are walked in order, from just before the lowest such id."""
    lowest = int(begins.ljust(32, "0"), 16)
    after = CallId(UUID(int=lowest - 1)) if lowest else None
    batch = await catalogue.calls_after(after, MATCHES_SHOWN + 1)
    return tuple(whole for whole in batch if whole.call.id.hex.startswith(begins))


def _story_shown(whole: WholeCall, storage: Storage, *, why: bool) -> dict[str, Any]:
    story: dict[str, Any] = {
        "call": call_shown(whole.call),
        "legs": whole.legs,
        "consents": whole.consents,
        "prompts": whole.prompts,
        "recordings": [recording_shown(row, storage) for row in whole.recordings],
        "journal": whole.journal,
        "audit": whole.audit,
    }
    return story | {"why": decisions(whole)} if why else story


def _print_story(console: Console, whole: WholeCall, storage: Storage, *, why: bool) -> None:
    call = whole.call
    print_line(console, f"Call {call.id}", style="bold")
    print_line(
        console, f"  {call.direction}, line {call.line} ({call.mode}), node {call.node}, linkedid {call.linkedid}"
    )
    ended = f" to {at(call.ended_at)}" if call.ended_at else ", in progress"
    length = f", {lasting((call.ended_at - call.started_at).total_seconds())}" if call.ended_at else ""
    print_line(console, f"  {at(call.started_at)}{ended} UTC{length}")
    print_line(console, f"  consent {call.consent}, {'outcome ' if call.outcome else ''}{_ending(call)}")
    _section(
        console, "Legs", [f"{clock(leg.seen_at)}  {leg.kind:<6}  {leg.channel or leg.uniqueid}" for leg in whole.legs]
    )
    _section(console, "Consent", [_consent_line(whole, event) for event in whole.consents])
    _section(console, "Recordings", [line for row in whole.recordings for line in _recording_lines(row, storage)])
    _section(
        console, "Acts", [f"{clock(act.at)}  {act.actor}: {act.action} {_details(act.details)}" for act in whole.audit]
    )
    _section(console, "Journal", _journal_lines(whole))
    if why:
        _section(console, "Why", _why_lines(whole))


def _section(console: Console, name: str, lines: list[str]) -> None:
    if not lines:
        return
    console.print()
    print_line(console, name, style="bold")
    for words in lines:
        print_line(console, f"  {words}")


def _consent_line(whole: WholeCall, event: ConsentRow) -> str:
    parts = [f"{clock(event.at)}  {event.before} -> {event.after}"]
    prompt = next((row for row in whole.prompts if row.number == event.prompt), None)
    if prompt is not None:
        parts.append(f"prompt {prompt.id} {prompt.language} version {prompt.version}")
    if event.played_ms is not None:
        parts.append(f"heard {event.played_ms / 1000:.1f} s")
    for name in ("key", "actor", "reason", "basis"):
        if value := getattr(event, name):
            parts.append(f"{name} {value}")
    return ", ".join([*parts, f"policy {short_policy(event.policy)}"])


def _recording_lines(row: RecordingRow, storage: Storage) -> list[str]:
    shown = recording_shown(row, storage)
    steps = (
        ("authorised", row.authorised_at),
        ("armed", row.armed_at),
        ("bridged", row.bridged_at),
        ("stopped", row.stopped_at),
        ("settled", row.settled_at),
    )
    lines = [
        f"{row.id}: {row.status}{', sealed' if row.sealed else ''}{f' ({row.reason})' if row.reason else ''},"
        f" by consent {row.authorising_state}",
        "  " + ", ".join(f"{name} {when:%H:%M:%S}" for name, when in steps if when is not None),
    ]
    if row.sha256 is not None:
        found = ", ".join(row.findings) or ("no findings" if row.analysed_at else "not analysed yet")
        lines += [f"  {shown['path']}", f"  {amount_of(row)}, {found}", f"  sha256 {row.sha256}"]
    return lines


def _details(details: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in details.items() if value)


def _journal_lines(whole: WholeCall) -> list[str]:
    return [f"{clock(when)}  {phase:<8}  {words}" for when, phase, words in story(whole.journal)]


def _why_lines(whole: WholeCall) -> list[str]:
    lines: list[str] = []
    for made in decisions(whole):
        verdict = "capture" if made.permitted else "no capture"
        lines.append(f'{clock(made.at)}  {made.asked}: {verdict}, by the rule "{made.rule}"')
        lines += [f"  {row}" for row in made.trace]
    return lines
