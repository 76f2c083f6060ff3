"""`recorder line`: what is in force on each line, and releases of those that are kept unrecorded (MS-01).

Each of these acts is kept for good; nothing here removes one. What counts of it the catalogue decides, by its rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

import typer

from recorder.catalogue import Catalogue
from recorder.commands.asking import Json, ask, guarded, person, settings_of, wrong
from recorder.commands.display import Column, at, print_json, print_line, print_table, screen, short
from recorder.releases import Ground, Release, ReleaseAct, ReleaseAction, Standing, releases, standing_of
from recorder.settings import Settings

app = typer.Typer(help="What is in force on each line, and releases of those kept unrecorded.", no_args_is_help=True)

LINE_COLUMNS: Final = (Column(name="line"), Column(name="settings"), Column(name="in force"), Column(name="why"))
COUNTS_WITHIN: Final = "The recorder takes it up within some seconds, without a restart."

OfLine = Annotated[str, typer.Argument(metavar="LINE", help="As the settings name it.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="As `recorder line list` has it, or the beginning of it.")]
Who = Annotated[str | None, typer.Option("--by", help="Who you are: an entered user; else who is logged in.")]


@app.callback()
def group() -> None:
    """What is in force on each line, and releases of those that are kept unrecorded."""


@app.command("list")
def list_lines(context: typer.Context, as_json: Json = False) -> None:
    """List every line: what the settings say, what is in force, and why; then what was asked for and approved."""
    now = datetime.now(UTC)
    settings = settings_of(context)
    kept, found = ask(settings, lambda catalogue: _known(catalogue, settings))
    standings = [standing_of(said, kept=line in kept, found=found, now=now) for line, said in settings.said().items()]
    if as_json:
        print_json([_line_shown(standing, found, now) for standing in standings])
        return
    if not standings:
        screen(error=True).print("No line is configured.")
        return
    console = screen()
    rows = ((one.rules.name, one.settings, one.rules.mode, _why(one)) for one in standings)
    print_table(console, LINE_COLUMNS, rows)
    for release in found:
        print_line(console, f"release {short(release.id, console)} of line {release.line}: {_words(release, now)}")


@app.command("release")
def release(
    context: typer.Context,
    line: OfLine,
    reference: Annotated[str, typer.Option("--reference", help="Of the legal obligation that it rests on.")],
    until: Annotated[str, typer.Option("--until", help="When it ends: 2026-03-02, as that day begins, in UTC.")],
    by: Who = None,
) -> None:
    """Ask that a line which is kept unrecorded may be recorded, until then; a privacy officer must approve."""
    settings = settings_of(context)
    if line not in settings.line:
        there = ", ".join(sorted(settings.line)) or "none"
        raise typer.BadParameter(f"there is no line {line}; there is {there}", param_hint="LINE")
    ends, name, key = _end(until), person(settings, by), uuid4()
    act = ReleaseAct(
        id=key,
        at=datetime.now(UTC),
        actor=name,
        release=key,
        line=line,
        asker=name,
        action=ReleaseAction.ASKED,
        reference=guarded("--reference", reference),
        until=ends,
    )
    ask(settings, lambda catalogue: catalogue.write_release_act(act))
    console = screen()
    print_line(console, f"{key} asks for a release of line {line} until {at(ends)} UTC.")
    print_line(console, f"Line {line} stays never recorded until a privacy officer says: recorder line approve {key}")


@app.command("approve")
def approve(context: typer.Context, key: Id, by: Who = None) -> None:
    """Approve a release: its line is asked as its settings say, until the release ends."""
    done = _do(context, key, by, ReleaseAction.APPROVED)
    print_line(
        screen(), f"Line {done.line} is released until {at(done.until)} UTC on {done.reference}. {COUNTS_WITHIN}"
    )


@app.command("refuse")
def refuse(context: typer.Context, key: Id, by: Who = None) -> None:
    """Refuse a release that was asked for."""
    done = _do(context, key, by, ReleaseAction.REFUSED)
    print_line(screen(), f"The release of line {done.line} is refused.")


@app.command("end")
def end(context: typer.Context, key: Id, by: Who = None) -> None:
    """End a release before its time, or take back what was asked for."""
    done = _do(context, key, by, ReleaseAction.ENDED)
    print_line(screen(), f"The release of line {done.line} is ended. {COUNTS_WITHIN}")


# --------------------------------------------------------------------------- what they share


async def _known(catalogue: Catalogue, settings: Settings) -> tuple[frozenset[str], tuple[Release, ...]]:
    """Which lines are kept unrecorded, and every release of the settings' lines, the newest first."""
    kept = await catalogue.kept_unrecorded(settings.line)
    found = releases(await catalogue.release_acts(list(settings.line))).values()
    return kept, tuple(reversed(found))


