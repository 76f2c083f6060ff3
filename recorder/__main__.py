"""The command line: which commands there are, and the few that change something.

Every command exits 0 when all is well, 1 when something is wrong, 2 on wrong usage, 78 on mistakes in the settings.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from recorder import __version__, logs
from recorder.commands import alarm, calls, consents, lines, listings, people, policies
from recorder.commands.adopt import adopt
from recorder.commands.asking import SETTINGS_MISTAKEN, mistaken, settings_of
from recorder.commands.setting_up import doctor, init
from recorder.commands.status import status
from recorder.commands.verify import verify_books
from recorder.settings import SettingsMistaken

DEFAULT_CONFIG = Path("/etc/recorder/recorder.toml")

app = typer.Typer(
    help="Consent-first call recorder for Asterisk contact centres.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
db = typer.Typer(help="The catalogue's database.", no_args_is_help=True)
app.command()(status)
app.add_typer(calls.app, name="calls")
app.command()(listings.recordings)
app.add_typer(consents.app, name="consents")
app.add_typer(policies.app, name="policies")
app.command("verify")(verify_books)
app.command()(adopt)
app.add_typer(db, name="db")
app.add_typer(alarm.app, name="alarm")
app.add_typer(people.app, name="user")
app.add_typer(lines.app, name="line")


@app.callback()
def common(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", envvar="RECORDER_CONFIG", help="The settings file.")
    ] = DEFAULT_CONFIG,
) -> None:
    context.obj = config


@app.command()
def run(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(help="Log more; may log phone numbers.")] = False,
) -> None:
    """Run the daemon beside the PBX until SIGTERM."""
    from recorder.assembly import serve  # the other commands need not load the daemon
    from recorder.catalogue import CatalogueSchema
    from recorder.model import RecorderError

    settings = settings_of(context)
    logs.configure(form=settings.log.format, debug=debug)
    try:
        asyncio.run(serve(settings))
    except SettingsMistaken as error:
        mistaken(error)
    except (RecorderError, OSError) as error:
        typer.echo(f"recorder cannot start: {error}", err=True)
        # Starting again mends no schema: the unit leaves 78 alone.
        raise typer.Exit(SETTINGS_MISTAKEN if isinstance(error, CatalogueSchema) else 1) from None


@db.command("upgrade")
def db_upgrade(context: typer.Context) -> None:
    """Create the catalogue's database, or bring it up to this version."""
    from recorder.catalogue import CatalogueError, upgrade

    settings = settings_of(context)
    try:
        revision = upgrade(settings.catalogue.url)
    except CatalogueError as error:
        typer.echo(f"the catalogue was not upgraded: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"catalogue at revision {revision}")


@db.command("downgrade")
def db_downgrade(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", help="The revision that the older recorder speaks.")],
    discard: Annotated[
        bool, typer.Option("--discard", help="Give up the rows of tables that it does not know.")
    ] = False,
) -> None:
    """Take the catalogue back to an older revision, before an older recorder is installed."""
    from recorder.catalogue import CatalogueError, downgrade

    settings = settings_of(context)
    try:
        revision = downgrade(settings.catalogue.url, to, discard=discard)
    except CatalogueError as error:
        typer.echo(f"the catalogue was not changed: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"catalogue at revision {revision}")


app.command()(init)
app.command()(doctor)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"recorder {__version__}, Python {sys.version.split()[0]}")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
