"""`recorder consents`: the list, the proof of one call, the check of a proof anywhere, and the head of the chain."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from recorder.catalogue import Catalogue, ConsentRow
from recorder.chain import Head, heads_noted
from recorder.commands.asking import (
    AT_MOST,
    SOMETHING_WRONG,
    Json,
    Limit,
    Line,
    Since,
    ask,
    moment,
    settings_of,
    storage_of,
    wrong,
)
from recorder.commands.calls import call_named
from recorder.commands.display import (
    Column,
    amount,
    at,
    number,
    print_json,
    print_line,
    print_table,
    screen,
    short,
    short_policy,
    text,
)
from recorder.model import ConsentState
from recorder.overrides import Overrides
from recorder.proof import CHANGED, WHY_MISSING, Act, Checked, Proof, check, policies_named
from recorder.proving import prove
from recorder.storage import KeptPrompts

app = typer.Typer(help="Consent events, the newest first; `proof` proves one call's, `check` checks a proof anywhere.")

CONSENT_COLUMNS: Final = (
    Column(name="call"),
    Column(name="at (UTC)"),
    Column(name="from"),
    Column(name="to"),
    Column(name="key"),
    Column(name="heard", right=True),
    Column(name="reason"),
    Column(name="by", wide=True),
    Column(name="policy", page=True),
)

OVERRIDE_COLUMNS: Final = (
    Column(name="line"),
    Column(name="agent"),
    Column(name="reason"),
    Column(name="overrides", right=True),
    Column(name="of calls", right=True),
    Column(name="as others", right=True),
    Column(name=""),
)

Heads = Annotated[
    Path | None,
    typer.Option(
        "--heads",
        exists=True,
        dir_okay=False,
        help="A file of heads that `recorder consents head` printed earlier, kept where the recorder cannot write.",
    ),
]


@app.callback(invoke_without_command=True)
def consents(
    context: typer.Context,
    limit: Limit = AT_MOST,
    line: Line = None,
    state: Annotated[ConsentState | None, typer.Option("--to", help="Only steps that led to this state.")] = None,
    since: Since = None,
    as_json: Json = False,
) -> None:
    """List consent events, the newest first."""
    if context.invoked_subcommand is not None:
        return
    start = moment(since, datetime.now(UTC))
    settings = settings_of(context)
    rows = ask(settings, lambda catalogue: catalogue.list_consents(limit, line=line, after=state, since=start))
    if as_json:
        print_json(rows)
        return
    console = screen()
    if not rows:
        screen(error=True).print("No consent events match.")
        return
    print_table(console, CONSENT_COLUMNS, (_cells(console, row) for row in rows))
    if len(rows) == limit:
        screen(error=True).print(f"These are the newest {limit}; --limit shows more.")


def _cells(console: Console, row: ConsentRow) -> tuple[object, ...]:
    heard = "" if row.played_ms is None else f"{row.played_ms / 1000:.1f} s"
    when = at(row.at, console)
    by = row.actor or row.basis
    return short(row.call, console), when, row.before, row.after, row.key, heard, row.reason, by, row.policy


def noted(path: Path | None) -> tuple[Head, ...]:
    """The heads in that file; exit 2 where it is no such file."""
    if path is None:
        return ()
    try:
        return heads_noted(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="--heads") from None


# --------------------------------------------------------------------------- who overrides


@app.command("overrides")
def overrides(
    context: typer.Context,
    line: Line = None,
    since: Since = "30d",
    as_json: Json = False,
) -> None:
    """Count overrides by line, agent and reason, and say who overrides much more than the line's others."""
    start = moment(since, datetime.now(UTC))
    assert start is not None
    rows = ask(settings_of(context), lambda catalogue: catalogue.overrides(start, line=line))
    if as_json:
        print_json([asdict(row) | {"expected": row.expected, "stands_out": row.stands_out} for row in rows])
        return
    if not rows:
        screen(error=True).print("Nobody has overridden since then.")
        return
    print_table(screen(), OVERRIDE_COLUMNS, (_override_cells(row) for row in rows))
    standing_out = sum(row.stands_out for row in rows)
    if standing_out:
        which = number(standing_out, "row stands out", "rows stand out")
        screen(error=True).print(f"{which}: more than chance would have it. Ask why, it is no verdict.")


