"""`recorder policies`: the settings that each line had, by the digest that consent events name, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from recorder.catalogue import PolicyRow
from recorder.commands.asking import SOMETHING_WRONG, Json, Line, ask, settings_of, wrong
from recorder.commands.display import Column, at, print_json, print_line, print_table, screen, short_policy
from recorder.policy import OLDER_DIGITS, LinePolicy, changes

app = typer.Typer(
    help="The settings that each line had, as consent events name them; `show` tells one, and what changed."
)

POLICY_COLUMNS: Final = (
    Column(name="policy"),
    Column(name="line"),
    Column(name="first in force (UTC)"),
    Column(name="node"),
    Column(name="recorder", wide=True),
)

Digest = Annotated[
    str, typer.Argument(metavar="ID", help="What the consent event names as its policy, or the beginning of it.")
]


@app.callback(invoke_without_command=True)
def policies(context: typer.Context, line: Line = None, as_json: Json = False) -> None:
    """List the settings that each line had, in the order in which they first came into force on each node."""
    if context.invoked_subcommand is not None:
        return
    rows = ask(settings_of(context), lambda catalogue: catalogue.policies(line))
    if as_json:
        print_json([_shown(row) for row in rows])
        return
    console = screen()
    if not rows:
        screen(error=True).print("No line's settings are in the catalogue: the recorder writes them at its start.")
        return
    print_table(
        console,
        POLICY_COLUMNS,
        ((short_policy(row.digest), row.line, at(row.first_at, console), row.node, row.version) for row in rows),
    )


@app.command("show")
def show(
    context: typer.Context,
    digest: Digest,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="ID", help="What to compare with; else what the line had before."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the settings that a line had, and what had changed since those before. Exit 1 where they are not as kept."""
    settings = settings_of(context)
    rows = ask(settings, lambda catalogue: catalogue.policies())
    row = _named(rows, digest)
    same = [one for one in rows if one.digest == row.digest]
    row = next(filter(_is_whole, same), row)
    older = _named(rows, against) if against is not None else _before(rows, row)
    if as_json:
        differing = [_change(change) for change in _changes(older, row)] if older is not None else None
        print_json(
            _shown(row)
            | {"ok": all(map(_is_whole, same))}
            | {"before": older.digest if older else None, "changes": differing, "since": _first_times(rows, row)}
        )
    else:
        _print(screen(), rows, row, [older] if against is not None and older is not None else _all_before(rows, row))
    if not all(map(_is_whole, same)):
        raise typer.Exit(SOMETHING_WRONG)


def _named(rows: Sequence[PolicyRow], begins: str) -> PolicyRow:
    """The settings with this digest, as they first came into force; or a sentence and exit 1.

    The same settings may be kept by the older digest too, which is the beginning of theirs.
    """
    found = {row.digest: row for row in reversed(rows) if begins and row.digest.startswith(begins)}
    if begins in found:
        return found[begins]
    whole = {digest[:OLDER_DIGITS] for digest in found if len(digest) > OLDER_DIGITS}
    found = {digest: row for digest, row in found.items() if digest not in whole}
    if not found:
        wrong(
            f"No settings {begins!r} are in the catalogue: `recorder policies` lists those there are. Older recorders"
            " (before revision 0006) kept the digest alone."
        )
    if len(found) > 1:
        wrong(f"{begins!r} is the beginning of {', '.join(sorted(found))}: give more of it.")
    return next(iter(found.values()))


def _before(rows: Sequence[PolicyRow], row: PolicyRow) -> PolicyRow | None:
    """What the line had on the same node before; None where these were its first."""
    earlier = [
        other for other in rows if (other.line, other.node) == (row.line, row.node) and other.first_at < row.first_at
    ]
    return earlier[-1] if earlier else None


def _all_before(rows: Sequence[PolicyRow], row: PolicyRow) -> list[PolicyRow]:
    """What each node had before these settings; they are told of once where two nodes had the same."""
    each = (_before(rows, one) for one in rows if one.digest == row.digest)
    return list({older.digest: older for older in each if older is not None}.values())


def _first_times(rows: Sequence[PolicyRow], row: PolicyRow) -> list[dict[str, Any]]:
    """When these settings first came into force, on each node, and what that had before."""
    return [
        {"node": one.node, "first_at": one.first_at, "before": older.digest if older else None}
        for one in rows
        if one.digest == row.digest
        for older in (_before(rows, one),)
    ]


def _text(row: PolicyRow) -> LinePolicy:
    return LinePolicy(line=row.line, settings=row.settings)


def _changes(older: PolicyRow, row: PolicyRow) -> tuple[tuple[str, str, str], ...]:
    """What changed; where one of the texts is no settings any more, the texts themselves."""
    try:
        return changes(_text(older), _text(row))
    except ValueError:
        return (("settings", older.settings, row.settings),)


def _is_whole(row: PolicyRow) -> bool:
    """Whether the text is the one that the digest was taken of."""
    return _text(row).gives(row.digest)


def _shown(row: PolicyRow) -> dict[str, Any]:
    return {
        "policy": row.digest,
        "line": row.line,
        "node": row.node,
        "first_at": row.first_at,
        "version": row.version,
        "settings": row.settings,  # the text: whoever reads it as JSON and writes it anew may get another digest
        "ok": _is_whole(row),
    }


def _change(change: tuple[str, str, str]) -> dict[str, str]:
    name, was, now = change
    return {"setting": name, "was": was, "now": now}


def _print(console: Console, rows: Sequence[PolicyRow], row: PolicyRow, others: Sequence[PolicyRow]) -> None:
    print_line(console, f"Policy {row.digest}", style="bold")
    for one in rows:
        if one.digest == row.digest:
            print_line(
                console,
                f"  line {one.line}, node {one.node}, first in force {at(one.first_at)} UTC, recorder {one.version}",
            )
            if not _is_whole(one):
                print_line(
                    console, "  wrong: this node's is not the text that the digest was taken of", style="bold red"
                )
    if not _is_whole(row):
        print_line(console, "wrong: this is not the text that the digest was taken of", style="bold red")
    console.print()
    for words in _settings(row):
        print_line(console, f"  {words}")
    for other in others:
        console.print()
        _print_against(console, rows, row, other)


def _print_against(console: Console, rows: Sequence[PolicyRow], row: PolicyRow, older: PolicyRow) -> None:
    print_line(console, f"Against {older.digest}", style="bold")
    for one in rows:
        if one.digest == older.digest:
            print_line(console, f"  line {one.line}, node {one.node}, first in force {at(one.first_at)} UTC")
    differing = _changes(older, row)
    for name, was, now in differing:
        print_line(console, f"  {name}: {was} -> {now}")
    if not differing:
        print_line(console, "  nothing differs")


def _settings(row: PolicyRow) -> list[str]:
    try:
        return [f"{name} = {value}" for name, value in _text(row).told().items()]
    except ValueError:
        return [row.settings]
