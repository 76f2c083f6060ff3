"""`recorder alarm test`: does an alarm reach somebody? To be tried when it is installed, not at three at night."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import typer

from recorder.alarms import Notice, trial_notice
from recorder.commands.asking import SOMETHING_WRONG, Json, settings_of, wrong
from recorder.commands.display import print_json
from recorder.couriers import NotDelivered, Route, routes_of

app = typer.Typer(help="Alarms, and who is told of them.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Alarms, and who is told of them."""


@app.command("test")
def send_trial(context: typer.Context, as_json: Json = False) -> None:
    """Run the hook and call the webhook once with an alarm of the kind "test"; exit 1 where one of them fails."""
    settings = settings_of(context)
    routes = routes_of(settings.alarm)
    if not routes:
        wrong("Nobody would be told: set [alarm] hook or webhook.")
    notice = trial_notice(settings.node.name, datetime.now(UTC))
    answers = asyncio.run(_try_all(routes, notice))
    if as_json:
        print_json([{"route": name, "delivered": why is None, "why": why} for name, why in answers])
    else:
        for name, why in answers:
            typer.echo(f"{name:<9}{'delivered' if why is None else f'NOT delivered: {why}'}")
    if any(why is not None for _, why in answers):
        raise typer.Exit(SOMETHING_WRONG)


async def _try_all(routes: list[Route], notice: Notice) -> list[tuple[str, str | None]]:
    return [(route.name, await _tried(route, notice)) for route in routes]


async def _tried(route: Route, notice: Notice) -> str | None:
    """Why it was not delivered, None where it was."""
    try:
        await route.deliver(notice)
    except NotDelivered as error:
        return str(error)
    return None