def _do(context: typer.Context, begins: str, by: str | None, action: ReleaseAction) -> Release:
    """Do this to the one release whose id begins so, or say why not, with exit 1."""
    settings = settings_of(context)
    known = _named(releases(ask(settings, lambda catalogue: catalogue.release_acts())), begins)
    act = ReleaseAct(
        id=uuid4(),
        at=datetime.now(UTC),
        actor=person(settings, by),
        release=known.id,
        line=known.line,
        asker=known.asker,
        action=action,
    )
    ask(settings, lambda catalogue: catalogue.write_release_act(act))
    return known


def _named(found: dict[UUID, Release], begins: str) -> Release:
    wanted = begins.lower().replace("-", "")
    matching = [release for key, release in found.items() if wanted and key.hex.startswith(wanted)]
    if not matching:
        wrong(f"There is no release {begins}: `recorder line list` has every one.")
    if len(matching) > 1:
        wrong(f"More than one release begins with {begins}: {', '.join(str(one.id) for one in matching)}")
    return matching[0]


def _end(text: str) -> datetime:
    """Exit 2 where it is no date or time; one without a zone is UTC."""
    try:
        ends = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither 2026-03-02 nor 2026-03-02T12:00", param_hint="--until") from None
    return ends.astimezone(UTC) if ends.tzinfo else ends.replace(tzinfo=UTC)


def _why(standing: Standing) -> str:
    match standing.ground:
        case Ground.KEPT:
            return "kept unrecorded"
        case Ground.HELD:
            return "kept unrecorded, and not released"
        case Ground.RELEASED if standing.release is not None:
            return f"released until {at(standing.release.until)} UTC"
    return ""


def _state(release: Release, now: datetime) -> str:
    """The last that was done to it; what nobody ended has ended by itself."""
    is_over = release.until <= now and release.action in (ReleaseAction.ASKED, ReleaseAction.APPROVED)
    return "over" if is_over else str(release.action)


def _words(release: Release, now: datetime) -> str:
    """What whoever is to decide on it must know."""
    approved = f", approved by {release.approver}" if release.approver is not None else ""
    asked = f"asked for by {release.asker}{approved}, until {at(release.until)} UTC"
    return f"{_state(release, now)}; {asked}; {release.reference}"


def _line_shown(standing: Standing, found: Iterable[Release], now: datetime) -> dict[str, Any]:
    line = standing.rules.name
    return {
        "line": line,
        "settings": standing.settings,
        "applies": standing.rules.mode,
        "why": standing.ground,
        "release": standing.release.id if standing.release is not None else None,
        "policy": standing.rules.digest,
        "releases": [_release_shown(release, now) for release in found if release.line == line],
    }


def _release_shown(release: Release, now: datetime) -> dict[str, Any]:
    return {
        "release": release.id,
        "state": _state(release, now),
        "until": release.until,
        "reference": release.reference,
        "asked_by": release.asker,
        "asked_at": release.asked_at,
        "approved_by": release.approver,
    }
