"""`recorder user`: the people whom the recorder knows, what they may do and where, and what was done to their accounts.

The acts are kept for good; nothing here removes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import uuid4

import typer

from recorder.commands.asking import By, Json, ask, said_by, settings_of, wrong
from recorder.commands.display import Column, at, print_json, print_line, print_table, screen
from recorder.do_not_record import checked_interface
from recorder.rights import ANYBODY, EVERY_LINE, Role, User, UserAct, UserAction, users
from recorder.settings import Settings

app = typer.Typer(help="People, and what they may do on which line.", no_args_is_help=True)

USER_COLUMNS: Final = (Column(name="user"), Column(name="telephone"), Column(name="may"), Column(name="state"))
ACT_COLUMNS: Final = (Column(name="when (UTC)"), Column(name="what"), Column(name="by"))

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `recorder user list` has it.")]
Whom = Annotated[
    str, typer.Argument(metavar="NAME", help=f"Or `{ANYBODY}`: whoever is at a telephone, entered here or not.")
]
Telephone = Annotated[
    str | None,
    typer.Option("--telephone", metavar="INTERFACE", help="PJSIP/alice, as the queue names its member."),
]
As = Annotated[Role, typer.Argument(metavar="ROLE", help=f"One of: {', '.join(Role)}.")]
OnLines = Annotated[list[str] | None, typer.Option("--line", help="On this line; may be given several times.")]
OnEvery = Annotated[bool, typer.Option("--every-line", help="On every line, those of later settings too.")]


@app.callback()
def group() -> None:
    """People, and what they may do on which line."""


@app.command("list")
def list_users(context: typer.Context, as_json: Json = False) -> None:
    """List everybody, with their telephone, their roles and where they hold them."""
    acts = ask(settings_of(context), lambda catalogue: catalogue.user_acts())
    there = (user for user in users(acts).values() if user.name != ANYBODY or user.grants)
    everybody = sorted(there, key=lambda user: (not user.enabled, user.name != ANYBODY, user.name))
    if as_json:
        print_json([_shown(user) for user in everybody])
        return
    if not everybody:
        screen(error=True).print("Nobody is entered: `recorder user add NAME` enters somebody.")
        return
    rows = ((user.name, user.interface, _roles(user), "" if user.enabled else "disabled") for user in everybody)
    print_table(screen(), USER_COLUMNS, rows)


@app.command("show")
def show(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show what was done to somebody's account, by whom and when; exit 1 where there is no such person."""
    acts = ask(settings_of(context), lambda catalogue: catalogue.user_acts(name))
    user = users(acts).get(name)
    if user is None:
        wrong(f"There is no {name}: `recorder user list` has everybody.")
    if as_json:
        print_json(_shown(user) | {"acts": [_shown_act(act) for act in acts]})
        return
    console = screen()
    where = f" at {user.interface}" if user.interface else ""
    print_line(console, f"{user.name}{where}: {_roles(user)}{'' if user.enabled else ' (disabled)'}", style="bold")
    print_table(console, ACT_COLUMNS, ((at(act.at, console), _words(act), act.actor) for act in acts))


@app.command("add")
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, dots, - and _.")],
    telephone: Telephone = None,
    by: By = None,
) -> None:
    """Enter somebody, who may do nothing until a role is granted."""
    interface = None if telephone is None else _interface(telephone)
    _do(context, name, by, [{"action": UserAction.ADDED, "interface": interface}])
    typer.echo(f"{name} is entered{f' at {interface}' if interface else ''}, and may do nothing yet.")


@app.command("seat")
def seat(context: typer.Context, name: Name, telephone: Telephone = None, by: By = None) -> None:
    """Give somebody another telephone; without --telephone, none."""
    interface = None if telephone is None else _interface(telephone)
    _do(context, name, by, [{"action": UserAction.SEATED, "interface": interface}])
    typer.echo(f"{name} is at {interface} now." if interface else f"{name} has no telephone now.")


