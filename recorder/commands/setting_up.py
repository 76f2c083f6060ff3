"""`recorder doctor` and `recorder init`: what an administrator runs before the daemon, and when something is wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from recorder.commands.asking import SOMETHING_WRONG, Json, mistaken, settings_of, wrong
from recorder.settings import SettingsMistaken

if TYPE_CHECKING:
    from recorder.doctor import Finding


def doctor(
    context: typer.Context,
    as_json: Json = False,
    rivals: Annotated[
        bool, typer.Option("--rivals", help="Only what would record by itself; noted for the daemon's status.")
    ] = False,
) -> None:
    """Try everything that the daemon needs against the live PBX, and say how to mend what is wrong."""
    from recorder.doctor import Examination, is_well, lines, summary

    settings = settings_of(context)
    _silence()
    patient = sys.stderr.isatty() and not as_json
    examination = Examination(settings, _progress if patient else lambda _: None)
    findings: list[Finding] = asyncio.run(examination.rivals_alone() if rivals else examination.run())
    if patient:
        _progress("")
    if rivals and settings.pbx.rivals_note is not None:
        _leave_note(settings.pbx.rivals_note, [one for one in findings if not is_well([one])])
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        screen = sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if screen else None
        colour = screen and "NO_COLOR" not in os.environ
        typer.echo(f"recorder doctor: node {settings.node.name}, {context.obj}\n")
        for line in lines(findings, width=width, colour=colour):
            typer.echo(line)
        typer.echo(f"\n{summary(findings)}")
    if not is_well(findings):
        raise typer.Exit(SOMETHING_WRONG)


def _leave_note(path: Path, bad: Sequence[Finding]) -> None:
    from recorder.house_note import HouseNote, write

    found = tuple(f"{finding.mark}: {finding.what}. Mend: {finding.mend}" for finding in bad)
    try:
        write(path, HouseNote(at=datetime.now(UTC), found=found))
    except OSError as error:
        wrong(f"recorder doctor: the note for the daemon could not be written: {error}")


def _progress(what: str) -> None:
    """One line that is written over: something is being waited for."""
    typer.echo(f"\r\x1b[K{f'looking at {what} ...' if what else ''}", nl=False, err=True)


def _silence() -> None:
    """What the log would say stands in the findings."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def init(
    context: typer.Context,
    apply: Annotated[bool, typer.Option("--apply", help="Make the changes; without it they are only shown.")] = False,
    asterisk_etc: Annotated[
        Path | None, typer.Option(help="Asterisk's configuration as this machine sees it; else Asterisk is asked.")
    ] = None,
    cli: Annotated[
        str, typer.Option(help='What a command of Asterisk\'s is appended to: "podman exec pbx asterisk -rx".')
    ] = "asterisk -rx",
    line: Annotated[
        list[str] | None, typer.Option("--line", help="A queue to make a line for, more than once; else every queue.")
    ] = None,
    prompts: Annotated[Path, typer.Option(help="Where the prompts go, which Asterisk must be able to read.")] = Path(
        "/usr/share/recorder/prompts"
    ),
    ami_user: Annotated[str, typer.Option(help="The name of the AMI account.")] = "recorder",
) -> None:
    """Write settings, dialplan includes and an AMI account for this PBX; show the difference first."""
    from recorder.init import Choices, InitRefused, ask, make, plan, shown
    from recorder.pbx_cli import Cli, CliFailed

    choices = Choices(
        config=Path(context.obj),
        cli=tuple(shlex.split(cli)),
        etc=asterisk_etc,
        lines=tuple(line or ()),
        prompts=prompts,
        username=ami_user,
    )
    try:
        made = plan(choices, asyncio.run(ask(Cli(choices.cli), choices.username)), os.environ)
    except SettingsMistaken as error:
        mistaken(error)
    except (InitRefused, CliFailed, OSError) as error:
        wrong(f"recorder init: {error}")
    for change in made.changes:
        text = shown(change)
        typer.echo(text, nl=text.count("\n") > 1)
    if apply and made.changes:
        try:
            kept = make(made.changes)
        except OSError as error:
            wrong(f"recorder init: not everything was written: {error}. What was is no change any more: run it again.")
        typer.echo(f"\n{len(made.changes)} files written." + "".join(f"\nas it was: {path}" for path in kept))
    elif made.changes:
        typer.echo(f"\nNothing was changed. The same command with --apply writes these {len(made.changes)} files.")
    else:
        typer.echo("Everything is in place; nothing to change.")
    for remark in made.remarks:
        typer.echo(f"Note: {remark}")
    typer.echo(_next_steps(choices.config, cli, made.dialplan))


LINES_SHOWN = 3
NEXT_STEPS = """
What then is left to do, in this order; the PBX is never reloaded from here.

1. In your own contexts, around each Queue():
{dialplan}
2. In {config}: say how each line asks (consent = ...). Until then nothing is recorded.
3. {cli} "manager reload"
   {cli} "dialplan reload"
   {cli} "module reload features"
4. recorder db upgrade
5. recorder doctor
6. systemctl enable --now recorder
"""


def _next_steps(config: Path, cli: str, dialplan: Mapping[str, str]) -> str:
    shown = dict(list(dialplan.items())[: LINES_SHOWN if len(dialplan) > LINES_SHOWN + 1 else None])
    indented = [textwrap.indent(text, "   ") for text in shown.values()] or ["   (no line yet)"]
    if others := [name for name in dialplan if name not in shown]:
        named = textwrap.fill(f"and likewise for {', '.join(others)}", 100)
        indented.append(textwrap.indent(named, "   "))
    return NEXT_STEPS.format(dialplan="\n\n".join(indented), config=config, cli=cli).rstrip()
