"""`recorder user password` and `recorder user token`: how people and programs come to show who they are.

No password and no token is ever an argument, which others on the machine could read; what is made here is printed once
and kept nowhere but as a hash.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import uuid4

import typer

from recorder import passwords
from recorder.commands.asking import Json, ask, guarded, said_by, settings_of, wrong
from recorder.commands.display import Column, at, print_json, print_table, screen
from recorder.rights import Right
from recorder.signing_in import (
    TOKEN_MARK,
    WEAKNESSES,
    Password,
    SignInAct,
    SignInAction,
    Token,
    digest_of,
    weakness,
)

tokens = typer.Typer(help="Tokens, by which programs ask in somebody's name.", no_args_is_help=True)

TOKEN_COLUMNS: Final = (
    Column(name="token"),
    Column(name="user"),
    Column(name="label"),
    Column(name="may"),
    Column(name="until (UTC)"),
    Column(name="state"),
)
By = Annotated[str | None, typer.Option("--by", help="Who says so; without it, who is logged in.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `recorder user list` has it.")]


def password(
    context: typer.Context,
    name: Name,
    from_input: Annotated[
        bool, typer.Option("--stdin", help="Read it from the first line of the standard input.")
    ] = False,
    by: By = None,
) -> None:
    """Give somebody a password, which they change when they first sign in; every session of theirs ends.

    One is made and printed, unless --stdin brings it. It ends a lock that wrong passwords have brought on.
    """
    settings = settings_of(context)
    given = sys.stdin.readline().rstrip("\r\n") if from_input else passwords.generated()
    weak = weakness(name, given)
    if weak is not None:
        wrong(f"{WEAKNESSES[weak]}; nothing was changed")
    now = datetime.now(UTC)
    kept = Password(user=name, kept=passwords.kept(given), set_at=now, must_change=True)
    act = SignInAct(id=uuid4(), at=now, user=name, action=SignInAction.PASSWORD_SET, actor=said_by(by))
    ask(settings, lambda catalogue: catalogue.set_password(kept, act))
    if from_input:
        typer.echo(f"{name} signs in with that password once, and changes it then.")
    else:
        typer.echo(f"{name} signs in with this password once, and changes it then: ", nl=False, err=True)
        typer.echo(given)


@tokens.callback()
def group() -> None:
    """Tokens, by which programs ask in somebody's name."""


@tokens.command("issue")
def issue(
    context: typer.Context,
    name: Name,
    label: Annotated[str, typer.Option("--label", help="What it is for: letters, digits, blanks, dots, - and _.")],
    right: Annotated[
        list[Right] | None,
        typer.Option("--right", help="Only this right of theirs; may be given several times. Without it, all."),
    ] = None,
    line: Annotated[
        list[str] | None, typer.Option("--line", help="Only on this line; may be given several times.")
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="It counts for so many days.")] = 90,
    by: By = None,
) -> None:
    """Make a token in somebody's name, and print it: it is shown this once."""
    settings = settings_of(context)
    unknown = [one for one in line or [] if one not in settings.line]
    if unknown:
        there = ", ".join(sorted(settings.line)) or "none"
        raise typer.BadParameter(f"there is no line {', '.join(unknown)}; there is {there}", param_hint="--line")
    secret, now, actor = TOKEN_MARK + secrets.token_urlsafe(32), datetime.now(UTC), said_by(by)
    token = Token(
        id=uuid4(),
        digest=digest_of(secret),
        user=name,
        label=guarded("--label", label),
        issued_at=now,
        issued_by=actor,
        until=now + timedelta(days=days),
        rights=frozenset(right) if right else None,
        lines=frozenset(line) if line else None,
    )
    act = SignInAct(id=uuid4(), at=now, user=name, action=SignInAction.TOKEN_ISSUED, actor=actor, token=token.id)
    ask(settings, lambda catalogue: catalogue.issue_token(token, act))
    typer.echo(f"token {str(token.id)[:8]} of {name}, until {token.until:%Y-%m-%d}: ", nl=False, err=True)
    typer.echo(secret)


@tokens.command("list")
def list_tokens(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this person's.")] = None,
    as_json: Json = False,
) -> None:
    """List tokens, those that count no more too; never what they are."""
    found = ask(settings_of(context), lambda catalogue: catalogue.tokens_of(name))
    if as_json:
        print_json([_shown(token) for token in found])
        return
    if not found:
        screen(error=True).print("There is no token: `recorder user token issue NAME --label ...` makes one.")
        return
    console = screen()
    rows = (
        (str(token.id)[:8], token.user, token.label, _may(token), at(token.until, console), _state(token))
        for token in found
    )
    print_table(console, TOKEN_COLUMNS, rows)


@tokens.command("withdraw")
def withdraw(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="As `recorder user token list` has it.")],
    by: By = None,
) -> None:
    """Let a token count no more, from now on."""
    settings = settings_of(context)
    found = _named(ask(settings, lambda catalogue: catalogue.tokens_of()), token)
    act = SignInAct(
        id=uuid4(),
        at=datetime.now(UTC),
        user=found.user,
        action=SignInAction.TOKEN_WITHDRAWN,
        actor=said_by(by),
        token=found.id,
    )
    ask(settings, lambda catalogue: catalogue.withdraw_token(found.id, act))
    typer.echo(f"{found.label} of {found.user} counts no more.")


def _named(found: Iterable[Token], beginning: str) -> Token:
    """The one token whose id begins so; exit 1 where there is none, or several."""
    matching = [token for token in found if str(token.id).startswith(beginning.casefold())]
    if len(matching) != 1:
        wrong(f"{'no token' if not matching else 'more than one token'} begins with {beginning}")
    return matching[0]


def _may(token: Token) -> str:
    rights = ", ".join(sorted(token.rights)) if token.rights is not None else "all that they may"
    return f"{rights} on {', '.join(sorted(token.lines))}" if token.lines is not None else rights


def _state(token: Token) -> str:
    if token.withdrawn_at is not None:
        return "withdrawn"
    return "" if datetime.now(UTC) < token.until else "over"


def _shown(token: Token) -> dict[str, Any]:
    return {
        "token": token.id,
        "user": token.user,
        "label": token.label,
        "rights": None if token.rights is None else sorted(token.rights),
        "lines": None if token.lines is None else sorted(token.lines),
        "issued_at": token.issued_at,
        "issued_by": token.issued_by,
        "until": token.until,
        "withdrawn_at": token.withdrawn_at,
    }
