"""`recorder user`: the people whom the recorder knows, what they may do and where, and what was done to them.

Each of these acts is kept for good; nothing here removes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import uuid4

import typer

from recorder.commands import ways_in
from recorder.commands.asking import By, Json, ask, said_by, settings_of, wrong
from recorder.commands.display import Column, at, print_json, print_line, print_table, screen
from recorder.do_not_record import checked_telephone
from recorder.rights import ANYBODY, EVERY_LINE, Role, Seat, User, UserAct, UserAction, users
from recorder.settings import Settings

app = typer.Typer(help="People, and what they may do on which line.", no_args_is_help=True)
app.command("password")(ways_in.password)
app.add_typer(ways_in.tokens, name="token")

USER_COLUMNS: Final = (Column(name="user"), Column(name="telephone"), Column(name="may"), Column(name="state"))
ACT_COLUMNS: Final = (Column(name="when (UTC)"), Column(name="what"), Column(name="by"))

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `recorder user list` has it.")]
Whom = Annotated[
    str, typer.Argument(metavar="NAME", help=f"Or `{ANYBODY}`: whoever is at a telephone, entered here or not.")
]
Telephone = Annotated[
    str | None,
    typer.Option("--telephone", metavar="INTERFACE", help="PJSIP/alice, its own interface; or a Local member."),
]
As = Annotated[Role, typer.Argument(metavar="ROLE", help=f"One of: {', '.join(Role)}.")]
OnLines = Annotated[list[str] | None, typer.Option("--line", help="On this line; may be given several times.")]
OnEvery = Annotated[bool, typer.Option("--every-line", help="On every line, those of later settings too.")]


@app.callback()
def group() -> None:
    """People, and what they may do on which line."""


@app.command("list")
def list_users(context: typer.Context, as_json: Json = False) -> None:
    """List everybody, with their telephones, their roles and where they hold them."""
    everybody = _everybody(settings_of(context))
    there = [user for user in everybody.values() if user.name != ANYBODY or user.grants]
    there.sort(key=lambda user: (not user.enabled, user.name != ANYBODY, user.name))
    if as_json:
        print_json([_shown(user) for user in there])
        return
    if not there:
        screen(error=True).print("Nobody is entered: `recorder user add NAME` enters somebody.")
        return
    rows = ((user.name, _telephones(user), _roles(user), "" if user.enabled else "disabled") for user in there)
    print_table(screen(), USER_COLUMNS, rows)


@app.command("show")
def show(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show what was done to somebody, by whom and when; exit 1 where there is no such person."""
    acts = ask(settings_of(context), lambda catalogue: catalogue.user_acts(name))
    user = users(acts).get(name)
    if user is None:
        wrong(f"nobody is entered as {name}: `recorder user list` has everybody")
    if as_json:
        print_json(_shown(user) | {"acts": [_shown_act(act) for act in acts]})
        return
    console = screen()
    where = f" at {_telephones(user)}" if user.seats else ""
    print_line(console, f"{user.name}{where}: {_roles(user)}{'' if user.enabled else ' (disabled)'}", style="bold")
    print_table(console, ACT_COLUMNS, ((at(act.at, console), _words(act), act.actor) for act in acts))


@app.command("add")
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, dots, - and _.")],
    telephone: Telephone = None,
    by: By = None,
) -> None:
    """Enter somebody, who holds no role until one is granted."""
    settings = settings_of(context)
    seated = [_seated(settings, telephone)] if telephone is not None else []
    _do(settings, name, by, [{"action": UserAction.ADDED}, *seated])
    where = "".join(f" at {act['interface']}" for act in seated)
    typer.echo(f"{name} is entered{where}, and holds no role yet.")


@app.command("seat")
def seat(
    context: typer.Context,
    name: Name,
    telephone: Telephone = None,
    none: Annotated[bool, typer.Option("--none", help="No telephone of this node.")] = False,
    by: By = None,
) -> None:
    """Give somebody another telephone of this node, or none."""
    if (telephone is None) != none:
        raise typer.BadParameter("either --telephone, or --none")
    settings = settings_of(context)
    seated = _seated(settings, telephone)
    _do(settings, name, by, [seated])
    typer.echo(f"{name} is at {seated['interface']} now." if telephone else f"{name} has no telephone here now.")


