"""`recorder doctor` and `recorder init`: what an administrator runs before the daemon, and when something is wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sys
from dataclasses import asdict

import structlog
import typer

from recorder.commands.asking import SOMETHING_WRONG, Json, settings_of


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Try everything that the daemon needs against the live PBX, and say how to mend what is wrong."""
    from recorder.doctor import Examination, is_well, lines, summary

    settings = settings_of(context)
    _silence()
    patient = sys.stderr.isatty() and not as_json
    examination = Examination(settings, _progress if patient else lambda _: None)
    findings = asyncio.run(examination.run())
    if patient:
        _progress("")
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


def _progress(what: str) -> None:
    """One line that is written over: something is being waited for."""
    typer.echo(f"\r\x1b[K{f'looking at {what} ...' if what else ''}", nl=False, err=True)


def _silence() -> None:
    """What the log would say stands in the findings."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
