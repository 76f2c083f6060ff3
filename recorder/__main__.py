"""The command line. Every command exits 0 when all is well, 1 when something is wrong, 2 on wrong usage, 78 on settings."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from recorder import __version__, logs
from recorder.settings import Settings, SettingsMistaken, load

SETTINGS_MISTAKEN = 78  # EX_CONFIG of sysexits.h
DEFAULT_CONFIG = Path("/etc/recorder/recorder.toml")

app = typer.Typer(
    help="Consent-first call recorder for Asterisk contact centres.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
db = typer.Typer(help="The catalogue's database.", no_args_is_help=True)
app.add_typer(db, name="db")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback()
def common(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", envvar="RECORDER_CONFIG", help="The settings file.")
    ] = DEFAULT_CONFIG,
) -> None:
    context.obj = config


def settings_of(context: typer.Context) -> Settings:
    """The settings, or every mistake in them and exit 78."""
    try:
        return load(context.obj, os.environ)
    except SettingsMistaken as error:
        _mistaken(error)


def _mistaken(error: SettingsMistaken) -> NoReturn:
    for mistake in error.mistakes:
        typer.echo(mistake, err=True)
    typer.echo(f"{len(error.mistakes)} mistake(s) in the settings; nothing was started.", err=True)
    raise typer.Exit(SETTINGS_MISTAKEN)


@app.command()
def run(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(help="Log more; may log phone numbers.")] = False,
) -> None:
    """Run the daemon beside the PBX until SIGTERM."""
    from recorder.assembly import serve  # the other commands need not load the daemon
    from recorder.model import RecorderError

    settings = settings_of(context)
    logs.configure(debug=debug)
    try:
        asyncio.run(serve(settings))
    except SettingsMistaken as error:
        _mistaken(error)
    except (RecorderError, OSError) as error:
        typer.echo(f"recorder cannot start: {error}", err=True)
        raise typer.Exit(1) from None


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


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"recorder {__version__}, Python {sys.version.split()[0]}")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
