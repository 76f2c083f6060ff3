"""What every command begins with: the settings and the catalogue, or one sentence and the exit code that says why not.

Owns the exit codes: 0 all is well, 1 something is wrong, 2 wrong usage (typer's), 78 mistakes in the settings.
"""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, NoReturn, TypeVar

import typer

from recorder.catalogue import Catalogue, open_catalogue
from recorder.guard import Action, examine, redacted, sentences
from recorder.http import Door, Unlet
from recorder.model import RecorderError
from recorder.rights import ANYBODY, User, users
from recorder.settings import Settings, SettingsMistaken, load
from recorder.storage import Spool, Storage

T = TypeVar("T")
SOMETHING_WRONG: Final = 1
SETTINGS_MISTAKEN: Final = 78  # EX_CONFIG of sysexits.h

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="At most so many, the newest first.")]
Line = Annotated[str | None, typer.Option("--line", help="Only this line's.")]
Since = Annotated[
    str | None, typer.Option("--since", help="Only since then: 90m, 12h, 7d, or 2026-03-02[T12:00], in UTC.")
]
By = Annotated[str | None, typer.Option("--by", help="Who says so; without it, who is logged in.")]
AT_MOST: Final = 100
AGES: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def settings_of(context: typer.Context) -> Settings:
    """The settings, or every mistake in them and exit 78."""
    try:
        return load(Path(context.obj), os.environ)
    except SettingsMistaken as error:
        mistaken(error)


def mistaken(error: SettingsMistaken) -> NoReturn:
    for mistake in error.mistakes:
        typer.echo(mistake, err=True)
    typer.echo(f"{len(error.mistakes)} mistake(s) in the settings; nothing was started.", err=True)
    raise typer.Exit(SETTINGS_MISTAKEN)


def wrong(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(SOMETHING_WRONG)


def ask(settings: Settings, question: Callable[[Catalogue], Awaitable[T]]) -> T:
    """Put a question to the catalogue; one that cannot be asked, or not answered, is a sentence and exit 1."""

    async def answer() -> T:
        catalogue = await open_catalogue(settings.catalogue.url)
        try:
            return await question(catalogue)
        finally:
            await catalogue.close()

    try:
        return asyncio.run(answer())
    except RecorderError as error:
        wrong(str(error))


def guarded(option: str, text: str) -> str:
    """What somebody typed, as it may be kept; a sentence and exit 1 where none of it may be (SG-01, SG-08).

    The sentences say what was found where, and never what it was.
    """
    verdict = examine({option: text})
    for sentence in sentences(verdict):
        typer.echo(sentence, err=True)
    if verdict.action is Action.REJECT:
        wrong("Nothing was done, and nothing of it was kept.")
    return redacted({option: text}, verdict)[option]


def said_by(by: str | None) -> str:
    """Whose word this is: of whoever is named, else of who is logged in."""
    return (guarded("--by", by) if by else None) or os.environ.get("SUDO_USER") or getpass.getuser()


def person(settings: Settings, by: str | None) -> str:
    """Which of the entered people this is, as their password shows; a sentence and exit 1 where it is none.

    The one place that says so for what takes a right of the person's own. The password is asked for, and is the first
    line of the standard input where nobody sits there.
    """
    name = said_by(by)
    user = users(ask(settings, lambda catalogue: catalogue.user_acts(name))).get(name)
    if user is None or name == ANYBODY:
        wrong(f"nobody is entered as {name}: say who you are by --by NAME; `recorder user list` has everybody")
    password = typer.prompt(f"Password of {user.name}", hide_input=True, err=True)

    async def prove(catalogue: Catalogue) -> User | Unlet:
        door = Door(catalogue, lambda: datetime.now(UTC))
        try:
            return await door.prove(user.name, password, "command line")
        finally:
            door.close()

    found = ask(settings, prove)
    if found is Unlet.LOCKED:
        wrong(f"too many wrong passwords for {user.name}: wait a quarter of an hour, or have another one set")
    if found is Unlet.UNCHANGED:
        wrong(f"somebody else has set the password of {user.name}: sign in with it once, on /sign-in, and change it")
    if isinstance(found, Unlet):
        wrong(f"that is not the password of {user.name}; `recorder user password` gives somebody one")
    return found.name


def storage_of(settings: Settings) -> Storage:
    return Storage(settings.storage.path, Spool(settings.capture.here))


def moment(text: str | None, now: datetime) -> datetime | None:
    """`90m`, `12h`, `7d` ago, or an ISO date or time; one without a zone is UTC. Exit 2 for anything else."""
    if text is None:
        return None
    count, unit = text[:-1], text[-1:]
    try:
        if unit in AGES and count.isdecimal():
            return now - int(count) * AGES[unit]
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is none of 90m, 12h, 7d, 2026-03-02, 2026-03-02T12:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