@app.command("grant")
def grant(
    context: typer.Context, name: Whom, role: As, line: OnLines = None, every: OnEvery = False, by: By = None
) -> None:
    """Make somebody this on a line: from now on, for the calls in progress too."""
    lines = _lines(settings_of(context), line or [], every=every, must_be_set=True)
    _do(context, name, by, [{"action": UserAction.GRANTED, "role": role, "line": one} for one in lines])
    typer.echo(f"{name} is {role} on {_named(lines)} now.")


@app.command("revoke")
def revoke(
    context: typer.Context, name: Whom, role: As, line: OnLines = None, every: OnEvery = False, by: By = None
) -> None:
    """Take a grant back; --every-line takes back the grant for all of them, not those for single lines."""
    lines = _lines(settings_of(context), line or [], every=every, must_be_set=False)
    _do(context, name, by, [{"action": UserAction.REVOKED, "role": role, "line": one} for one in lines])
    typer.echo(f"{name} is not {role} on {_named(lines)} by that grant any more.")


@app.command("disable")
def disable(context: typer.Context, name: Name, by: By = None) -> None:
    """Let somebody do nothing any more; their telephone is free for another, and what they did stays."""
    _do(context, name, by, [{"action": UserAction.DISABLED}])
    typer.echo(f"{name} is disabled.")


@app.command("enable")
def enable(context: typer.Context, name: Name, by: By = None) -> None:
    """Give somebody who was disabled back what they had."""
    _do(context, name, by, [{"action": UserAction.ENABLED}])
    typer.echo(f"{name} is enabled again.")


# --------------------------------------------------------------------------- what they share


def _do(context: typer.Context, name: str, by: str | None, acts: Sequence[dict[str, Any]]) -> None:
    """All of it, or none and a sentence that says why not, with exit 1."""
    now, actor = datetime.now(UTC), said_by(by)
    done = [UserAct(id=uuid4(), at=now, actor=actor, user=name, **act) for act in acts]
    ask(settings_of(context), lambda catalogue: catalogue.write_user_acts(done))


def _interface(written: str) -> str:
    try:
        return checked_interface(written)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--telephone") from None


def _lines(settings: Settings, named: list[str], *, every: bool, must_be_set: bool) -> list[str]:
    """The lines, each once; exit 2 where none is named, or one that the settings do not have is to be granted."""
    if every == bool(named):
        raise typer.BadParameter("either --line, or --every-line")
    unknown = [line for line in named if line not in settings.line]
    if unknown and must_be_set:
        there = ", ".join(sorted(settings.line)) or "none"
        raise typer.BadParameter(f"there is no line {', '.join(unknown)}; there is {there}", param_hint="--line")
    return [EVERY_LINE] if every else list(dict.fromkeys(named))


def _named(lines: Iterable[str]) -> str:
    return ", ".join("every line" if line == EVERY_LINE else line for line in lines)


def _roles(user: User) -> str:
    """`overrider on sales, support`."""
    held = sorted((grant.role, grant.line) for grant in user.grants)
    roles = dict.fromkeys(role for role, _ in held)
    return "; ".join(f"{role} on {_named(line for own, line in held if own is role)}" for role in roles) or "nothing"


def _words(act: UserAct) -> str:
    if act.role is not None and act.line is not None:
        return f"{act.action} {act.role} on {_named([act.line])}"
    if act.action in (UserAction.ADDED, UserAction.SEATED):
        return f"{act.action} {f'at {act.interface}' if act.interface else 'without a telephone'}"
    return str(act.action)


def _shown(user: User) -> dict[str, Any]:
    grants = sorted((grant.role, grant.line) for grant in user.grants)
    return {
        "user": user.name,
        "telephone": user.interface,
        "enabled": user.enabled,
        "grants": [{"role": role, "line": None if line == EVERY_LINE else line} for role, line in grants],
    }


def _shown_act(act: UserAct) -> dict[str, Any]:
    return {
        "at": act.at,
        "by": act.actor,
        "action": act.action,
        "telephone": act.interface,
        "role": act.role,
        "line": None if act.line == EVERY_LINE else act.line,
    }