@app.command("grant")
def grant(
    context: typer.Context, name: Whom, role: As, line: OnLines = None, every: OnEvery = False, by: By = None
) -> None:
    """Make somebody this on a line: from now on, for the calls in progress too. What they are already stays."""
    settings = settings_of(context)
    lines = _lines(line or [], every=every)
    unknown = [one for one in lines if one != EVERY_LINE and one not in settings.line]
    if unknown:
        there = ", ".join(sorted(settings.line)) or "none"
        raise typer.BadParameter(f"there is no line {', '.join(unknown)}; there is {there}", param_hint="--line")
    user = _everybody(settings).get(name)
    held = {grant.line for grant in user.grants if grant.role is role} if user is not None else set()
    _do(
        settings,
        name,
        by,
        [{"action": UserAction.GRANTED, "role": role, "line": one} for one in lines if one not in held],
    )
    unless = "" if user is None or user.enabled else ", once enabled again"
    typer.echo(f"{name} is {role} on {_named(lines)}{unless}.")


@app.command("revoke")
def revoke(
    context: typer.Context, name: Whom, role: As, line: OnLines = None, every: OnEvery = False, by: By = None
) -> None:
    """Take a grant back; --every-line takes back the grant for all of them, not those for single lines."""
    lines = _lines(line or [], every=every)
    _do(settings_of(context), name, by, [{"action": UserAction.REVOKED, "role": role, "line": one} for one in lines])
    typer.echo(f"{name} is not {role} on {_named(lines)} by that grant any more.")


@app.command("disable")
def disable(context: typer.Context, name: Name, by: By = None) -> None:
    """Let somebody do nothing any more; what they did stays. Their telephone may be given to somebody else."""
    _do(settings_of(context), name, by, [{"action": UserAction.DISABLED}])
    typer.echo(f"{name} is disabled.")


@app.command("enable")
def enable(context: typer.Context, name: Name, by: By = None) -> None:
    """Give somebody who was disabled back what they had."""
    _do(settings_of(context), name, by, [{"action": UserAction.ENABLED}])
    typer.echo(f"{name} is enabled again.")


# --------------------------------------------------------------------------- what they share


def _everybody(settings: Settings) -> dict[str, User]:
    return users(ask(settings, lambda catalogue: catalogue.user_acts()))


def _do(settings: Settings, name: str, by: str | None, acts: Sequence[dict[str, Any]]) -> None:
    """All of it, or none and a sentence that says why not, with exit 1."""
    now, actor = datetime.now(UTC), said_by(by)
    done = [UserAct(id=uuid4(), at=now, actor=actor, user=name, **act) for act in acts]
    ask(settings, lambda catalogue: catalogue.write_user_acts(done))


def _seated(settings: Settings, telephone: str | None) -> dict[str, Any]:
    """To be seated there, on this node; exit 2 where it is no interface."""
    try:
        interface = None if telephone is None else checked_telephone(telephone)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--telephone") from None
    return {"action": UserAction.SEATED, "node": settings.node.name, "interface": interface}


def _lines(named: list[str], *, every: bool) -> list[str]:
    """The lines, each once; exit 2 where none is named, or all of them by another word than the option."""
    if every == bool(named) or EVERY_LINE in named:
        raise typer.BadParameter("either --line NAME, or --every-line")
    return [EVERY_LINE] if every else list(dict.fromkeys(named))


def _telephones(user: User) -> str:
    """`PJSIP/alice`, with the node's name where they have several."""
    seats = _sorted(user.seats)
    return ", ".join(f"{seat.interface} of {seat.node}" if len(seats) > 1 else seat.interface for seat in seats)


def _sorted(seats: Iterable[Seat]) -> list[Seat]:
    return sorted(seats, key=lambda seat: (seat.node, seat.interface))


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
    if act.action is UserAction.SEATED:
        return f"{act.action} at {act.interface or 'no telephone'} of {act.node}"
    return str(act.action)


def _shown(user: User) -> dict[str, Any]:
    grants = sorted((grant.role, grant.line) for grant in user.grants)
    return {
        "user": user.name,
        "telephones": [{"node": seat.node, "interface": seat.interface} for seat in _sorted(user.seats)],
        "enabled": user.enabled,
        "grants": [{"role": role, "line": None if line == EVERY_LINE else line} for role, line in grants],
    }


def _shown_act(act: UserAct) -> dict[str, Any]:
    return {
        "at": act.at,
        "by": act.actor,
        "action": act.action,
        "node": act.node,
        "telephone": act.interface,
        "role": act.role,
        "line": None if act.line == EVERY_LINE else act.line,
    }