def _override_cells(row: Overrides) -> tuple[object, ...]:
    usual = "" if row.expected is None else f"{row.expected:.1f}"
    return row.line, row.agent, row.reason, row.count, row.calls, usual, "stands out" if row.stands_out else ""


# --------------------------------------------------------------------------- the head


@app.command("head")
def head(context: typer.Context, as_json: Json = False) -> None:
    """Print the newest link of each node's chain, and the newest row of its listening log.

    Keep them where the recorder cannot write: `--heads` compares them.
    """
    heads = ask(settings_of(context), _every_head)
    if as_json:
        print_json(heads)
        return
    if not heads:
        screen(error=True).print("No consent event and no listening is in the catalogue yet.")
    for newest in heads:
        screen().print(text(f"{newest}  {datetime.now(UTC).isoformat(timespec='seconds')}"), soft_wrap=True)


async def _every_head(catalogue: Catalogue) -> tuple[Head, ...]:
    return (*await catalogue.heads(), *await catalogue.listening_heads())


# --------------------------------------------------------------------------- making a proof


@app.command("proof")
def proof(
    context: typer.Context,
    call: Annotated[str, typer.Argument(metavar="ID", help="The call's id, or the beginning of it.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; without it, standard output.")
    ] = None,
    until: Annotated[
        int | None,
        typer.Option("--until", min=1, help="The link to prove it up to, of a head noted elsewhere; else the newest."),
    ] = None,
) -> None:
    """Write the proof of one call's consent: one file, for somebody who has nothing of ours."""
    if output is None and sys.stdout.isatty():
        raise typer.BadParameter("name the file to write, or send standard output to one", param_hint="--output")
    settings = settings_of(context)
    whole = call_named(settings, call)
    kept = KeptPrompts(storage_of(settings))
    made = ask(settings, lambda catalogue: prove(catalogue, kept, whole.call.id, until))
    _write(output, made.text)
    _tell_made(screen(error=output is None), made.checked, output, len(made.text))
    if made.checked.wrong or made.changed:
        raise typer.Exit(SOMETHING_WRONG)


def _write(output: Path | None, told: str) -> None:
    if output is None:
        sys.stdout.write(told)
        return
    try:
        made = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        wrong(f"{output}: {error.strerror}. Nothing was written.")
    try:
        with os.fdopen(made, "w", encoding="utf-8") as file:
            file.write(told)
    except OSError as error:  # half a proof proves nothing
        output.unlink(missing_ok=True)
        wrong(f"{output}: {error.strerror}. Nothing was written.")


def _tell_made(console: Console, checked: Checked, output: Path | None, size: int) -> None:
    made = checked.proof
    assert made is not None
    _print_proof(console, made)
    changed = [digest for digest, why in made.policies_missing or () if why == CHANGED]
    for what in (*checked.wrong, *(f"policy {digest}: see `recorder verify`" for digest in changed)):
        print_line(console, f"Note: {what}", style="bold yellow")
    console.print()
    where = f"{output}, {amount(size)}" if output is not None else amount(size)
    print_line(console, f"Written: {where}. It names a channel, and who overrode: give it only to who asks.")
    print_line(console, "Whoever gets it: `recorder consents check FILE`, or the few lines of Python in docs/proof.md.")


# --------------------------------------------------------------------------- checking one


@app.command("check")
def check_proof(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The proof.")],
    heads: Heads = None,
    as_json: Json = False,
) -> None:
    """Check a proof by itself, on any machine: it asks no catalogue and no settings. Exit 1 names what is wrong."""
    known = noted(heads)
    try:
        read = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        wrong(f"{file} cannot be read: {error}")
    checked = check(read, known)
    if as_json:
        print_json(_shown(checked))
    else:
        _print_checked(screen(), checked, len(known) if heads is not None else None)
    if checked.wrong:
        raise typer.Exit(SOMETHING_WRONG)


def _shown(checked: Checked) -> dict[str, Any]:
    told = checked.proof
    return {
        "ok": not checked.wrong,
        "ended": told is not None and told.end is not None,  # where not, later acts may be missing: a withdrawal, say
        "wrong": checked.wrong,
        "heads_met": checked.heads_met,
        "acts_behind_heads": checked.later_acts,
        "call": told.call if told else None,
        "head": asdict(told.head) if told else None,
        "acts": [act.body for act in told.acts] if told else [],
    }


def _print_checked(console: Console, checked: Checked, heads: int | None) -> None:
    if checked.proof is not None:
        _print_proof(console, checked.proof)
        console.print()
    for what in checked.wrong:
        print_line(console, f"wrong: {what}", style="bold red")
    if checked.wrong:
        console.print()
        count = number(len(checked.wrong), "thing is", "things are")
        print_line(console, f"This proves nothing: {count} wrong.", style="bold red")
        return
    print_line(
        console, "The proof is whole: nothing in it was changed, left out or put in another order.", style="green"
    )
    if checked.later_acts:
        met, acts = number(checked.heads_met, "head", "heads"), ", ".join(checked.later_acts)
        print_line(
            console,
            f"It stands on {met} that you noted, and none was noted since: {acts}. These could have been written anew"
            " at any time after: compare a head that is not older.",
            style="bold yellow",
        )
    elif checked.heads_met:
        met = number(checked.heads_met, "head", "heads")
        print_line(
            console, f"It stands on {met} that you noted, so the chain was not written anew since.", style="green"
        )
    elif heads is not None:
        print_line(
            console, f"None of the {heads} heads that you noted is among its links: ask for one --until such a link."
        )
    else:
        print_line(
            console,
            "Anybody can write such a file, and whoever owns the recorder the whole chain anew: compare the head with"
            " one that was noted elsewhere at the time (--heads).",
        )


def _print_proof(console: Console, told: Proof) -> None:
    print_line(console, f"Call {told.call}", style="bold")
    for act in told.acts:
        print_line(console, f"  {_time(act)}  {_act_words(act)}")
    if told.end is None:
        print_line(
            console, "  The call's end is not in it: the call was in progress at the head, or later acts are left out."
        )
    prompts = {
        prompt["sha256"]: prompt
        for act in told.consents
        if isinstance(prompt := act.body.get("prompt"), dict) and isinstance(prompt.get("sha256"), str)
    }
    for digest, wav in told.prompts.items():
        prompt = prompts.get(digest, {})
        name = f"{prompt.get('id')} {prompt.get('language')} version {prompt.get('version')}"
        print_line(console, f"Heard   {name}, {amount(len(wav))}: {prompt.get('text')}", hang=8)
    for digest, policy in told.policies:
        again = "its digest taken again" if policy.gives(digest) else "of another digest"
        print_line(console, f"Under   policy {digest}, {again}, line {policy.line}: {policy.settings}", hang=8)
    missing = dict(told.policies_missing or ())
    for digest in sorted(policies_named(told) - {digest for digest, _ in told.policies}):
        why = f": they {WHY_MISSING[missing[digest]]}" if missing.get(digest) in WHY_MISSING else ""
        print_line(console, f"Under   policy {digest}, whose settings are not in the file{why}", hang=8)
    oldest, newest = told.links[0], told.links[-1]
    print_line(console, f"Chain   node {told.head.node}, {len(told.links)} links shown of {oldest.seq} to {newest.seq}")
    console.print(text(f"Head    {told.head}  {newest.at}"), soft_wrap=True)


def _time(act: Act) -> str:
    return str(act.body.get("at")).replace("T", " ")[:23]


def _act_words(act: Act) -> str:
    body = act.body
    if body.get("kind") != "consent":
        reason = f" ({body['reason']})" if body.get("reason") else ""
        return f"the call ended: {body.get('outcome')}{reason}, after {body.get('consents')} consent events"
    parts = [f"{body.get('before')} -> {body.get('after')}"]
    prompt = body.get("prompt")
    if isinstance(prompt, dict):
        parts.append(f"prompt {prompt.get('id')} {prompt.get('language')} version {prompt.get('version')}")
    if isinstance(heard := body.get("played_ms"), int):
        parts.append(f"heard {heard / 1000:.1f} s")
    named = ("key", "language", "actor", "reason", "basis", "line", "mode", "channel")
    parts += [f"{name} {body[name]}" for name in named if body.get(name) is not None]
    parts += [f"policy {short_policy(body['policy'])}"] if isinstance(body.get("policy"), str) else []
    return ", ".join(parts)
